"""What a size costs: a walk through the levels against a slow oracle, and what is left of an order that is too large."""

from collections.abc import Callable
from decimal import Decimal as D
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_sim.depth import LEVELS, ladder, protected, walk_base, walk_quote
from exchange_sim.market import Level, Quote
from exchange_sim.products import listed

PRODUCT = listed("BTC-USD")
assert PRODUCT is not None
RATE = D("0.009")
QUOTE = Quote(D(60_000), D("59994"), D("60006"), 0)

sizes = st.decimals(min_value="0.00000001", max_value=200, places=8)
values = st.decimals(min_value="1", max_value="20000000", places=2)


def book(side: str, day_value: str = "500000000") -> list[Level]:
    return list(ladder(PRODUCT, QUOTE, D(day_value), side))


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@given(day_value=st.decimals(min_value=0, max_value=10**11, places=2))
def test_a_book_begins_at_the_touch_grows_worse_and_deeper_and_lies_on_the_grid(side: str, day_value: D) -> None:
    levels = book(side, str(day_value))
    assert len(levels) == LEVELS
    assert levels[0].price == (QUOTE.ask if side == "BUY" else QUOTE.bid)
    prices = [level.price for level in levels]
    assert prices == sorted(prices, reverse=side == "SELL") and len(set(prices)) == LEVELS
    worth = [level.price * level.size for level in levels]
    assert all(later > before for before, later in pairwise(worth))
    assert worth[0] >= 2000 - levels[0].price * PRODUCT.base_increment
    for level in levels:
        assert level.price % PRODUCT.price_increment == 0 and level.size % PRODUCT.base_increment == 0


@given(size=sizes, limit=st.integers(59_500, 60_500), side=st.sampled_from(["BUY", "SELL"]))
def test_a_walk_takes_the_best_first_and_no_more_than_is_there(size: D, limit: int, side: str) -> None:
    levels = book(side)
    walk = walk_base(levels, side, D(limit), size, RATE)
    allowed = [one for one in levels if (one.price <= limit if side == "BUY" else one.price >= limit)]
    available = sum((one.size for one in allowed), D(0))
    assert walk.size == min(size, available) and walk.complete is (size <= available)
    for fill, level in zip(walk.fills, allowed, strict=False):
        assert fill.price == level.price and fill.size <= level.size
        assert fill.value == fill.price * fill.size and fill.fee == fill.value * RATE
    assert all(fill.size == level.size for fill, level in zip(walk.fills[:-1], allowed, strict=False))


@given(spend=values)
def test_what_is_bought_for_an_amount_costs_no_more_and_not_a_step_less(spend: D) -> None:
    levels = book("BUY")
    walk = walk_quote(levels, protected("BUY", QUOTE), spend, RATE, PRODUCT)
    assert walk.cost <= spend
    if walk.complete:
        worst = max((fill.price for fill in walk.fills), default=levels[0].price)
        beyond = next((one.price for one in levels if one.price > worst), worst)
        assert spend - walk.cost < beyond * PRODUCT.base_increment * (1 + RATE)
    else:
        assert walk.size == sum(one.size for one in levels)


def test_a_small_order_fills_at_the_touch_a_large_one_slips_and_the_rest_of_a_huge_one_is_cancelled(
    launch: Callable[..., Any], new_id: Callable[[], str]
) -> None:
    client = launch(opening_usd="1000000000", products="BTC-USD").client()
    levels = client.get_product_book("BTC-USD").pricebook
    assert len(levels.bids) == len(levels.asks) == LEVELS
    touch = D(levels.asks[0].price)

    def bought(quote_size: str) -> Any:
        made = client.market_order_buy(new_id(), "BTC-USD", quote_size=quote_size)
        return client.get_order(made.success_response["order_id"]).order

    small, large, huge = bought("100"), bought("1000000"), bought("100000000")
    assert (small.status, D(small.average_filled_price), small.number_of_fills) == ("FILLED", touch, "1")
    assert large.status == "FILLED" and D(large.average_filled_price) > touch * D("1.0003")
    fills = client.get_fills(order_ids=[large.order_id]).fills
    assert len(fills) == int(large.number_of_fills) > 3
    assert sum(D(one.size) for one in fills) == D(large.filled_size)
    assert sum(D(one.price) * D(one.size) for one in fills) == D(large.filled_value)
    assert sum(D(one.commission) for one in fills) == D(large.total_fees)
    assert huge.status == "CANCELLED" and D(huge.filled_size) == sum(D(one.size) for one in levels.asks)
    assert client.preview_order(
        "BTC-USD", "BUY", {"market_market_ioc": {"quote_size": "1000000"}}
    ).est_average_filled_price


def test_a_limit_that_takes_a_part_rests_with_the_rest_and_one_of_all_or_nothing_takes_nothing(
    launch: Callable[..., Any], new_id: Callable[[], str]
) -> None:
    client = launch(opening_usd="10000000", products="BTC-USD").client()
    ask = client.get_product_book("BTC-USD", limit=1).pricebook.asks[0]
    size = str(D(ask.size) * 2)
    fok = client.limit_order_fok_buy(new_id(), "BTC-USD", size, ask.price)
    assert client.get_order(fok.success_response["order_id"]).order.filled_size == "0"
    ioc = client.get_order(
        client.limit_order_ioc_buy(new_id(), "BTC-USD", size, ask.price).success_response["order_id"]
    ).order
    assert (ioc.status, ioc.filled_size) == ("CANCELLED", ask.size)
    gtc = client.get_order(
        client.limit_order_gtc_buy(new_id(), "BTC-USD", size, ask.price).success_response["order_id"]
    ).order
    assert (gtc.status, gtc.filled_size, gtc.completion_percentage) == ("OPEN", ask.size, "50")
    held = next(one for one in client.get_accounts().accounts if one.currency == "USD").hold["value"]
    assert D(held) == D(gtc.outstanding_hold_amount) == D(ask.size) * D(ask.price) * D("1.009")
    assert client.cancel_orders([gtc.order_id]).results[0].success
    cancelled = client.get_order(gtc.order_id).order
    assert (cancelled.status, cancelled.filled_size, cancelled.outstanding_hold_amount) == ("CANCELLED", ask.size, "0")
