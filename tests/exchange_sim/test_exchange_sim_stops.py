"""Stops, brackets and what they bring, on markets of made-up bars: against a slow oracle, and however time is cut into steps."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange_sim.exchange import Exchange
from exchange_sim.market import Candle
from exchange_sim.market_bars import BarMarket, fold
from exchange_sim.order_checks import Fees
from exchange_sim.order_request import parse_create
from exchange_sim.orders import Fill, Order, Status, attached_id
from exchange_sim.products import Product, listed
from exchange_sim.reasons import Rejection
from exchange_sim.state import ExchangeState
from exchange_sim.times import SECOND_US

D = Decimal
STEP = 300
FIRST = 1_735_689_600
OPENING = D(100_000)
FEES = Fees(D("0.009"), D("0.005"))


@dataclass
class MadeUp:
    """Bars as they are given."""

    candles: Sequence[Candle]
    label = "MADE UP"
    has_insides = True
    step = STEP
    first = FIRST

    @property
    def last(self) -> int:
        return self.candles[-1].start

    def products(self) -> Sequence[Product]:
        product = listed("BTC-USD")
        assert product is not None
        return (product,)

    def bar(self, product_id: str, start: int) -> Candle | None:
        return next((one for one in self.candles if one.start == start), None)

    def last_before(self, product_id: str, start: int) -> Candle | None:
        return next((one for one in reversed(self.candles) if one.start < start), None)

    def bars(self, product_id: str, start: int, end: int) -> list[Candle]:
        return [one for one in self.candles if start <= one.start < end]

    def aggregate(self, product_id: str, granularity: int, start: int, end: int) -> list[Candle]:
        return []


def bars(*points: str | int) -> list[Candle]:
    """A bar for each price after the first, from the one to the next."""
    prices = [D(point) for point in points]
    return [
        Candle(FIRST + place * STEP, before, max(before, after), min(before, after), after, D(10))
        for place, (before, after) in enumerate(pairwise(prices))
    ]


@contextmanager
def exchange_on(candles: Sequence[Candle]) -> Iterator[Exchange]:
    """An exchange at the first bar's open with a hundred thousand dollars, and a bitcoin and a half that cost nothing."""
    with tempfile.TemporaryDirectory() as folder:
        state = ExchangeState(Path(folder) / "state")
        try:
            exchange = Exchange(BarMarket(MadeUp(candles), D(2)), state, FEES, lambda: 0.0)
            exchange.open("made up", FIRST * SECOND_US, OPENING)
            exchange.transfer("BTC", D("1.5"))
            yield exchange
        finally:
            state.close()


def place(exchange: Exchange, side: str, variant: str, attached: Any = None, **terms: Any) -> Order | Rejection:
    body = {"client_order_id": f"{side}-{variant}", "product_id": "BTC-USD", "side": side}
    body["order_configuration"] = {variant: terms}  # type: ignore[assignment]
    if attached is not None:
        body["attached_order_configuration"] = {"trigger_bracket_gtc": attached}  # type: ignore[assignment]
    return exchange.create(parse_create(json.dumps(body).encode()))


def placed(*arguments: Any, **terms: Any) -> Order:
    found = place(*arguments, **terms)
    assert isinstance(found, Order), found
    return found


def to_end(exchange: Exchange, seconds: int) -> None:
    exchange.advance((FIRST + seconds) * SECOND_US)


def now(exchange: Exchange, order: Order) -> Order:
    found = exchange.state.order(order.order_id)
    assert found is not None
    return found


def fills_of(exchange: Exchange, order_id: str) -> list[Fill]:
    return [fill for fill in exchange.state.fills([], 100) if fill.order_id == order_id]


def assert_whole(exchange: Exchange) -> None:
    """Money moves by fills alone, nothing is below nought, and only open orders hold anything."""
    expected = {"USD": OPENING, "BTC": D("1.5")}
    for fill in exchange.state.fills([], 1000):
        sign = 1 if fill.side == "BUY" else -1
        expected["BTC"] += sign * fill.size
        expected["USD"] -= sign * fill.price * fill.size + fill.commission
    held = {"USD": D(0), "BTC": D(0)}
    for order in exchange.state.open_orders():
        held[order.spends] += order.hold
    for one in exchange.state.balances():
        assert one.available + one.hold == expected[one.currency]
        assert one.hold == held[one.currency] and one.available >= 0


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "variant", "terms", "preview"),
    [
        ("SELL", "stop_limit_stop_limit_gtc", {"stop_price": "100", "limit_price": "99"}, "STOP_PRICE_ABOVE_LAST_TRADE_PRICE"),
        ("SELL", "stop_limit_stop_limit_gtc", {"stop_price": "90", "limit_price": "91"}, "STOP_PRICE_BELOW_LIMIT_PRICE"),
        ("BUY", "stop_limit_stop_limit_gtc", {"stop_price": "100", "limit_price": "110", "up": True}, "STOP_PRICE_BELOW_LAST_"),
        ("BUY", "stop_limit_stop_limit_gtc", {"stop_price": "110", "limit_price": "109", "up": True}, "STOP_PRICE_ABOVE_LIMIT_"),
        ("SELL", "stop_limit_stop_limit_gtc", {"stop_price": "0", "limit_price": "99"}, "INVALID_STOP_PRICE"),
        ("SELL", "stop_limit_stop_limit_gtc", {"stop_price": "90.001", "limit_price": "89"}, "INVALID_PRICE_PRECISION"),
        ("SELL", "stop_limit_stop_limit_gtc", {"stop_price": "90", "limit_price": "89", "stop_direction": "D"}, "ORDER_CONFIG"),
        ("SELL", "stop_limit_stop_limit_gtd", {"stop_price": "90", "limit_price": "89"}, "GTD_ORDERS_MUST_HAVE_END_TIME"),
        ("SELL", "trigger_bracket_gtc", {"limit_price": "99", "stop_trigger_price": "90"}, "INVALID_BRACKET_PRICES"),
        ("SELL", "trigger_bracket_gtc", {"limit_price": "110", "stop_trigger_price": "101"}, "INVALID_BRACKET_PRICES"),
        ("SELL", "trigger_bracket_gtc", {"limit_price": "110"}, "INVALID_STOP_PRICE"),
        ("BUY", "trigger_bracket_gtc", {"limit_price": "110", "stop_trigger_price": "90"}, "INVALID_BRACKET_PRICES"),
        ("SELL", "trigger_bracket_gtc", {"limit_price": "110", "stop_trigger_price": "90", "base_size": "9"}, "INSUFFICIENT_"),
    ],
)  # fmt: skip
def test_stops_on_the_wrong_side_are_refused_and_hold_nothing(
    side: str, variant: str, terms: dict[str, Any], preview: str
) -> None:
    given_terms = {"base_size": "1", **{name: value for name, value in terms.items() if name != "up"}}
    if variant.startswith("stop"):
        given_terms.setdefault("stop_direction", f"STOP_DIRECTION_STOP_{'UP' if 'up' in terms else 'DOWN'}")
    with exchange_on(bars(100, 100)) as exchange:
        refused = place(exchange, side, variant, **given_terms)
        assert isinstance(refused, Rejection) and preview in refused.preview
        assert not exchange.state.open_orders()
        assert_whole(exchange)


@pytest.mark.parametrize(
    ("attached", "error"),
    [
        ({"limit_price": "100", "stop_trigger_price": "90"}, "INVALID_ATTACHED_TAKE_PROFIT_PRICE"),
        ({"limit_price": "110", "stop_trigger_price": "101"}, "INVALID_ATTACHED_STOP_LOSS_PRICE"),
        ({"limit_price": "110", "stop_trigger_price": "90", "base_size": "1"}, "UNSUPPORTED_ORDER_CONFIGURATION"),
        ({"limit_price": "110"}, "PREVIEW_INVALID_STOP_PRICE"),
        ({"limit_price": "many", "stop_trigger_price": "90"}, "PREVIEW_NON_NUMERIC_ORDER_SIZE"),
    ],
)
def test_a_bad_bracket_is_refused_with_what_it_hangs_on(attached: dict[str, str], error: str) -> None:
    with exchange_on(bars(100, 100)) as exchange:
        refused = place(exchange, "BUY", "market_market_ioc", attached, base_size="1")
        assert isinstance(refused, Rejection) and refused.error == error
        assert not exchange.state.fills([], 10)


# ---- what they do ----------------------------------------------------------------------------------------------------


def test_a_stop_sells_at_the_bid_once_the_price_is_there() -> None:
    with exchange_on(bars(100, 96, 90)) as exchange:
        stop = placed(
            exchange, "SELL", "stop_limit_stop_limit_gtc",
            base_size="1", stop_price="95", limit_price="90", stop_direction="STOP_DIRECTION_STOP_DOWN",
        )  # fmt: skip
        assert (stop.status, stop.waits, stop.hold) == (Status.OPEN, True, D(1))
        to_end(exchange, STEP)
        assert now(exchange, stop).waits
        to_end(exchange, 2 * STEP)
        done = now(exchange, stop)
        (fill,) = fills_of(exchange, stop.order_id)
        assert (done.status, done.waits, fill.liquidity) == (Status.FILLED, False, "TAKER")
        assert D("94.9") <= fill.price < 95
        assert fill.at_us == done.triggered_us
        assert_whole(exchange)


def test_a_stop_whose_limit_the_price_fell_past_rests_until_it_comes_back() -> None:
    with exchange_on([*bars(100, 96), *gap(1, 80, 85), *gap(2, 85, 99)]) as exchange:
        stop = placed(
            exchange, "SELL", "stop_limit_stop_limit_gtc",
            base_size="1", stop_price="95", limit_price="94", stop_direction="STOP_DIRECTION_STOP_DOWN",
        )  # fmt: skip
        to_end(exchange, 2 * STEP)
        resting = now(exchange, stop)
        assert (resting.status, resting.waits, resting.in_book) == (Status.OPEN, False, D(94))
        to_end(exchange, 3 * STEP)
        (fill,) = fills_of(exchange, stop.order_id)
        assert (fill.price, fill.liquidity) == (D(94), "MAKER")
        assert_whole(exchange)


def gap(place_: int, before: int, after: int) -> list[Candle]:
    low, high = min(before, after), max(before, after)
    return [Candle(FIRST + place_ * STEP, D(before), D(high), D(low), D(after), D(10))]


def test_a_bracket_takes_its_profit_or_stops_and_never_both() -> None:
    for way, price, liquidity in (((100, 111, 80), D(110), "MAKER"), ((100, 89, 120), None, "TAKER")):
        with exchange_on(bars(*way)) as exchange:
            bracket = placed(
                exchange, "SELL", "trigger_bracket_gtc", base_size="1", limit_price="110", stop_trigger_price="90"
            )
            to_end(exchange, 2 * STEP)
            (fill,) = fills_of(exchange, bracket.order_id)
            assert fill.liquidity == liquidity
            assert fill.price == price if price else D("89.9") < fill.price < 90
            assert now(exchange, bracket).status is Status.FILLED
            assert_whole(exchange)


def test_an_entry_brings_its_bracket_whether_it_fills_at_once_or_later() -> None:
    attached = {"limit_price": "120", "stop_trigger_price": "90"}
    for variant, terms in (("market_market_ioc", {"quote_size": "100"}), ("limit_limit_gtc", {"limit_price": "97"})):
        with exchange_on(bars(100, 96, 96, 121)) as exchange:
            size = {"base_size": "1"} if variant.startswith("limit") else {}
            entry = placed(exchange, "BUY", variant, attached, **terms, **size)
            to_end(exchange, 2 * STEP)
            filled = now(exchange, entry)
            assert filled.status is Status.FILLED
            bracket = exchange.state.order(attached_id(entry.order_id))
            assert bracket is not None and bracket.parent_id == entry.order_id
            assert (bracket.base_size, bracket.hold) == (filled.filled_size, filled.filled_size)
            assert bracket.created_us == filled.last_fill_us
            assert_whole(exchange)
            to_end(exchange, 3 * STEP)
            assert [fill.price for fill in fills_of(exchange, bracket.order_id)] == [D(120)]
            assert_whole(exchange)


def test_a_cancelled_entry_brings_nothing() -> None:
    with exchange_on(bars(100, 100)) as exchange:
        attached = {"limit_price": "120", "stop_trigger_price": "80"}
        entry = placed(exchange, "BUY", "limit_limit_gtc", attached, base_size="1", limit_price="90")
        exchange.cancel([entry.order_id])
        assert exchange.state.order(attached_id(entry.order_id)) is None
        assert_whole(exchange)


# ---- against an oracle, and however time is cut ----------------------------------------------------------------------

ways = st.lists(st.integers(70, 130), min_size=3, max_size=7)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    way=ways, stop=st.integers(60, 98), profit=st.integers(102, 140), cuts=st.lists(st.integers(1, 1_800), max_size=6)
)
def test_a_bracket_does_what_a_look_at_every_second_says_however_time_is_cut(
    way: list[int], stop: int, profit: int, cuts: list[int]
) -> None:
    candles = bars(100, *way)
    end = len(candles) * STEP
    found = []
    for steps in ([end], sorted({*(cut for cut in cuts if cut < end), end})):
        with exchange_on(candles) as exchange:
            bracket = placed(
                exchange, "SELL", "trigger_bracket_gtc",
                base_size="1", limit_price=str(profit), stop_trigger_price=str(stop),
            )  # fmt: skip
            for step in steps:
                to_end(exchange, step)
                assert_whole(exchange)
            (expected, second) = _by_seconds(exchange, stop, profit, end)
            made = fills_of(exchange, bracket.order_id)
            assert [fill.liquidity for fill in made] == expected
            if made:
                assert abs(made[0].at_us // SECOND_US - FIRST - second) <= 1
            found.append([(fill.price, fill.at_us, fill.liquidity) for fill in made])
    assert found[0] == found[1]


def _by_seconds(exchange: Exchange, stop: int, profit: int, end: int) -> tuple[list[str], int]:
    """Which leg is first, looked at second by second."""
    for second in range(end + 1):
        quote = exchange.market.quote("BTC-USD", (FIRST + second) * SECOND_US)
        assert quote is not None
        # The market's own touch compares before the bid is rounded to its grid.
        if quote.last * (1 - D(2) / 20_000) >= profit:
            return ["MAKER"], second
        if quote.last <= stop:
            return ["TAKER"], second
    return [], 0


@given(way=ways, offsets=st.lists(st.integers(0, 299), min_size=2, max_size=2, unique=True))
def test_parts_of_a_bar_are_the_bar(way: list[int], offsets: list[int]) -> None:
    """Minute candles, folded, are the bar that they are parts of, to the last digit of its volume."""
    candles = bars(100, *way)
    market = BarMarket(MadeUp(candles), D(2))
    end = FIRST + len(candles) * STEP
    minutes = market._finer("BTC-USD", 60, FIRST, end - 1, end * SECOND_US)
    assert [one.start for one in minutes] == list(range(FIRST, end, 60))
    for candle in candles:
        parts = [one for one in minutes if candle.start <= one.start < candle.start + STEP]
        assert fold(candle.start, parts) == candle
    early, late = sorted(offsets)
    seen = market._finer("BTC-USD", 60, FIRST, FIRST + 299, (FIRST + late) * SECOND_US)
    assert len(seen) == -(-late // 60)
    assert seen[: early // 60] == minutes[: early // 60]
