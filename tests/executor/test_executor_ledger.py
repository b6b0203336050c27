"""What others do in the account: shown with currency, amount and order, booked by an operator, never sold as one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from refusals import refused
from sqlalchemy import func, select, text

from exchange_client import Accepted, ExchangeConfig, ExchangeOrder
from exchange_client.coinbase.client import CoinbaseClient
from schema.execution import ledger_entries
from tests.executor.issuer import Issuer, Running, assert_ledger_holds, environment, public_key_file, recommend, running
from tests.executor.venue import Simulator, start_simulator
from tradekit.states import Side
from tradekit.wire import decimal_message
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import ledger_pb2 as ledger


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An exchange of this file's own: its account has a history that nobody else makes."""
    started = start_simulator(tmp_path_factory.mktemp("account"))
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def environ(database: Any, account: Simulator, ticket_key: Any, tmp_path: Path) -> dict[str, str]:
    return environment(database, account, account.host, public_key_file(ticket_key, tmp_path))


async def somebody_trades(account: Simulator, product_id: str, side: str, **configuration: dict[str, str]) -> str:
    """An order of the account's owner by another key; gives the exchange's id."""
    config = ExchangeConfig(account.host, account.ca_file, account.other_key_file)
    body = {"client_order_id": f"hand-{uuid4()}", "product_id": product_id, "side": side}
    async with CoinbaseClient(config) as client:
        made = await client.create_order(json.dumps({**body, "order_configuration": configuration}).encode())
    assert isinstance(made, Accepted), made
    return made.exchange_order_id


async def at_hand(account: Simulator, exchange_order_id: str) -> ExchangeOrder:
    """An order as its maker sees it."""
    async with CoinbaseClient(ExchangeConfig(account.host, account.ca_file, account.other_key_file)) as client:
        found = await client.order(exchange_order_id)
    assert found is not None
    return found


async def look(service: Running) -> ledger.GetLedgerResponse:
    """The ledger after a reconciliation."""
    await service.reconcile()
    answer: ledger.GetLedgerResponse = await service.stub.GetLedger(ledger.GetLedgerRequest(), timeout=5)
    return answer


def of(seen: ledger.GetLedgerResponse, currency: str) -> ledger.LedgerBalance:
    return next(one for one in seen.balances if one.currency == currency)


async def adjust(service: Running, currency: str, amount: str, kind: str, **more: Any) -> ledger.AdjustLedgerResponse:
    """Previews an adjustment and books it."""
    wanted = ledger.AdjustLedgerRequest(
        request_id=str(uuid4()),
        currency=currency,
        amount=decimal_message(Decimal(amount)),
        kind=ledger.AdjustmentKind.Value(f"ADJUSTMENT_KIND_{kind}"),
        note="by hand",
        preview=True,
        **more,
    )
    previewed = await service.stub.AdjustLedger(wanted, timeout=10)
    assert not previewed.adjustment.HasField("create_time")
    wanted.preview = False
    wanted.expected_difference.CopyFrom(previewed.before.difference)
    booked: ledger.AdjustLedgerResponse = await service.stub.AdjustLedger(wanted, timeout=10)
    assert (booked.before, booked.after) == (previewed.before, previewed.after)
    again = await service.stub.AdjustLedger(wanted, timeout=10)
    assert again == booked
    return booked


async def positions(service: Running) -> pb.ListPositionsResponse:
    answer: pb.ListPositionsResponse = await service.stub.ListPositions(pb.ListPositionsRequest(), timeout=5)
    return answer


async def assert_money_adds_up(service: Running, database: Any) -> None:
    """Cash and what positions cost are what was there, what came in or went out, and what trades earned."""
    await assert_ledger_holds(database)
    seen = await positions(service)
    cash = Decimal(next(money.amount.value for money in seen.cash if money.currency == "USD"))
    async with database.engine.connect() as connection:
        cost = (await connection.execute(text("SELECT coalesce(sum(cost), 0) FROM positions"))).scalar_one()
    brought = Decimal(seen.opening_balance.value) + Decimal(seen.transfers.value)
    assert cash + cost == brought + Decimal(seen.realized_pnl.value)


async def test_what_is_in_the_account_at_the_first_start_is_shown_and_not_the_meshs_own(
    account: Simulator, database: Any, environ: dict[str, str], issuer: Issuer
) -> None:
    await account.control("transfer", currency="BTC", amount="0.5")
    await account.control("transfer", currency="ETH", amount="2")
    await account.control("transfer", currency="LTC", amount="70")
    async with running(environ) as service:
        seen = await look(service)
        assert seen.clean
        for currency, amount in (("BTC", "0.5"), ("ETH", "2"), ("LTC", "70")):
            assert (of(seen, currency).own.value, of(seen, currency).unadopted.value) == ("0", amount)
        shown = await positions(service)
        assert not shown.positions
        assert {money.currency: money.amount.value for money in shown.unadopted} == {
            "BTC": "0.5",
            "ETH": "2",
            "LTC": "70",
        }
        assert shown.equity == shown.opening_balance

        def adopt(*currencies: str, **more: Any) -> Any:
            wanted = {"request_id": str(uuid4()), "currencies": currencies, "note": "mine"} | more
            return service.stub.AdoptHoldings(ledger.AdoptHoldingsRequest(**wanted), timeout=10)

        # Without a candle nobody knows what it is worth; what is not traded here can never be sold; what is not there neither.
        assert [v.rule for v in (await refused(adopt("BTC"))).violations] == ["REQUIRED"]
        assert [v.rule for v in (await refused(adopt("LTC"))).violations] == ["NOT_TRADED"]
        assert (await refused(adopt("DOGE"))).reason == "NOT_HELD"
        request_id, cost = str(uuid4()), decimal_message(Decimal(20000))
        adopted = await adopt("BTC", cost=cost, request_id=request_id)
        assert (adopted.adopted[0].amount.value, adopted.adopted[0].cost.value) == ("0.5", "20000")
        assert [money.currency for money in adopted.unadopted] == ["ETH", "LTC"]
        assert await adopt("BTC", cost=cost, request_id=request_id) == adopted
        held = (await positions(service)).positions
        assert [(one.product_id, one.base_size.value, one.average_cost.value) for one in held] == [
            ("BTC-USD", "0.5", "40000")
        ]
        assert (await look(service)).clean
        order = await service.execute(await issuer.request(recommend(Side.SELL, "0.2")))
        assert order.state == pb.ORDER_STATE_FILLED
        await assert_money_adds_up(service, database)
    async with running(environ) as service:
        assert (await look(service)).clean


async def test_a_deposit_closes_entries_until_an_operator_books_it(
    account: Simulator, database: Any, environ: dict[str, str]
) -> None:
    async with running(environ) as service:
        assert (await look(service)).clean
        await account.control("transfer", currency="USD", amount="500")
        await account.control("transfer", currency="BTC", amount="0.125")
        reconciled = await service.reconcile()
        differing = {one.currency: one.difference.value for one in reconciled.balances if not one.agrees}
        assert (reconciled.clean, differing) == (False, {"USD": "-500", "BTC": "-0.125"})

        stale = ledger.AdjustLedgerRequest(
            request_id=str(uuid4()),
            currency="USD",
            amount=decimal_message(Decimal(500)),
            kind=ledger.ADJUSTMENT_KIND_DEPOSIT,
            note="from the bank",
            expected_difference=decimal_message(Decimal(-400)),
        )
        error = await refused(service.stub.AdjustLedger(stale, timeout=10))
        assert (error.reason, error.metadata["difference"]) == ("LEDGER_MOVED", "-500")

        done = await adjust(service, "USD", "500", "DEPOSIT")
        assert (done.after.difference.value, done.adjustment.equity_change.value) == ("0", "500")
        assert done.adjustment.caller == "operator"
        coins = await adjust(service, "BTC", "0.125", "REWARD")
        assert (coins.after.unadopted.value != "0", coins.adjustment.equity_change.value) == (True, "0")
        seen = await look(service)
        assert seen.clean
        assert [one.currency for one in seen.adjustments] == ["BTC", "USD"]
        shown = await positions(service)
        assert (shown.transfers.value, not shown.positions) == ("500", True)
        await assert_money_adds_up(service, database)


async def test_what_protected_coins_that_somebody_took_ends(
    account: Simulator, database: Any, environ: dict[str, str], issuer: Issuer
) -> None:
    async with running({**environ, "PROTECTIVE_EXITS": "SOFTWARE"}) as service:
        entry = await service.execute(await issuer.request(recommend(Side.BUY, "100.00")))
        protect = pb.ProtectPositionsRequest(request_id=str(uuid4()))
        (position,) = (await service.stub.ProtectPositions(protect, timeout=30)).positions
        (stop,) = position.orders
        assert position.protected_size == entry.filled_size
        seen = of(await look(service), "BTC")
        everything = Decimal(seen.own.value) + Decimal(seen.unadopted.value)
        await account.control("transfer", currency="BTC", amount=f"-{everything:f}")
        await adjust(service, "BTC", f"-{everything:f}", "WITHDRAWAL")
        ended = await service.until(stop.order_id, pb.ORDER_STATE_CANCELLED)
        assert ended.reasons[0].code == "PROTECTION_CHANGED"
        assert (await look(service)).clean
    await assert_ledger_holds(database)


async def test_faults_of_an_adjustment_are_told_together_and_nothing_is_booked(
    account: Simulator, database: Any, environ: dict[str, str]
) -> None:
    async with running(environ) as service:
        await service.reconcile()
        empty = ledger.AdjustLedgerRequest(amount=decimal_message(Decimal(1)), currency="usd")
        found = {v.field for v in (await refused(service.stub.AdjustLedger(empty, timeout=10))).violations}
        assert {"request_id", "currency", "kind", "note", "expected_difference"} <= found
        for currency, amount, kind, more in (
            ("USD", "5", "WITHDRAWAL", {}),
            ("USD", "-5", "DEPOSIT", {}),
            ("USD", "0", "CORRECTION", {}),
            ("DOGE", "-1", "CORRECTION", {}),
            ("USD", "1", "DEPOSIT", {"cost": decimal_message(Decimal(1))}),
            ("XYZ", "1", "DEPOSIT", {"cost": decimal_message(Decimal(1))}),
            ("BTC", "1", "ADOPTION", {}),
        ):
            assert (await refused(adjust(service, currency, amount, kind, **more))).violations, (currency, kind)
        async with database.engine.connect() as connection:
            booked = select(func.count()).where(ledger_entries.c.account == "adjustments")
            assert (await connection.execute(booked)).scalar_one() == 0


async def test_a_sale_by_hand_is_named_with_its_order_and_takes_the_position_down_when_booked(
    account: Simulator, database: Any, environ: dict[str, str], issuer: Issuer
) -> None:
    async with running(environ) as service:
        assert (await look(service)).clean
        bought = await service.execute(await issuer.request(recommend(Side.BUY, "1000", "DOGE-USD")))
        size = Decimal(bought.filled_size.value)
        by_hand = Decimal(int(size / 4))
        order_id = await somebody_trades(account, "DOGE-USD", "SELL", market_market_ioc={"base_size": str(by_hand)})

        seen = await look(service)
        assert not seen.clean
        (order,) = seen.foreign_orders
        assert (order.exchange_order_id, order.product_id, order.unbooked) == (order_id, "DOGE-USD", True)
        assert Decimal(order.filled_size.value) == by_hand
        gained = Decimal(order.filled_value.value) - Decimal(order.total_fees.value)
        assert Decimal(of(seen, "DOGE").difference.value) == by_hand == -Decimal(of(seen, "DOGE").foreign_change.value)
        assert Decimal(of(seen, "USD").difference.value) == -gained == -Decimal(of(seen, "USD").foreign_change.value)

        before = (await positions(service)).realized_pnl.value
        out = await adjust(service, "DOGE", f"-{by_hand}", "TRADE")
        assert (out.product_id, Decimal(out.position_after.value)) == ("DOGE-USD", size - by_hand)
        assert (await look(service)).foreign_orders, "its money is not booked yet"
        await adjust(service, "USD", str(gained), "TRADE")
        seen = await look(service)
        assert (seen.clean, list(seen.foreign_orders)) == (True, [])
        shown = await positions(service)
        assert (shown.realized_pnl.value, len(shown.positions)) == (before, 1)
        assert Decimal(shown.positions[0].base_size.value) == size - by_hand
        await assert_money_adds_up(service, database)
        rest = await service.execute(await issuer.request(recommend(Side.SELL, str(int(size - by_hand)), "DOGE-USD")))
        assert rest.state == pb.ORDER_STATE_FILLED
        assert (await look(service)).clean


async def test_an_order_of_somebody_else_that_rests_is_listed_with_what_it_holds(
    account: Simulator, environ: dict[str, str]
) -> None:
    bought = await at_hand(
        account, await somebody_trades(account, "DOGE-USD", "BUY", market_market_ioc={"quote_size": "5"})
    )
    price = bought.filled_value / bought.filled_size
    far = {"base_size": "100", "limit_price": f"{price * Decimal('0.8'):.4f}"}
    order_id = await somebody_trades(account, "DOGE-USD", "BUY", limit_limit_gtc=far)
    async with running(environ) as service:
        seen = await look(service)
        assert seen.clean, "funds on hold are still the account's"
        (order,) = seen.foreign_orders
        assert (order.exchange_order_id, order.resting, order.unbooked, order.status) == (order_id, True, False, "OPEN")
        assert Decimal(order.hold.value) >= Decimal("0.1")
        assert order.client_order_id.startswith("hand-")


async def test_a_tolerance_is_kept_to_the_last_digit_and_for_its_currency_only(
    account: Simulator, environ: dict[str, str]
) -> None:
    async with running({**environ, "LEDGER_TOLERANCE": "USD=0.01, BTC=0.00000001"}) as service:
        assert (await look(service)).clean
        await account.control("transfer", currency="USD", amount="0.01")
        seen = await look(service)
        assert (seen.clean, of(seen, "USD").difference.value, of(seen, "USD").tolerance.value) == (
            True,
            "-0.01",
            "0.01",
        )
        await account.control("transfer", currency="USD", amount="0.001")
        assert not (await look(service)).clean
        await account.control("transfer", currency="USD", amount="-0.001")
        await account.control("transfer", currency="ETH", amount="0.000001")
        assert not (await look(service)).clean


async def test_the_fee_tier_is_read_at_the_start_and_again_when_a_fill_was_charged_otherwise(
    account: Simulator, environ: dict[str, str], issuer: Issuer
) -> None:
    async with running({**environ, "TAKER_FEE": "0.004"}) as service:
        tier = (await look(service)).fee_tier
        assert (tier.taker.value, tier.maker.value) == ("0.009", "0.005")
        assert (tier.setting.value, tier.reckoned.value) == ("0.004", "0.009")
        try:
            await account.control("fees", taker="0.0025", maker="0.0015")
            assert (await look(service)).fee_tier.taker.value == "0.009", "nothing was charged yet"
            await service.execute(await issuer.request(recommend(Side.BUY, "1000", "ETH-USD")))
            tier = (await look(service)).fee_tier
            assert (tier.taker.value, tier.setting.value, tier.reckoned.value) == ("0.0025", "0.004", "0.004")
        finally:
            await account.control("fees", taker="0.009", maker="0.005")
    async with running(environ) as service:
        tier = (await look(service)).fee_tier
        assert (tier.taker.value, tier.HasField("setting"), tier.reckoned.value) == ("0.009", False, "0.009")
