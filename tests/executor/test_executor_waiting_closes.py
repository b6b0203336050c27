"""Closes for which no order can be made at once: kept, tried again, alerted, and ended by an order, by a halt or by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from exchange_client import ExchangeConfig
from exchange_client.coinbase.client import CoinbaseClient
from tests.executor.issuer import Issuer, Running, assert_ledger_holds, at_exchange, running
from tests.executor.protecting import operated, rests
from tests.executor.selling import bought, rest_sell
from tests.executor.switching import turn
from tests.executor.venue import Simulator
from tradekit import ids
from tradekit.products import floor_to
from trading.executor.v1 import executor_service_pb2 as pb

D = Decimal
NONE = D(0)


async def close(executor: Running) -> pb.CloseOutcome:
    request = pb.ClosePositionsRequest(request_id=str(uuid4()), note="out")
    (outcome,) = (await executor.stub.ClosePositions(request, timeout=60)).outcomes
    return outcome


async def rows(database: Any, query: str) -> list[Any]:
    async with database.engine.connect() as connection:
        return list(await connection.execute(text(query)))


async def gone(executor: Running, seconds: float) -> None:
    """Nothing is held any more."""
    async with asyncio.timeout(seconds):
        while any(D(one.base_size.value) for one in (await positions(executor))):
            await asyncio.sleep(0.2)


async def positions(executor: Running) -> list[Any]:
    return list((await executor.stub.ListPositions(pb.ListPositionsRequest())).positions)


@asynccontextmanager
async def held_elsewhere(simulator: Simulator, price: D, but: D = NONE) -> AsyncIterator[None]:
    """Another client of the account rests an order that holds all of its BTC but for a part."""
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    async with CoinbaseClient(config) as other:
        free = sum((one.available for one in await other.accounts() if one.currency == "BTC"), D(0))
        resting = await rest_sell(other, "BTC-USD", free - but, format(floor_to(price * D("1.2"), D("0.01")), "f"))
        try:
            yield
        finally:
            await other.cancel_orders([resting])


def assert_waits(outcome: pb.CloseOutcome) -> None:
    assert [reason.code for reason in outcome.reasons] == ["NOTHING_AVAILABLE", "CLOSE_WAITS"]
    assert not outcome.HasField("order")
    assert outcome.remaining_size.value == outcome.held_size.value


async def test_a_close_that_finds_its_bracket_still_there_sells_when_that_is_gone(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    protecting = {**environ, "PROTECTIVE_EXITS": "BRACKET", "RECONCILE_SECONDS": "60"}
    await simulator.control("habits", cancel_seconds=14, settle_seconds=60)
    try:
        async with operated(protecting) as executor:
            held = (await bought(executor, issuer)).filled_size.value
            await rests(executor)
            assert_waits(await close(executor))
            (alerted,) = await rows(database, "SELECT state, trim_scale(base_size)::text FROM monitor_open_closes")
            assert tuple(alerted) == ("WAITING", held)
            await gone(executor, 40)
            listed = (await executor.stub.ListOrders(pb.ListOrdersRequest())).orders
            # Nothing took the coins that it waited for, and it is one order.
            (sold,) = [one for one in listed if one.purpose == pb.ORDER_PURPOSE_CLOSE]
            assert (sold.state, sold.filled_size.value, sold.note) == (pb.ORDER_STATE_FILLED, held, "out")
            assert len([one for one in listed if one.purpose == pb.ORDER_PURPOSE_PROTECTION]) == 1
            assert await rows(database, "SELECT * FROM monitor_open_closes") == []
            assert (await executor.reconcile()).clean
    finally:
        await simulator.control("habits", cancel_seconds=0, settle_seconds=0)
    assert len(await at_exchange(simulator, sold.order_id)) == 1
    await assert_ledger_holds(database)


async def test_a_close_that_waits_survives_a_restart(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with running(environ) as executor:
        order = await bought(executor, issuer)
        async with held_elsewhere(simulator, D(order.average_price.value)):
            assert_waits(await close(executor))
            # Tried and still waiting.
            await asyncio.sleep(3)
            assert len(await rows(database, "SELECT * FROM monitor_open_closes WHERE state = 'WAITING'")) == 1
    async with running(environ) as executor:
        await gone(executor, 40)
        assert await rows(database, "SELECT * FROM monitor_open_closes") == []
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


@pytest.mark.parametrize("by", ["cancel", "halt"])
async def test_an_operator_ends_a_close_that_waits(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any, by: str
) -> None:
    async with operated(environ) as executor:
        order = await bought(executor, issuer)
        async with held_elsewhere(simulator, D(order.average_price.value)):
            assert_waits(await close(executor))
            if by == "cancel":
                request = pb.CancelOrdersRequest(request_id=str(uuid4()), note="no")
                (outcome,) = (await executor.stub.CancelOrders(request)).outcomes
                assert outcome.result == pb.CANCEL_RESULT_ENDED_UNSENT
                assert (outcome.order.product_id, outcome.order.purpose) == ("BTC-USD", pb.ORDER_PURPOSE_CLOSE)
            else:
                await executor.stub.SetTradingState(turn("HALTED"))
                async with asyncio.timeout(40):
                    while await rows(database, "SELECT * FROM monitor_open_closes"):
                        await asyncio.sleep(0.2)
                await executor.stub.SetTradingState(turn("ACTIVE"))
            ((code,),) = await rows(database, "SELECT reasons -> 0 ->> 'code' FROM waiting_closes")
            assert code == {"cancel": "CANCELLED_BY_OPERATOR", "halt": "TRADING_HALTED"}[by]
        await asyncio.sleep(4)
        assert [one.base_size.value for one in await positions(executor)] == [order.filled_size.value]
        assert await rows(database, "SELECT * FROM monitor_failed_closes") == []


async def test_a_close_that_waited_for_a_day_has_failed(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated(environ) as executor:
        order = await bought(executor, issuer)
        async with held_elsewhere(simulator, D(order.average_price.value)):
            assert_waits(await close(executor))
            async with database.engine.begin() as connection:
                await connection.execute(text("UPDATE waiting_closes SET created_at = created_at - interval '1 day'"))
            async with asyncio.timeout(40):
                while not (failed := await rows(database, "SELECT state, reasons FROM monitor_failed_closes")):
                    await asyncio.sleep(0.2)
        ((state, reasons),) = failed
        assert (state, [one["code"] for one in reasons]) == ("REJECTED", ["RETRIES_EXHAUSTED", "NOTHING_AVAILABLE"])


async def test_a_close_sells_what_is_free_and_the_rest_when_that_is_free_too(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    """A part of the coins is on hold elsewhere; the same request asked again makes no second one of anything."""
    async with operated(environ) as executor:
        order = await bought(executor, issuer)
        held = D(order.filled_size.value)
        part = floor_to(held / 4, D("0.00000001"))
        request = pb.ClosePositionsRequest(request_id=str(uuid4()), note="out")
        async with held_elsewhere(simulator, D(order.average_price.value), but=part):
            for _ in range(2):
                (outcome,) = (await executor.stub.ClosePositions(request, timeout=60)).outcomes
                assert D(outcome.order.filled_size.value) == part
                assert D(outcome.remaining_size.value) == held - part
                assert [reason.code for reason in outcome.reasons] == ["NOT_ALL_AVAILABLE", "CLOSE_WAITS"]
            waiting = await rows(database, "SELECT order_id::text, state, base_size FROM monitor_open_closes")
            ((rest_id, state, size),) = waiting
            assert (rest_id, state, size) == (
                str(ids.close_rest_order_id(UUID(outcome.order.order_id))),
                "WAITING",
                held - part,
            )
        await gone(executor, 40)
        assert await rows(database, "SELECT * FROM monitor_open_closes") == []
        listed = (await executor.stub.ListOrders(pb.ListOrdersRequest())).orders
        sold = {one.order_id: D(one.filled_size.value) for one in listed if one.purpose == pb.ORDER_PURPOSE_CLOSE}
        assert sold == {outcome.order.order_id: part, rest_id: held - part}
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_a_close_that_ends_without_an_order_has_failed_unless_somebody_wanted_that(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    ended = text(
        "UPDATE waiting_closes SET ended_at = clock_timestamp(), reasons = jsonb_build_array(CAST(:why AS jsonb))"
    )
    async with operated(environ) as executor:
        order = await bought(executor, issuer)
        async with held_elsewhere(simulator, D(order.average_price.value)):
            assert_waits(await close(executor))
            for code in ("MISCONFIGURED", "INVALID_REQUEST", "NOT_HELD", "TRADING_HALTED", "CANCELLED_BY_OPERATOR"):
                async with database.engine.begin() as connection:
                    await connection.execute(ended, {"why": f'{{"code": "{code}"}}'})
                failed = await rows(database, "SELECT reasons -> 0 ->> 'code' FROM monitor_failed_closes")
                assert [told for (told,) in failed] == ([code] if code in ("MISCONFIGURED", "INVALID_REQUEST") else [])
