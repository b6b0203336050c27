"""A halt that cannot be written down: what is answered, what survives the process, and that it is tried until it is kept."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from refusals import refused

from svc_executor.trading_switch import TradingSwitch
from tests.executor.issuer import Running, running
from tests.executor.processes import process
from tests.executor.switching import Postmaster, exists, in_force, stored_state, turn, until
from tests.meshkit.hanging import hanging
from tradekit import halt_file
from tradekit.halt_file import Halt
from tradekit.states import TradingState
from trading.executor.v1 import executor_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2 as risk_pb

FULL = (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1])


@pytest.fixture
def folder(halting: dict[str, str], tmp_path: Path) -> Path:
    """The halt file's folder, which can be taken away: then nothing can be written there."""
    own = tmp_path / "own"
    own.mkdir()
    halting["HALT_FILE"] = str(own / "halt.json")
    return own


def take_away(folder: Path) -> None:
    folder.rmdir()


def give_back(folder: Path) -> None:
    folder.mkdir()


async def kept(executor: Running) -> bool:
    return bool((await executor.stub.GetTradingState(pb.GetTradingStateRequest(), timeout=5)).kept)


async def test_a_halt_that_nothing_takes_says_so_and_is_written_as_soon_as_the_file_can_be(
    halting: dict[str, str], folder: Path, database: Any
) -> None:
    async with process(halting) as (executor, child):
        await until(lambda: in_force(executor), "ACTIVE")
        take_away(folder)
        with hanging(Postmaster(database.host)):
            answer = await executor.stub.SetTradingState(turn("HALTED"), timeout=10)
            assert (answer.state, answer.stored, answer.kept) == (risk_pb.TRADING_STATE_HALTED, False, False)
            assert await in_force(executor) == "HALTED" and not await kept(executor)
            # Given again, it is no better kept than before.
            assert not (await executor.stub.SetTradingState(turn("HALTED"), timeout=10)).kept
            give_back(folder)
            await until(lambda: kept(executor), True)
            assert exists(halting) and await in_force(executor) == "HALTED"
            child.kill()
            await child.wait()
    async with running(halting) as executor:
        assert await in_force(executor) == "HALTED"
        await until(lambda: stored_state(database), "HALTED")


async def test_a_halt_that_the_file_does_not_take_is_kept_once_the_database_has_it(
    halting: dict[str, str], folder: Path, database: Any
) -> None:
    async with running(halting) as executor:
        await until(lambda: in_force(executor), "ACTIVE")
        take_away(folder)
        with hanging(Postmaster(database.host)):
            assert not (await executor.stub.SetTradingState(turn("REDUCING"), timeout=10)).kept
        await until(lambda: stored_state(database), "REDUCING")
        await until(lambda: kept(executor), True)
        answer = await executor.stub.SetTradingState(turn("HALTED"), timeout=10)
        await until(lambda: stored_state(database), "HALTED")
        assert answer.kept == answer.stored
        assert (await executor.stub.SetTradingState(turn("ACTIVE"), timeout=10)).kept


@pytest.mark.parametrize("state", ["REDUCING", "HALTED"])
async def test_a_full_disk_keeps_a_halt_through_the_death_of_the_executor(
    halting: dict[str, str], database: Any, state: str
) -> None:
    async with process(halting) as (executor, child):
        await until(lambda: in_force(executor), "ACTIVE")
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, FULL)
        with hanging(Postmaster(database.host)):
            answer = await executor.stub.SetTradingState(turn(state, "no room"), timeout=10)
            assert (answer.stored, answer.kept) == (False, True)
            child.kill()
            await child.wait()
    async with running(halting) as executor:
        found = await executor.stub.GetTradingState(pb.GetTradingStateRequest(), timeout=5)
        assert found.state == risk_pb.TradingState.Value(f"TRADING_STATE_{state}") and found.note == "no room"
        await until(lambda: stored_state(database), state)


def test_what_a_full_disk_keeps_is_an_order_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "halt.json"
    words = (
        "import sys; from pathlib import Path; from tradekit import halt_file; from tradekit.states import TradingState;"
        "[halt_file.write(Path(sys.argv[1]), halt_file.Halt(TradingState(s), 'é https://x ' * 9, 'now', s + '-order'))"
        " for s in ('REDUCING', 'HALTED', 'REDUCING')]"
    )
    subprocess.run(
        [sys.executable, "-c", words, str(file)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, FULL),
    )
    held = halt_file.pending(file)
    assert {halt.order: halt.state.value for halt in held.values()} == {
        "HALTED-order": "HALTED",
        "REDUCING-order": "REDUCING",
    }
    assert all(path.is_symlink() and halt.note.startswith("é https://x") for path, halt in held.items())
    taken = halt_file.take(file)
    assert set(taken.values()) == set(held.values()) and file not in taken
    assert all(halt_file.discard(path, halt) for path, halt in taken.items())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_listed_halts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    assert not halt_file.pending(tmp_path / "halt.json")
    monkeypatch.setattr(Path, "iterdir", denied)
    assert [halt.state for halt in halt_file.pending(tmp_path / "halt.json").values()] == [TradingState.HALTED]


async def test_what_is_written_late_replaces_nothing_that_came_meanwhile(
    halting: dict[str, str], folder: Path, database: Any
) -> None:
    """A resume that knows the older halt, and not the newer of another process, must find the newer."""
    file = folder / "halt.json"
    async with running(halting) as executor:
        await until(lambda: in_force(executor), "ACTIVE")
        take_away(folder)
        with hanging(Postmaster(database.host)):
            await executor.stub.SetTradingState(turn("HALTED", "older"), timeout=10)
            older = asyncio.ensure_future(executor.stub.SetTradingState(turn("ACTIVE"), timeout=60))
            await asyncio.sleep(0.3)
            give_back(folder)
            newer = halt_file.write(file, Halt(TradingState.HALTED, "newer"))
            await until(lambda: kept(executor), True)
            await asyncio.sleep(1.2)
            assert newer in halt_file.pending(file).values()
        with pytest.raises(Exception):  # noqa: B017 - refused, or its time is over
            await older
        await until(lambda: stored_state(database), "HALTED")
        assert await in_force(executor) == "HALTED"


async def test_a_halt_that_only_tightens_leaves_what_is_stricter_and_counts_beside_it(
    halting: dict[str, str], database: Any
) -> None:
    reducing = turn("REDUCING")
    reducing.only_tighten = True
    active = turn("ACTIVE")
    active.only_tighten = True
    async with running(halting) as executor:
        await executor.stub.SetTradingState(turn("HALTED"))
        assert (await executor.stub.SetTradingState(reducing)).state == risk_pb.TRADING_STATE_HALTED
        assert await stored_state(database) == "HALTED"
        assert "only_tighten" in str((await refused(executor.stub.SetTradingState(active))).violations)
        with hanging(Postmaster(database.host)):
            resume = asyncio.ensure_future(executor.stub.SetTradingState(turn("ACTIVE"), timeout=60))
            await asyncio.sleep(0.3)
            assert (await executor.stub.SetTradingState(reducing, timeout=10)).state == risk_pb.TRADING_STATE_HALTED
        with pytest.raises(Exception):  # noqa: B017 - refused, or its time is over
            await resume
        assert await in_force(executor) == "HALTED"


async def test_a_resume_that_could_not_clear_the_file_changes_nothing(
    halting: dict[str, str], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(halting) as executor:
        await executor.stub.SetTradingState(turn("HALTED"))
        monkeypatch.setattr(halt_file, "can_be_cleared", lambda path: False)
        monkeypatch.setattr(halt_file, "discard", lambda path, halt: False)
        halt_file.write(Path(halting["HALT_FILE"]), Halt(TradingState.HALTED, "on a disk that cannot be written"))
        error = await refused(executor.stub.SetTradingState(turn("ACTIVE")))
        assert error.reason == "MISCONFIGURED" and "cannot be taken away" in error.message
        assert (await stored_state(database), await in_force(executor)) == ("HALTED", "HALTED")
        monkeypatch.undo()
        assert (await executor.stub.SetTradingState(turn("ACTIVE"))).state == risk_pb.TRADING_STATE_ACTIVE


async def test_a_resume_is_whole_when_the_database_goes_right_after_it(
    halting: dict[str, str], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: TradingSwitch) -> None:
        raise ConnectionError("the database went away")

    async with running(halting) as executor:
        await until(lambda: in_force(executor), "ACTIVE")
        monkeypatch.setattr(TradingSwitch, "_read", gone)
        assert not (await executor.stub.SetTradingState(turn("HALTED"))).stored
        answer = await executor.stub.SetTradingState(turn("ACTIVE"))
        assert (answer.state, answer.stored, answer.kept) == (risk_pb.TRADING_STATE_ACTIVE, True, True)
        assert not exists(halting)
        assert (await in_force(executor), await stored_state(database)) == ("ACTIVE", "ACTIVE")
