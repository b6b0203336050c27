"""Fills of two products that never sell more than was bought, for the properties of lots and of the account's history."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

from hypothesis import strategies as st

from tradekit.account_history import AccountFill
from tradekit.decimals import CONTEXT, to_stored_scale
from tradekit.lots import Acquired, Disposed, Movement
from tradekit.states import Side
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

START = datetime(2025, 1, 1, tzinfo=UTC)
BTC, ETH = ProductId("BTC-USD"), ProductId("ETH-USD")
prices = st.decimals("0.000001", 10**6, places=6)
sizes = st.decimals("0.00000001", 10**4, places=8)
fees = st.decimals("-1", 50, places=10)
steps = st.tuples(st.sampled_from([BTC, ETH]), st.booleans(), sizes, prices, fees, st.integers(0, 90_000))


def a_fill(
    number: int, product_id: ProductId, side: Side, size: Decimal, price: Decimal, **more: object
) -> AccountFill:
    """A fill; its value is price times size, as the ledger books it."""
    with localcontext(CONTEXT):
        value = to_stored_scale(QuoteSize(price * size))
    when = more.get("time", START + timedelta(hours=number))
    values = {"order_id": f"o{number}", "fee": QuoteSize(Decimal(0)), "value": value, "time": when}
    values |= {"ordered_at": when, "booking_sequence": number + 1} | more
    return AccountFill(
        fill_id=f"f{number:04}",
        trade_id=f"t{number}",
        product_id=product_id,
        side=side,
        price=Price(price),
        size=BaseSize(size),
        liquidity="TAKER",
        **values,
    )


@st.composite
def histories(draw: st.DrawFn, *, all_sold: bool = False) -> list[AccountFill]:
    """Fills in order of time; a sale takes a part of what is held, often all of it. `all_sold`: nothing is left at the end."""
    held = {BTC: Decimal(0), ETH: Decimal(0)}
    fills: list[AccountFill] = []
    now = START
    for product_id, buys, size, price, fee, seconds in draw(st.lists(steps, max_size=25)):
        now += timedelta(seconds=seconds)
        side = Side.BUY if buys or not held[product_id] else Side.SELL
        if side is Side.SELL:
            size = min(size, held[product_id])
        held[product_id] += size if side is Side.BUY else -size
        fills.append(a_fill(len(fills), product_id, side, size, price, fee=QuoteSize(fee), time=now))
    for product_id, size in held.items() if all_sold else ():
        if size:
            price, fee = draw(prices), draw(fees)
            fills.append(a_fill(len(fills), product_id, Side.SELL, size, price, fee=QuoteSize(fee), time=now))
    return fills


def movements_of(fills: list[AccountFill]) -> list[Movement]:
    """What lots are made from, spelled out once more."""
    with localcontext(CONTEXT):
        return [
            Acquired(one.fill_id, one.product_id, one.time, one.size, one.value + one.fee, "BUY")
            if one.side is Side.BUY
            else Disposed(one.fill_id, one.product_id, one.time, one.size, one.value - one.fee, "SELL")
            for one in fills
        ]
