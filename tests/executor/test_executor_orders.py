"""An order from request to ledger, over a real socket, with a real database and a simulated exchange."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from refusals import refused
from sqlalchemy import select, text

from schema.execution import orders
from schema.risk import risk_reservations
from schema.streams import advance_watermark
from tests.executor.issuer import AS_OF, Issuer, assert_ledger_holds, at_exchange, recommend, running
from tests.executor.venue import FaultProxy, Simulator
from tradekit import ids
from tradekit.states import LifeClock, Side
from trading.executor.v1 import executor_service_pb2 as pb


async def test_a_buy_and_its_sale_end_in_equal_ledgers(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with running(environ) as executor:
        assert (await executor.reconcile()).clean
        before = await executor.stub.ListPositions(pb.ListPositionsRequest())
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "100.00")))
        assert bought.state == pb.ORDER_STATE_FILLED
        assert bought.send_count == 1
        assert bought.order_id == str(ids.order_id(next(iter(issuer.known))))
        spent = Decimal(bought.filled_value.value) + Decimal(bought.total_fees.value)
        assert Decimal("99") < spent <= Decimal("100")
        assert len(bought.fills) == 1

        sold = await executor.execute(await issuer.request(recommend(Side.SELL, bought.filled_size.value)))
        assert sold.state == pb.ORDER_STATE_FILLED

        found = await executor.reconcile()
        assert found.clean
        assert {balance.difference.value for balance in found.balances} == {"0"}
        after = await executor.stub.ListPositions(pb.ListPositionsRequest())
        change = Decimal(after.equity.value) - Decimal(before.equity.value)
        gains = [Decimal(x.realized_pnl.value) + Decimal(x.unrealized_pnl.value) for x in (before, after)]
        assert change == gains[1] - gains[0] != 0
    assert len(await at_exchange(simulator, bought.order_id)) == 1
    await assert_ledger_holds(database)
    async with database.engine.connect() as connection:
        states = (await connection.execute(select(risk_reservations.c.state))).scalars().all()
    assert states == ["COMMITTED", "COMMITTED"]


async def test_the_same_request_gives_the_same_order_and_another_size_is_refused(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    async with running(environ) as executor:
        item = recommend(Side.BUY, "50.00")
        first = await executor.execute(await issuer.request(item))
        again = await executor.execute(await issuer.request(item))
        assert again == first
        assert (await refused(executor.execute(await issuer.request(item, size="49.00")))).reason == "REQUEST_ID_REUSED"
    assert len(proxy.sends) == 1
    assert len(await at_exchange(simulator, first.order_id)) == 1


async def test_an_order_is_told_only_to_who_has_its_ticket_however_old(
    environ: dict[str, str], issuer: Issuer, database: Any, proxy: FaultProxy
) -> None:
    forger = Issuer(database, Ed25519PrivateKey.generate(), issuer.known)
    async with running(environ) as executor:
        item = recommend(Side.BUY, "50.00")
        first = await executor.execute(await issuer.request(item))
        assert await executor.execute(await issuer.request(item, exp=1_700_000_000)) == first
        nobodys = await issuer.request(item)
        nobodys.ticket = "no.ticket.atall"
        for stranger in (nobodys, await forger.request(item), await issuer.request(item, sub=str(uuid4()))):
            assert (await refused(executor.execute(stranger))).reason == "TICKET_REFUSED"
    assert len(proxy.sends) == 1


async def test_concurrent_calls_for_one_recommendation_make_one_order(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    async with running(environ) as executor:
        request = await issuer.request(recommend(Side.BUY, "25.00"))
        found = await asyncio.gather(*(executor.execute(request) for _ in range(8)))
    assert {order.exchange_order_id for order in found} == {found[0].exchange_order_id}
    assert all(order.state == pb.ORDER_STATE_FILLED for order in found)
    assert len(proxy.sends) == 1


BAD_TICKETS: list[tuple[dict[str, Any], str]] = [
    ({"iss": "somebody"}, "not valid"),
    ({"aud": "risk"}, "not valid"),
    ({"exp": 1_700_000_000}, "expired"),
    ({"sub": str(uuid4())}, "another sub"),
    ({"product": "ETH-USD"}, "another product"),
    ({"terms": "0" * 64}, "another terms"),
    ({"side": "SELL"}, "another side"),
    ({"max_size": "9.99"}, "allows 9.99"),
    ({"max_size": "1e9"}, "not valid"),
    ({"jti": "none"}, "not valid"),
]


async def test_a_ticket_that_does_not_fit_is_refused_and_nothing_is_stored(
    environ: dict[str, str], issuer: Issuer, database: Any, proxy: FaultProxy
) -> None:
    forger = Issuer(database, Ed25519PrivateKey.generate())
    async with running(environ) as executor:
        for claims, word in BAD_TICKETS:
            error = await refused(executor.execute(await issuer.request(recommend(Side.BUY, "10.00"), **claims)))
            assert error.reason == "TICKET_REFUSED"
            assert word in error.message
        forged = await forger.request(recommend(Side.BUY, "10.00"))
        assert (await refused(executor.execute(forged))).reason == "TICKET_REFUSED"
    assert proxy.sends == []
    async with database.engine.connect() as connection:
        assert (await connection.execute(select(orders))).first() is None


async def test_refusals_before_an_order_exists(environ: dict[str, str], issuer: Issuer, database: Any) -> None:
    async with running(environ) as executor:

        async def reason(item: Any, **claims: Any) -> str:
            return str((await refused(executor.execute(await issuer.request(item, **claims)))).reason)

        assert await reason(recommend(Side.BUY, "10.00", life_seconds=-1)) == "EXPIRED"
        assert await reason(recommend(Side.BUY, "10.001")) == "INVALID_REQUEST"
        assert await reason(recommend(Side.BUY, "10.00", "NOPE-USD")) == "INVALID_REQUEST"
        by_market = {"life_clock": LifeClock.MARKET, "expire_time": AS_OF + timedelta(hours=1)}
        replayed = replace(recommend(Side.BUY, "10.00"), **by_market)
        assert await reason(replayed) == "STALE_DATA"
        await _market_at(database, AS_OF + timedelta(hours=1))
        assert await reason(replayed) == "EXPIRED"
        late = recommend(Side.BUY, "10.00")
        await issuer.reserve(late, life_seconds=-1)
        assert await reason(late) == "RESERVATION_LOST"
        unknown = recommend(Side.BUY, "10.00")
        assert await reason(unknown, jti=str(uuid4())) == "RESERVATION_LOST"
        await _switch(database, "REDUCING")
        assert await reason(recommend(Side.BUY, "10.00")) == "TRADING_HALTED"
        await _switch(database, "HALTED")
        assert await reason(recommend(Side.SELL, "0.001")) == "TRADING_HALTED"
        await _switch(database, "ACTIVE")
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")))
        assert bought.state == pb.ORDER_STATE_FILLED


async def test_a_market_life_bounds_entries_and_no_exit(environ: dict[str, str], issuer: Issuer, database: Any) -> None:
    """Entries are sent while the market's watermark is before their end; what was bought is sold after it."""
    end = AS_OF + timedelta(hours=1)
    by_market = {"life_clock": LifeClock.MARKET, "expire_time": end}
    async with running(environ) as executor:
        await _market_at(database, end - timedelta(seconds=1))
        bought = await executor.execute(await issuer.request(replace(recommend(Side.BUY, "10.00"), **by_market)))
        assert bought.state == pb.ORDER_STATE_FILLED
        await _market_at(database, end)
        late = await refused(executor.execute(await issuer.request(replace(recommend(Side.BUY, "10.00"), **by_market))))
        assert late.reason == "EXPIRED"
        leaves = replace(recommend(Side.SELL, bought.filled_size.value), **by_market)
        assert (await executor.execute(await issuer.request(leaves))).state == pb.ORDER_STATE_FILLED


async def _market_at(database: Any, as_of: datetime) -> None:
    async with database.engine.begin() as connection:
        await advance_watermark(connection, "market", as_of, 1)


async def _switch(database: Any, state: str) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE accounts SET trading_state = :state"), {"state": state})


async def test_an_expired_exit_is_still_sent(environ: dict[str, str], issuer: Issuer) -> None:
    async with running(environ) as executor:
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")))
        exit_ = recommend(Side.SELL, bought.filled_size.value, life_seconds=-60)
        assert (await executor.execute(await issuer.request(exit_))).state == pb.ORDER_STATE_FILLED


async def test_what_the_exchange_refuses_is_rejected_with_its_reason(environ: dict[str, str], issuer: Issuer) -> None:
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "99000000.00")))
        assert order.state == pb.ORDER_STATE_REJECTED
        assert [reason.code for reason in order.reasons] == ["INSUFFICIENT_FUND"]
        assert (await executor.reconcile()).clean


@pytest.mark.parametrize(
    "request_",
    [
        pb.ExecuteRecommendationRequest(),
        pb.ExecuteRecommendationRequest(request_id="x", ticket="t" * 5000),
    ],
)
async def test_malformed_requests_tell_every_violation(environ: dict[str, str], request_: Any) -> None:
    async with running(environ) as executor:
        error = await refused(executor.execute(request_))
        assert error.reason == "INVALID_REQUEST"
        assert {"request_id", "size", "recommendation"} <= {v.field for v in error.violations}
        assert ("ticket" in {v.field for v in error.violations}) == bool(request_.ticket)
        for call in (
            executor.stub.GetOrder(pb.GetOrderRequest()),
            executor.stub.GetOrder(pb.GetOrderRequest(order_id="1")),
            executor.stub.ListOrders(pb.ListOrdersRequest(page_size=-1, product_id="btc", state=99)),
            executor.stub.Reconcile(pb.ReconcileRequest(request_id="")),
        ):
            assert (await refused(call)).code is grpc.StatusCode.INVALID_ARGUMENT
        missing = executor.stub.GetOrder(pb.GetOrderRequest(order_id=str(uuid4())))
        assert (await refused(missing)).reason == "NOT_FOUND"


async def test_pages_and_watches_show_every_order_once(environ: dict[str, str], issuer: Issuer) -> None:
    async with running(environ) as executor:
        made = [
            (await executor.execute(await issuer.request(recommend(Side.BUY, "5.00", product)))).order_id
            for product in ("BTC-USD", "ETH-USD", "DOGE-USD")
        ]
        seen, token = [], ""
        while True:
            page = await executor.stub.ListOrders(pb.ListOrdersRequest(page_size=1, page_token=token))
            seen += [order.order_id for order in page.orders]
            token = page.next_page_token
            if not token:
                break
        assert seen == made[::-1]
        # More than the largest page is that page, as in every list of the mesh.
        assert len((await executor.stub.ListOrders(pb.ListOrdersRequest(page_size=2**31 - 1))).orders) == 3
        filled = await executor.stub.ListOrders(pb.ListOrdersRequest(state=pb.ORDER_STATE_FILLED, product_id="ETH-USD"))
        assert [order.order_id for order in filled.orders] == [made[1]]

        watch = executor.stub.WatchOrders(pb.WatchOrdersRequest(after_sequence=0))
        first = await asyncio.wait_for(watch.read(), 5)
        assert [order.order_id for order in first.batch.orders] == made
        new = await executor.execute(await issuer.request(recommend(Side.BUY, "5.00")))
        async with asyncio.timeout(60):
            while (frame := await watch.read()).batch.orders[-1].state != pb.ORDER_STATE_FILLED:
                pass
        assert frame.batch.orders[-1].order_id == new.order_id
        watch.cancel()
        future = executor.stub.WatchOrders(pb.WatchOrdersRequest(after_sequence=10**9))
        assert (await refused(future.read())).reason == "INVALID_POSITION"


async def test_reconcile_answers_a_repeated_request_from_store(environ: dict[str, str], issuer: Issuer) -> None:
    async with running(environ) as executor:
        request = pb.ReconcileRequest(request_id=str(uuid4()))
        first = await executor.stub.Reconcile(request)
        await executor.execute(await issuer.request(recommend(Side.BUY, "5.00")))
        assert await executor.stub.Reconcile(request) == first
