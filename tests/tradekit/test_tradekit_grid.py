"""Increments of products and the grid of bars: the roundings on which every size and every decision time rests."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, getcontext, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.bars import (
    GRANULARITY_NAMES,
    GRANULARITY_SECONDS,
    bar_close,
    bar_start,
    is_on_grid,
    unix,
    utc,
)
from tradekit.products import Product, base_currency, ceil_to, floor_to, is_product_id, quote_currency
from trading.common.v1 import trade_pb2

VALUES = st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=18)
INCREMENTS = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(-exponent), st.integers(1, 9999), st.integers(0, 18)
)
FIRST, LAST = datetime(2009, 1, 3, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)
MOMENTS = st.integers(0, int((LAST - FIRST).total_seconds() * 10**6)).map(lambda us: FIRST + timedelta(microseconds=us))
GRANULARITIES = st.sampled_from(sorted(GRANULARITY_NAMES))


@given(VALUES, INCREMENTS)
def test_floor_is_the_largest_multiple_not_above(value: Decimal, increment: Decimal) -> None:
    floored = floor_to(value, increment)
    steps = Fraction(floored) / Fraction(increment)
    assert steps.denominator == 1
    assert Fraction(floored) <= Fraction(value) < Fraction(floored) + Fraction(increment)
    assert floor_to(floored, increment) == floored


@given(VALUES, INCREMENTS)
def test_ceiling_mirrors_the_floor(value: Decimal, increment: Decimal) -> None:
    # copy_negate: a unary minus rounds to the digits of the current context.
    assert ceil_to(value, increment) == floor_to(value.copy_negate(), increment).copy_negate()
    assert Fraction(ceil_to(value, increment)) - Fraction(floor_to(value, increment)) in (0, Fraction(increment))


def test_rounding_does_not_depend_on_the_callers_decimal_context() -> None:
    value = Decimal("123456789012.123456789012345678")
    with localcontext() as context:
        context.prec = 5
        assert floor_to(value, Decimal("1e-18")) == value
    assert getcontext().prec == 28


def test_a_products_sizes_are_floored_to_its_own_increments() -> None:
    product = Product("BTC-USD", *map(Decimal, ("1e-8", "0.01", "0.01", "1e-8", "1")), tradable=True, status="online")
    assert product.floor_base(Decimal("0.123456789")) == Decimal("0.12345678")
    assert product.floor_quote(Decimal("99.999")) == Decimal("99.99")
    assert product.floor_quote(Decimal("0.009")) == 0


@pytest.mark.parametrize("text", ["BTC-USD", "1INCH-USD", "ETH-BTC", "A-US", "SHIB-USDC"])
def test_product_ids(text: str) -> None:
    assert is_product_id(text)
    assert f"{base_currency(text)}-{quote_currency(text)}" == text


@pytest.mark.parametrize(
    "text", ["", "BTC", "BTC-", "-USD", "btc-usd", "BTC/USD", "BTC-USD-PERP", "BTC-USD\n", "BTC-U", "ＢTC-USD", "B" * 13 + "-USD"]
)  # fmt: skip
def test_what_is_no_product_id(text: str) -> None:
    assert not is_product_id(text)


@given(MOMENTS, GRANULARITIES)
def test_a_moment_lies_in_exactly_its_bar(moment: datetime, granularity: int) -> None:
    start = bar_start(moment, granularity)
    assert start <= moment < bar_close(start, granularity)
    assert is_on_grid(start, granularity)
    assert bar_start(start, granularity) == start
    assert is_on_grid(moment, granularity) is (moment == start)


def test_a_bar_that_closes_now_is_closed() -> None:
    noon = datetime(2025, 6, 1, 12, tzinfo=UTC)
    assert bar_close(noon - timedelta(hours=1), 3600) == noon == bar_start(noon, 3600)
    assert utc(unix(noon)) == noon
    assert not is_on_grid(noon.replace(microsecond=1), 3600)


def test_granularities_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("GRANULARITY_"): number for name, number in trade_pb2.Granularity.items() if number}
    assert contract == GRANULARITY_SECONDS
