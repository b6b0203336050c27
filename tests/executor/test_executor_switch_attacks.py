"""What attacked the switch: an older resume against a newer halt, words and things in place of the halt file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.executor.issuer import Issuer, Running, recommend, running
from tests.executor.switching import Postmaster, in_force, is_there, stored_state, turn, until
from tests.meshkit.hanging import hanging
from tradekit import halt_file
from tradekit.halt_file import Halt
from tradekit.states import Side, TradingState
from trading.executor.v1 import executor_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2 as risk_pb


async def test_a_halt_stays_whatever_resume_was_asked_for_before_it(halting: dict[str, str], database: Any) -> None:
    """The resume waits for a database that hangs; the halt comes meanwhile, and is answered."""
    async with running(halting) as executor:
        await executor.stub.SetTradingState(turn("HALTED"))
        with hanging(Postmaster(database.host)):
            older = asyncio.ensure_future(executor.stub.SetTradingState(turn("ACTIVE"), timeout=60))
            await asyncio.sleep(0.3)
            newer = await executor.stub.SetTradingState(turn("HALTED", "newer"), timeout=10)
            assert newer.state == risk_pb.TRADING_STATE_HALTED
        with pytest.raises(Exception):  # noqa: B017 - refused, or its time is over
            await older
        await until(lambda: stored_state(database), "HALTED")
        assert await in_force(executor) == "HALTED"


async def test_halts_and_resumes_at_once_never_leave_a_halt_answered_as_something_else(
    halting: dict[str, str], database: Any
) -> None:
    async with running(halting) as executor:
        for _ in range(3):
            resumes = [asyncio.ensure_future(executor.stub.SetTradingState(turn("ACTIVE"))) for _ in range(5)]
            answer = await executor.stub.SetTradingState(turn("HALTED"))
            await asyncio.gather(*resumes, return_exceptions=True)
            # Which of them came first nobody can say; a halt is never answered as anything else, and all agree in the end.
            assert answer.state == risk_pb.TRADING_STATE_HALTED
            await until(lambda: _agree(executor, database), True)
            await executor.stub.SetTradingState(turn("ACTIVE"))


async def _agree(executor: Running, database: Any) -> bool:
    return await in_force(executor) == await stored_state(database)


def put(kind: str, path: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        path.write_bytes(b"x" * 1_000_000)
    elif kind == "surrogate":
        path.write_text('{"state": "HALTED", "note": "stop \\udcff now\\u0000", "set_at": "", "order": "1"}')


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "huge", "surrogate"])
async def test_whatever_lies_in_place_of_the_halt_file_halts_and_ends_nothing(
    halting: dict[str, str], issuer: Issuer, database: Any, kind: str
) -> None:
    async with running(halting) as executor:
        put(kind, Path(halting["HALT_FILE"]))
        assert await in_force(executor) == "HALTED"
        await until(lambda: stored_state(database), "HALTED")
        await until(lambda: is_there(halting), False)
        assert (await executor.stub.SetTradingState(turn("ACTIVE"))).state == risk_pb.TRADING_STATE_ACTIVE
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")))
        assert bought.state == pb.ORDER_STATE_FILLED


def test_a_note_never_breaks_a_halt(tmp_path: Path) -> None:
    for note in ("stop \udcff now", "a\x00b\x1b[2J", "x" * 10_000, "", "\u202eevil"):
        kept = halt_file.write(tmp_path / "halt.json", Halt(TradingState.HALTED, note))
        assert halt_file.read(tmp_path / "halt.json") == kept
        assert 0 < len(kept.note) <= halt_file.LONGEST_NOTE and kept.note.isprintable()
        kept.note.encode()


async def test_many_resumes_that_wait_keep_no_halt_out(halting: dict[str, str], database: Any) -> None:
    async with running(halting) as executor:
        await executor.stub.SetTradingState(turn("REDUCING"))
        with hanging(Postmaster(database.host)):
            waiting = [
                asyncio.ensure_future(executor.stub.SetTradingState(turn("ACTIVE"), timeout=30)) for _ in range(20)
            ]
            await asyncio.sleep(0.2)
            assert (
                await executor.stub.SetTradingState(turn("HALTED"), timeout=10)
            ).state == risk_pb.TRADING_STATE_HALTED
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await in_force(executor) == "HALTED"
