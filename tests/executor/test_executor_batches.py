"""Requests that come together: each gets what it would have got alone, in the order in which they are decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text

from meshkit.errors import MeshError
from schema.execution import orders, positions
from svc_executor import wire
from svc_executor.intake import Intake
from svc_executor.wire import Execute
from tests.executor.instant_exchange import KINDS, InstantExchange, rooms
from tests.executor.issuer import AS_OF, Issuer, assert_ledger_holds, intake_alone, recommend
from tests.executor.selling import without_ticket
from tests.support.statements import statements
from tests.support.stored import store_order
from tradekit import ids
from tradekit.states import OrderState, Side

HELD = {"C1-USD": Decimal(1), "C2-USD": Decimal("0.3")}


@dataclass(frozen=True)
class Wanted:
    """One request of a batch. `reservation`: good, lost, or none (an exit without a ticket)."""

    side: Side
    product: str
    tenths: int
    reservation: str
    repeated: bool = False


def exit_(product: str, tenths: int, reservation: str = "none", *, repeated: bool = False) -> Wanted:
    return Wanted(Side.SELL, product, tenths, reservation, repeated)


def entry(product: str, reservation: str = "good", *, repeated: bool = False) -> Wanted:
    return Wanted(Side.BUY, product, 5, reservation, repeated)


WANTED = st.builds(
    exit_,
    st.sampled_from(sorted(HELD)),
    st.integers(1, 12),
    st.sampled_from(["good", "lost", "none"]),
    repeated=st.booleans(),
) | st.builds(entry, st.sampled_from(sorted(HELD)), st.sampled_from(["good", "lost"]), repeated=st.booleans())


async def held(database: Any) -> None:
    async with database.engine.begin() as connection:
        zero = {"cost": 100, "realized_pnl": 0, "total_fees": 0}
        rows = [{"product_id": name, "base_size": size, **zero} for name, size in HELD.items()]
        await connection.execute(insert(positions), rows)


async def request_of(issuer: Issuer, one: Wanted) -> Execute:
    item = recommend(one.side, str(Decimal(one.tenths) / 10) if one.side is Side.SELL else "5.00", one.product)
    if one.reservation == "none":
        return wire.parse_execute(await without_ticket(issuer, item))
    await issuer.reserve(item, life_seconds=60 if one.reservation == "good" else -1)
    return wire.parse_execute(await issuer.request(item))


@asynccontextmanager
async def account_locked(database: Any) -> AsyncIterator[None]:
    """Whoever wants the account waits; those who come meanwhile go together."""
    async with database.engine.begin() as connection:
        await connection.execute(text("SELECT lock_account()"))
        yield


async def until_one_waits(database: Any) -> None:
    """Until somebody at the database waits for the account."""
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND wait_event_type = 'Lock'")
    async with asyncio.timeout(60):
        while True:
            async with database.engine.connect() as connection:
                if (await connection.execute(waits, {"name": database.name})).scalar_one():
                    return
            await asyncio.sleep(0.02)


async def until_queued(intake: Intake, count: int) -> None:
    """Until so many requests wait to go together."""
    batches = intake._batches
    async with asyncio.timeout(60):
        while len(batches._urgent) + len(batches._others) < count:
            await asyncio.sleep(0.01)


async def outcome(intake: Intake, request: Execute) -> str:
    try:
        return str((await intake.order_for(request)).order_id)
    except MeshError as error:
        return f"{error.reason}: {error.message}"


async def rows(database: Any) -> list[tuple[Any, ...]]:
    """The orders in the order in which they were made, without times."""
    c = orders.c
    columns = [c.order_id, c.recommendation_id, c.reservation_id, c.side, c.quote_size, c.base_size, c.body, c.state]
    query = select(*columns, c.send_count, c.ticket_id).order_by(c.sequence)
    async with database.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(query)]


async def together(database: Any, intake: Intake, first: Execute, requests: list[Execute]) -> list[str]:
    """Outcomes of requests that make one batch, behind another that keeps them waiting."""
    with statements(database.engine, KINDS) as found:
        async with account_locked(database):
            ahead = asyncio.ensure_future(outcome(intake, first))
            await until_one_waits(database)
            waiting = []
            for request in requests:
                waiting.append(asyncio.ensure_future(outcome(intake, request)))
                await until_queued(intake, len(waiting))
        await ahead
        found_outcomes = [await one for one in waiting]
    assert found.statements["intent_facts"] == 2
    return found_outcomes


async def test_a_batch_equals_its_requests_one_after_the_other(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    exchange: Any = InstantExchange()
    # Nothing is sent here, so what is free there would stay the same however much was sold.
    exchange.free = None
    loop = asyncio.get_running_loop()
    await held(database)
    async with intake_alone(environ, issuer, exchange) as intake:

        async def compare(wanted: list[Wanted], doubt: bool) -> None:
            async with database.engine.begin() as connection:
                await connection.execute(text("DELETE FROM orders"))
            if doubt:
                await store_order(database.engine, "C2-USD", "BUY", "UNKNOWN", AS_OF)
            # Exits go first, in a batch too.
            ordered = sorted(wanted, key=lambda one: one.side is not Side.SELL)
            requests = []
            for one in ordered:
                requests += [await request_of(issuer, one)] * (2 if one.repeated else 1)
            nothing_held = await request_of(issuer, exit_("C3-USD", 1))
            outcomes = await together(database, intake, nothing_held, requests)
            made = await rows(database)
            async with database.engine.begin() as connection:
                await connection.execute(text("DELETE FROM orders WHERE state <> 'UNKNOWN'"))
                await connection.execute(text("UPDATE risk_reservations SET state = 'HELD', order_id = NULL"))
            assert outcomes == [await outcome(intake, request) for request in requests]
            again = await rows(database)
            assert made == again
            for product, size in HELD.items():
                sold = [row.base_size for row in await sales(database, product)]
                assert sum(sold, Decimal(0)) <= size

        @settings(
            max_examples=8,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(wanted=st.lists(WANTED, min_size=1, max_size=6), doubt=st.booleans())
        @example(wanted=[exit_("C1-USD", 6), exit_("C1-USD", 6), exit_("C1-USD", 6, "good")], doubt=False)
        @example(wanted=[entry("C1-USD"), exit_("C1-USD", 12), entry("C1-USD")], doubt=False)
        @example(
            wanted=[
                entry("C1-USD"),
                entry("C2-USD", "lost", repeated=True),
                exit_("C1-USD", 3, "lost"),
                entry("C1-USD"),
            ],
            doubt=False,
        )
        @example(wanted=[entry("C2-USD"), exit_("C2-USD", 2), entry("C1-USD", repeated=True)], doubt=True)
        def play(wanted: list[Wanted], doubt: bool) -> None:
            asyncio.run_coroutine_threadsafe(compare(wanted, doubt), loop).result(120)

        await asyncio.to_thread(play)


async def test_exits_of_a_batch_share_what_was_free_at_the_exchange_before_any_of_them(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    exchange: Any = InstantExchange()
    exchange.free = Decimal("0.5")
    await held(database)
    async with intake_alone(environ, issuer, exchange) as intake:
        wanted = [await request_of(issuer, exit_("C1-USD", 4)) for _ in range(3)]
        nothing_held = await request_of(issuer, exit_("C3-USD", 1))
        outcomes = await together(database, intake, nothing_held, wanted)
    assert [row.base_size for row in await sales(database, "C1-USD")] == [Decimal("0.4"), Decimal("0.1")]
    assert outcomes[2].startswith("NOTHING_AVAILABLE")


async def sales(database: Any, product: str) -> Any:
    query = select(orders.c.base_size).where(orders.c.product_id == product, orders.c.side == "SELL")
    query = query.order_by(orders.c.sequence)
    async with database.engine.connect() as connection:
        return (await connection.execute(query)).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE accounts SET trading_state = 'HALTED'", "TRADING_HALTED"),
        ("UPDATE orders SET state = 'UNKNOWN'", "ORDER_UNKNOWN"),
        ("UPDATE trade_recommendations SET cancel_requested_at = now()", "EXPIRED"),
        ("UPDATE risk_reservations SET state = 'RELEASED'", "RESERVATION_LOST"),
    ],
)
async def test_what_changes_while_a_request_waits_for_the_account_counts(
    environ: dict[str, str], issuer: Issuer, database: Any, change: str, reason: str
) -> None:
    exchange: Any = InstantExchange()
    await store_order(database.engine, "C1-USD", "BUY", "FILLED", AS_OF)
    async with intake_alone(environ, issuer, exchange) as intake:
        request = await request_of(issuer, entry("C1-USD"))
        async with database.engine.begin() as connection:
            await connection.execute(text("SELECT lock_account()"))
            waiting = asyncio.ensure_future(outcome(intake, request))
            await until_one_waits(database)
            await connection.execute(text(change))
        assert (await waiting).startswith(f"{reason}:")


async def test_a_request_that_comes_twice_in_a_batch_makes_and_sends_one_order(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    async with rooms(environ, issuer) as executor:
        request = wire.parse_execute(await issuer.request(recommend(Side.BUY, "100.00", "C1-USD")))
        other = wire.parse_execute(await issuer.request(recommend(Side.BUY, "100.00", "C1-USD")))
        async with account_locked(database):
            calls = [asyncio.ensure_future(executor.execute(other))]
            await until_one_waits(database)
            calls += [asyncio.ensure_future(executor.execute(request)) for _ in range(3)]
            await until_queued(executor.intake, 3)
        made = [await call for call in calls]
        assert {order.state for order in made} == {OrderState.FILLED}
        assert len({order.order_id for order in made[1:]}) == 1
        assert len(executor.exchange.sent) == 2
        assert [order.send_count for order in made] == [1, 1, 1, 1]
    assert len(await rows(database)) == 2
    await assert_ledger_holds(database)


async def test_the_first_send_is_counted_with_the_intent_and_is_never_in_doubt_meanwhile(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    """While its send is under way the order blocks no other entry; a send that nobody works on any more does."""
    async with rooms(environ, issuer) as executor:
        go, create = asyncio.Event(), executor.exchange.create_order

        async def slow(*given: Any, **named: Any) -> Any:
            await go.wait()
            return await create(*given, **named)

        executor.exchange.create_order = slow  # type: ignore[method-assign]
        item = recommend(Side.BUY, "100.00", "C1-USD")
        sending = asyncio.ensure_future(executor.execute(wire.parse_execute(await issuer.request(item))))
        async with asyncio.timeout(60):
            while not await rows(database):
                await asyncio.sleep(0.02)
        async with database.engine.connect() as connection:
            row = (await connection.execute(select(orders))).one()
        assert (row.state, row.send_count, row.sent_at is not None) == ("PENDING", 1, True)
        assert row.search_from is not None
        assert ids.order_id(item.recommendation_id) in executor.driver.busy
        second = wire.parse_execute(await issuer.request(recommend(Side.BUY, "100.00", "C1-USD")))
        placed = await executor.intake.order_for(second)
        go.set()
        await sending
        assert placed.sending is not None
        await placed.sending
        assert not list(executor.driver.busy._locks)
        abandoned = {"sent_at": AS_OF, "send_count": 1}
        await store_order(database.engine, "C1-USD", "BUY", "PENDING", AS_OF, **abandoned)
        third = wire.parse_execute(await issuer.request(recommend(Side.BUY, "100.00", "C1-USD")))
        with pytest.raises(MeshError) as blocked:
            await executor.intake.order_for(third)
        assert blocked.value.reason == "ORDER_UNKNOWN"


async def test_whoever_leaves_after_the_commit_leaves_an_order_that_is_sent(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    async with rooms(environ, issuer) as executor:
        request = wire.parse_execute(await issuer.request(recommend(Side.BUY, "100.00", "C1-USD")))
        async with account_locked(database):
            gone = asyncio.ensure_future(executor.intake.order_for(request))
            await until_one_waits(database)
            gone.cancel()
        async with asyncio.timeout(60):
            while [row[7] for row in await rows(database)] != ["FILLED"]:
                await asyncio.sleep(0.02)
        assert len(executor.exchange.sent) == 1
