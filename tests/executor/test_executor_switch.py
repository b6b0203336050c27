"""Halting: at once, without the database, through restarts; the stricter of all words wins, and resuming needs the database."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from sqlalchemy import text

from tests.executor.issuer import Issuer, recommend, running
from tests.executor.switching import Postmaster, exists, in_force, is_there, stored_state, turn, until
from tests.executor.venue import FaultProxy
from tests.meshkit.hanging import hanging
from tradekit import halt_file
from tradekit.halt_file import Halt
from tradekit.states import Side, TradingState
from trading.executor.v1 import executor_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2 as risk_pb


async def test_a_halt_is_in_force_when_it_is_answered_and_in_the_database(
    halting: dict[str, str], issuer: Issuer, database: Any, proxy: FaultProxy
) -> None:
    async with running(halting) as executor:
        answer = await executor.stub.SetTradingState(turn("HALTED"))
        assert (answer.state, answer.previous_state) == (risk_pb.TRADING_STATE_HALTED, risk_pb.TRADING_STATE_ACTIVE)
        async with asyncio.timeout(120):
            # A database that takes longer than a halt waits for is told later; asked again, it is there.
            while not answer.stored:
                answer = await executor.stub.SetTradingState(turn("HALTED"))
        assert await stored_state(database) == "HALTED"
        assert not exists(halting)
        for side in (Side.BUY, Side.SELL):
            error = await refused(executor.execute(await issuer.request(recommend(side, "10.00"))))
            assert error.reason == "TRADING_HALTED"
        assert (await executor.stub.SetTradingState(turn("ACTIVE"))).previous_state == risk_pb.TRADING_STATE_HALTED
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")))
        assert bought.state == pb.ORDER_STATE_FILLED
    assert len(proxy.sends) == 1


async def test_a_halt_needs_no_database_survives_a_restart_and_reaches_the_database_when_it_is_back(
    halting: dict[str, str], database: Any
) -> None:
    async with running(halting) as executor:
        await until(lambda: in_force(executor), "ACTIVE")
        with hanging(Postmaster(database.host)):
            answer = await executor.stub.SetTradingState(turn("HALTED", "no database"), timeout=5)
            assert answer.state == risk_pb.TRADING_STATE_HALTED
            assert not answer.stored
            assert await in_force(executor) == "HALTED"
            loose = await refused(executor.stub.SetTradingState(turn("ACTIVE"), timeout=10))
            assert loose.reason in ("DATABASE_UNAVAILABLE", "DEADLINE_TOO_SHORT")
    left = [halt_file.read(path) for path in Path(halting["HALT_FILE"]).parent.glob("halt.json*")]
    assert [halt.state for halt in left if halt] in ([TradingState.HALTED], [])
    async with running(halting) as executor:
        await until(lambda: stored_state(database), "HALTED")
        assert await in_force(executor) == "HALTED"
        await until(lambda: is_there(halting), False)


async def test_a_file_of_another_process_halts_at_once_and_garbage_in_it_too(
    halting: dict[str, str], database: Any, issuer: Issuer
) -> None:
    file = Path(halting["HALT_FILE"])
    async with running(halting) as executor:
        halt_file.write(file, Halt(TradingState.REDUCING, "from the shell", halt_file.now_text(datetime.now(UTC))))
        assert (await in_force(executor)) == "REDUCING"
        error = await refused(executor.execute(await issuer.request(recommend(Side.BUY, "10.00"))))
        assert error.reason == "TRADING_HALTED"
        await until(lambda: stored_state(database), "REDUCING")
        damage(file)
        assert (await in_force(executor)) == "HALTED"
        await until(lambda: stored_state(database), "HALTED")


async def test_the_databases_word_reaches_the_executor_and_an_old_resume_undoes_nothing(
    halting: dict[str, str], database: Any
) -> None:
    resume = turn("ACTIVE")
    async with running(halting) as executor:
        assert (await executor.stub.SetTradingState(resume)).state == risk_pb.TRADING_STATE_ACTIVE
        async with database.engine.begin() as connection:
            await connection.execute(text("SELECT set_trading_state('HALTED', 'elsewhere', false)"))
        await until(lambda: in_force(executor), "HALTED")
        # Nor does its answer say that trading goes on.
        assert (await executor.stub.SetTradingState(resume)).state == risk_pb.TRADING_STATE_HALTED
        assert await in_force(executor) == "HALTED"
        assert await stored_state(database) == "HALTED"
        # A request to tighten never loosens.
        assert (await executor.stub.SetTradingState(turn("HALTED"))).state == risk_pb.TRADING_STATE_HALTED
        assert (await executor.stub.SetTradingState(turn("REDUCING"))).state == risk_pb.TRADING_STATE_REDUCING


def damage(file: Path) -> None:
    file.write_text('{"state": "HAL')


orders_given = st.lists(st.sampled_from([TradingState.REDUCING, TradingState.HALTED]), min_size=1, max_size=5)


@given(given_orders=orders_given)
def test_orders_in_a_file_only_tighten(given_orders: list[TradingState]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "halt.json"
        for state in given_orders:
            held = halt_file.write(file, Halt(state, state.value))
            assert held in halt_file.pending(file).values()
        strictest = max(given_orders, key=lambda state: state.rank)
        assert held.state is strictest
        taken = halt_file.take(file)
        assert held in taken.values() and max(taken.values(), key=lambda halt: halt.state.rank).state is strictest
        assert halt_file.read(file) is None
        # Given between taking and forgetting: a new file, which waits for its own turn and is another order.
        later = halt_file.write(file, Halt(TradingState.REDUCING, "later"))
        assert all(halt_file.discard(path, halt) for path, halt in taken.items())
        assert list(halt_file.pending(file).values()) == [later]
        assert later.order != held.order
