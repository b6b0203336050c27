"""The way out: exits that nobody approved, closes by an operator's word, and what neither may do."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from exchange_client import ExchangeConfig, ExchangeProduct
from exchange_client.coinbase.client import CoinbaseClient
from meshkit.errors import FailedPrecondition
from svc_executor.holding import Holding
from svc_executor.reduce import reduce_only
from tests.executor.issuer import Issuer, assert_ledger_holds, at_exchange, recommend, running
from tests.executor.selling import bought, rest_sell, without_ticket
from tests.executor.venue import FaultProxy, Simulator
from tradekit.exits import exit_size
from tradekit.products import floor_to
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2 as risk_pb

amounts = st.decimals(0, 1000, places=10, allow_nan=False)


@given(amounts, amounts, st.sampled_from(["0.00000001", "0.001", "1"]), amounts | st.none(), amounts)
def test_an_exit_is_on_the_grid_and_never_more_than_is_free(
    wanted: Decimal, free: Decimal, step: str, price: Decimal | None, least: Decimal
) -> None:
    found = exit_size(wanted, free, Decimal(step), price, least)
    assert 0 <= found.size <= free
    assert floor_to(found.size, Decimal(step)) == found.size
    if found.dust_value:
        assert found.size == floor_to(free, Decimal(step))
        assert found.dust_value < least
    else:
        assert found.size <= wanted


async def test_an_exit_needs_nobodys_word_and_sells_no_more_than_is_held(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with running(environ) as executor:
        held = (await bought(executor, issuer)).filled_size.value
        item = recommend(Side.SELL, str(Decimal(held) * 3))
        first = await executor.execute(await without_ticket(issuer, item))
        assert (first.state, first.base_size.value) == (pb.ORDER_STATE_FILLED, held)
        # Asked again, with a word that came meanwhile and speaks of another size: the same order.
        again = await issuer.request(item, held, max_size=held)
        assert await executor.execute(again) == first
        nothing = await refused(executor.execute(await without_ticket(issuer, recommend(Side.SELL, "0.1"))))
        assert nothing.reason == "NOT_HELD"
        entry = await refused(executor.execute(await without_ticket(issuer, recommend(Side.BUY, "10.00"))))
        assert [(v.field, v.rule) for v in entry.violations] == [("ticket", "REQUIRED")]
        assert (await executor.reconcile()).clean
    assert len(await at_exchange(simulator, first.order_id)) == 1
    await assert_ledger_holds(database)


async def test_an_exit_goes_when_its_reservation_is_gone(environ: dict[str, str], issuer: Issuer) -> None:
    async with running(environ) as executor:
        held = (await bought(executor, issuer)).filled_size.value
        late = await issuer.request(recommend(Side.SELL, held), exp=1_700_000_000)
        assert (await executor.execute(late)).state == pb.ORDER_STATE_FILLED


async def test_what_was_sent_must_be_what_is_stored(environ: dict[str, str], issuer: Issuer) -> None:
    async with running(environ) as executor:
        request = await without_ticket(issuer, recommend(Side.SELL, "0.1"))
        request.recommendation.note = "another one"
        assert (await refused(executor.execute(request))).reason == "TERMS_DIFFER"
        request.recommendation.recommendation_id = str(uuid4())
        assert (await refused(executor.execute(request))).reason == "NOT_FOUND"


async def test_coins_on_hold_elsewhere_delay_an_exit_and_size_it(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator
) -> None:
    """Another client of the account rests a sell order: what it holds is not ours to sell now."""
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    async with running(environ) as executor, CoinbaseClient(config) as other:
        order = await bought(executor, issuer)
        held, above = Decimal(order.filled_size.value), Decimal(order.average_price.value) * Decimal("1.2")
        part = floor_to(held / 4, Decimal("0.00000001"))
        # The account may hold coins that are not the mesh's: all of it but a part goes on hold.
        free = sum((one.available for one in await other.accounts() if one.currency == "BTC"), Decimal(0))
        resting = await rest_sell(other, "BTC-USD", free - part, format(floor_to(above, Decimal("0.01")), "f"))
        item = recommend(Side.SELL, str(held))
        sold = await executor.execute(await without_ticket(issuer, item))
        assert Decimal(sold.filled_size.value) == part
        waiting = await refused(executor.execute(await without_ticket(issuer, recommend(Side.SELL, str(held)))))
        assert waiting.reason == "NOTHING_AVAILABLE"
        assert waiting.metadata["available"] == "0"
        assert await other.cancel_orders([resting]) == {}
        rest = await executor.execute(await without_ticket(issuer, recommend(Side.SELL, str(held))))
        assert Decimal(rest.filled_size.value) == held - part


async def test_an_exit_does_not_wait_for_wallets_that_nobody_tells(
    environ: dict[str, str], issuer: Issuer, proxy: FaultProxy, database: Any
) -> None:
    """Neither the exit's own look at what is free nor a comparison that hangs at the exchange holds it up."""
    patient = {**environ, "EXCHANGE_READ_SECONDS": "60", "EXCHANGE_TOTAL_SECONDS": "60", "ABSENCE_SECONDS": "200"}
    async with running(patient) as executor:
        held = (await bought(executor, issuer)).filled_size.value
        proxy.wallets = asyncio.Event()
        try:
            comparison = asyncio.ensure_future(executor.reconcile())
            await asyncio.sleep(0.5)
            sold = await executor.execute(await without_ticket(issuer, recommend(Side.SELL, held)))
            assert sold.state == pb.ORDER_STATE_FILLED
            assert not comparison.done()
        finally:
            proxy.wallets.set()
        assert (await comparison).clean
    await assert_ledger_holds(database)


async def test_a_close_sells_everything_once_and_says_what_remains(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with running(environ) as executor:
        for product in ("BTC-USD", "ETH-USD"):
            await bought(executor, issuer, "50.00", product)
        request = pb.ClosePositionsRequest(request_id=str(uuid4()), note="enough")
        receipt = await executor.stub.ClosePositions(request)
        assert {one.product_id for one in receipt.outcomes} == {"BTC-USD", "ETH-USD"}
        for one in receipt.outcomes:
            assert one.order.state == pb.ORDER_STATE_FILLED
            assert one.order.note == "enough"
            assert one.remaining_size.value == "0"
            assert not one.reasons
        again = await executor.stub.ClosePositions(request)
        assert [one.order for one in again.outcomes] == [one.order for one in receipt.outcomes]
        named = pb.ClosePositionsRequest(request_id=request.request_id, note="enough", product_ids=["BTC-USD"])
        same = (await executor.stub.ClosePositions(named)).outcomes[0].order
        assert same in [one.order for one in receipt.outcomes]
        other = pb.ClosePositionsRequest(request_id=str(uuid4()), note="again", product_ids=["BTC-USD"])
        nothing = (await executor.stub.ClosePositions(other)).outcomes[0]
        assert [reason.code for reason in nothing.reasons] == ["NOT_HELD"]
        none = pb.ClosePositionsRequest(request_id=str(uuid4()), note="mistyped", product_ids=["XYZ-USD"])
        (why,) = (await executor.stub.ClosePositions(none)).outcomes[0].reasons
        assert (why.code, why.observed) == ("UNKNOWN_PRODUCT", "XYZ-USD is not a product of the exchange")
        assert (await executor.reconcile()).clean
    for one in receipt.outcomes:
        assert len(await at_exchange(simulator, one.order.order_id)) == 1
    await assert_ledger_holds(database)


async def test_halted_nothing_is_closed_and_reducing_everything_is(environ: dict[str, str], issuer: Issuer) -> None:
    async with running(environ) as executor:
        await bought(executor, issuer)
        for state, closes in (("HALTED", False), ("REDUCING", True)):
            await executor.stub.SetTradingState(
                pb.SetTradingStateRequest(request_id=str(uuid4()), state=f"TRADING_STATE_{state}", note="drill")
            )
            call = executor.stub.ClosePositions(pb.ClosePositionsRequest(request_id=str(uuid4()), note="out"))
            if closes:
                assert (await call).outcomes[0].order.state == pb.ORDER_STATE_FILLED
            else:
                assert (await refused(call)).reason == "TRADING_HALTED"
        state = await executor.stub.GetTradingState(pb.GetTradingStateRequest())
        assert state.state == risk_pb.TRADING_STATE_REDUCING


def coin(step: str, least: str) -> ExchangeProduct:
    one = Decimal(1)
    return ExchangeProduct(
        "LTC-USD",
        "LTC",
        Decimal(step),
        one,
        one,
        Decimal(least),
        one * 10**9,
        one,
        one * 10**9,
        "online",
        tradable=True,
    )


@given(amounts, amounts, amounts, amounts | st.none(), amounts | st.none())
def test_a_reduction_is_within_the_ledger_and_the_wallet_or_says_which_of_them_lacks_it(
    wanted: Decimal, held: Decimal, selling: Decimal, available: Decimal | None, price: Decimal | None
) -> None:
    product = coin("0.001", "0.01")
    holding = Holding(held, Decimal(1), min(selling, held), price)
    try:
        size = reduce_only(wanted, holding, available, product)
    except FailedPrecondition as error:
        alone = exit_size(wanted, held, product.base_increment, holding.price, product.quote_min_size).size
        assert error.reason == ("NOTHING_AVAILABLE" if alone >= product.base_min_size else "NOT_HELD")
    else:
        assert product.base_min_size <= size <= min(holding.free, available if available is not None else held)


async def test_dust_goes_with_the_exit_that_would_leave_it(environ: dict[str, str], issuer: Issuer) -> None:
    """9.09 of 9.09239129: the rest could never be sold by itself, whoever sizes the exit."""
    async with running(environ) as executor:
        held = Decimal((await bought(executor, issuer)).filled_size.value)
        most = held - Decimal("0.00000100")
        sold = await executor.execute(await without_ticket(issuer, recommend(Side.SELL, str(most))))
        assert Decimal(sold.filled_size.value) == held
