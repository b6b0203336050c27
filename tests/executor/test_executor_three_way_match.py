"""What the executor books is what the monitor matches from the rows: equal to the last digit, and each difference by its name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from cli.account_reading import account_of
from exchange_client import Exchange
from exchange_client.adapters import ADAPTERS, Adapter
from meshkit.hosts import Host
from meshkit.kit import Kit
from svc_monitor.feeds.match import AccountMatch, Matcher
from svc_monitor.settings import MonitorSettings
from tests.executor.issuer import Issuer, public_key_file, recommend, running
from tests.executor.second_exchange import FormExchange
from tests.support.stored import unlock_rows
from tradekit.states import Side
from tradekit.three_way_match import match
from tradekit.wire import decimal_message
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import ledger_pb2


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> FormExchange:
    exchange = FormExchange()

    def connect(_: object) -> Exchange:
        return exchange

    monkeypatch.setitem(ADAPTERS, "forms", Adapter(Host("forms.example"), None, 30, connect))  # type: ignore[arg-type]
    return exchange


@pytest.fixture
def environ(database: Any, ticket_key: Ed25519PrivateKey, tmp_path: Path, exchange: FormExchange) -> dict[str, str]:
    key = tmp_path / "key"
    key.write_text("secret")
    return {
        **database.env_of("executor"),
        "EXECUTOR_PORT": "0",
        "PRODUCTS": "BTC-USD",
        "DECISION_PROFILE": "EXERCISE",
        "EXCHANGE_NAME": "forms",
        "EXCHANGE_KEY_FILE": str(key),
        "EXCHANGE_TOTAL_SECONDS": "5",
        "EXCHANGE_TOKEN_SECONDS": "10",
        "RECONCILE_SECONDS": "300",
        "DRAIN_SECONDS": "0.5",
        "PROTECTIVE_EXITS": "OFF",
        "TICKET_PUBLIC_KEY_FILE": str(public_key_file(ticket_key, tmp_path)),
    }


@pytest.fixture
async def matcher(database: Any) -> AsyncIterator[Matcher]:
    settings = MonitorSettings(port=0, products="BTC-USD", **database.settings_of("monitor"))
    kit = Kit(settings)
    try:
        yield Matcher(settings, kit)
    finally:
        await kit.close()


async def test_what_is_booked_agrees_and_what_is_changed_is_named(
    exchange: FormExchange, environ: dict[str, str], issuer: Issuer, database: Any, matcher: Matcher
) -> None:
    async def write(statement: str) -> None:
        async with database.engine.begin() as connection:
            await connection.execute(text(statement))

    assert await matcher.found() == AccountMatch()
    async with running(environ) as executor:
        for _ in range(2):
            bought = await executor.execute(await issuer.request(recommend(Side.BUY, "99.99")))
            assert bought.state == pb.ORDER_STATE_FILLED
            part = str(Decimal(bought.filled_size.value) / 2)
            await executor.execute(await issuer.request(recommend(Side.SELL, part)))
            # Before and after the exchange was asked: what is booked since is counted for it.
            assert await matcher.found() == AccountMatch()
            assert (await executor.reconcile()).clean
            assert await matcher.found() == AccountMatch()
        await write("UPDATE positions SET realized_pnl = realized_pnl + 0.000000000000000001")
        (wrong,) = (await matcher.found()).from_fills
        assert wrong.what == "realised BTC-USD, USD" and wrong.ledger - wrong.fills == Decimal("1E-18")
        await write("UPDATE positions SET realized_pnl = realized_pnl - 0.000000000000000001")
        assert await matcher.found() == AccountMatch()
        exchange.wallets["USD"] -= 1
        assert not (await executor.reconcile()).clean
        found = await matcher.found()
        assert found.from_fills == ()
        assert [(one.what, one.ledger - (one.exchange or 0)) for one in found.from_exchange] == [("USD", Decimal(1))]
    # A fill that somebody changes moves no count; it is found when the rows are read whole again.
    await unlock_rows(database.engine, "fills")
    await write("UPDATE fills SET commission = commission + 1 WHERE side = 'BUY'")
    matcher._whole_at = float("-inf")
    assert {one.what for one in (await matcher.found()).from_fills} >= {"USD", "fees, USD"}


class Gate:
    """Holds up the first who comes after it was shut."""

    def __init__(self) -> None:
        self.shut = False
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def passed(self) -> None:
        if self.shut and not self.reached.is_set():
            self.reached.set()
            await self.opened.wait()


async def waiting_for_the_account(database: Any, count: int) -> None:
    """Returns once so many transactions of the mesh wait for a lock."""
    query = text("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(10):
        while True:
            async with database.engine.connect() as connection:
                if (await connection.execute(query)).scalar_one() >= count:
                    return
            await asyncio.sleep(0.02)


async def test_an_adjustment_and_a_close_that_overlap_are_matched_as_they_were_booked(
    exchange: FormExchange,
    environ: dict[str, str],
    issuer: Issuer,
    database: Any,
    matcher: Matcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The close is sent before the adjustment gets the account, and its fill is booked after it: the transaction of the fill
    began before the row of the adjustment was written."""
    adjusting, closing = Gate(), Gate()
    market_time, create_order = exchange.market_time, exchange.create_order

    async def late_time() -> Any:
        await adjusting.passed()
        return await market_time()

    async def late_order(*words: Any, **more: Any) -> Any:
        await closing.passed()
        return await create_order(*words, **more)

    async with running(environ) as executor:
        await executor.execute(await issuer.request(recommend(Side.BUY, "99.99")))
        exchange.wallets["BTC"] += Decimal("0.5")
        wanted = ledger_pb2.AdjustLedgerRequest(
            request_id=str(uuid4()),
            currency="BTC",
            amount=decimal_message(Decimal("0.5")),
            cost=decimal_message(Decimal(200)),
            kind=ledger_pb2.ADJUSTMENT_KIND_TRADE,
            note="by hand",
            preview=True,
        )
        previewed = await executor.stub.AdjustLedger(wanted, timeout=10)
        wanted.preview = False
        wanted.expected_difference.CopyFrom(previewed.before.difference)
        monkeypatch.setattr(exchange, "market_time", late_time)
        monkeypatch.setattr(exchange, "create_order", late_order)
        adjusting.shut = closing.shut = True
        adjustment = asyncio.ensure_future(executor.stub.AdjustLedger(wanted, timeout=20))
        await asyncio.wait_for(adjusting.reached.wait(), 10)
        close = asyncio.ensure_future(
            executor.stub.ClosePositions(
                pb.ClosePositionsRequest(request_id=str(uuid4()), product_ids=["BTC-USD"], note="close"), timeout=20
            )
        )
        await asyncio.wait_for(closing.reached.wait(), 10)
        async with database.engine.begin() as account:
            await account.execute(text("SELECT lock_account()"))
            adjusting.opened.set()
            await waiting_for_the_account(database, 1)
            closing.opened.set()
            await waiting_for_the_account(database, 2)
        booked = await adjustment
        (closed,) = (await close).outcomes
        sold = await executor.until(closed.order.order_id, pb.ORDER_STATE_FILLED, seconds=20)
        assert 0 < booked.adjustment.booking_sequence < sold.fills[0].booking_sequence
        # The times say the opposite, and prove nothing.
        query = text("SELECT (SELECT max(created_at) FROM fills) < (SELECT created_at FROM ledger_adjustments)")
        async with database.engine.connect() as connection:
            assert (await connection.execute(query)).scalar_one()
        for _ in range(2):
            assert await matcher.found() == AccountMatch()
            orders = (await executor.stub.ListOrders(pb.ListOrdersRequest(page_size=100), timeout=5)).orders
            held = await executor.stub.ListPositions(pb.ListPositionsRequest(), timeout=5)
            ledger = await executor.stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=5)
            read = account_of(orders, held, ledger, ["BTC-USD"])
            told = match(read.events, read.booked)
            assert told.agrees, [check.words for check in told.checks if not check.agrees]
            assert (await executor.reconcile()).clean
        # A reconciliation of a version that did not keep its place: nobody can tell what came after it.
        async with database.engine.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO reconciliations (clean, orders_checked, orders_settled, orders_unknown, balances) "
                    "SELECT clean, 0, 0, 0, '[]' FROM reconciliations LIMIT 1"
                )
            )
        ledger = await executor.stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=5)
        assert ledger.HasField("reconcile_time")
        assert account_of(orders, held, ledger, ["BTC-USD"]).booked.reconciled_at is None
        assert await matcher.found() == AccountMatch()
