"""Whatever is ordered, cancelled and waited for: the balances add up, exactly, and time's cut does not matter."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange_sim.exchange import Acceptable, CannotMove, Exchange, ForeignState
from exchange_sim.market import Candle, Quote
from exchange_sim.market_bars import BarMarket
from exchange_sim.market_generated import GeneratedBars
from exchange_sim.matching import fill_base, fill_quote
from exchange_sim.numbers import ceil_to, floor_to, parse_number, plain
from exchange_sim.order_checks import Fees, check_state
from exchange_sim.order_request import OrderRequest, parse_create
from exchange_sim.orders import Order, Status
from exchange_sim.products import Product, derived, listed
from exchange_sim.reasons import Rejection
from exchange_sim.state import ExchangeState, StateInUse

D = Decimal
START = 1_735_689_600
SECOND_US = 1_000_000
FEES = Fees(D("0.009"), D("0.005"))
PRODUCTS = ("BTC-USD", "ETH-USD", "DOGE-USD")
SOURCE = GeneratedBars(3, PRODUCTS, START - 86_400)


def exchange(path: Path | str = ":memory:") -> Exchange:
    made = Exchange(BarMarket(SOURCE, D(2)), ExchangeState(Path(path)), FEES, lambda: 0.0)
    made.open("test", START * SECOND_US, D(10000))
    return made


def request(number: int, product: str, side: str, configuration: object) -> OrderRequest:
    body = {
        "client_order_id": f"order-{number}",
        "product_id": product,
        "side": side,
        "order_configuration": configuration,
    }
    return parse_create(json.dumps(body).encode())


Step = tuple[str, str, str, Decimal, Decimal, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["market", "gtc", "gtd", "post", "ioc", "fok", "cancel", "wait", "wait"]),
        st.sampled_from(PRODUCTS),
        st.sampled_from(["BUY", "SELL"]),
        st.decimals("0.01", "0.6", places=2),  # share of what could be spent
        st.decimals("0.97", "1.03", places=3),  # limit relative to the market
        st.integers(60, 200_000),  # seconds
    ),
    min_size=1,
    max_size=25,
)


def configuration(made: Exchange, step: Step) -> dict[str, object]:
    kind, product_id, side, share, distance, seconds = step
    product, quote = made.market.product(product_id), made.market.quote(product_id, made.now_us)
    assert product is not None and quote is not None
    spendable = made.state.balance(product.quote if side == "BUY" else product.base).available
    if kind == "market" and side == "BUY":
        return {"market_market_ioc": {"quote_size": plain(floor_to(spendable * share, D("0.01")))}}
    limit = floor_to(quote.last * distance, product.price_increment)
    size = spendable * share / limit if side == "BUY" else spendable * share
    terms: dict[str, object] = {"base_size": plain(floor_to(size, product.base_increment))}
    if kind == "market":
        return {"market_market_ioc": terms}
    terms["limit_price"] = plain(limit)
    if kind == "gtd":
        end = made.now_us // SECOND_US + seconds
        terms["end_time"] = f"{_iso(end)}"
    if kind == "post":
        terms["post_only"] = True
    names = {"post": "limit_limit_gtc", "ioc": "sor_limit_ioc"}
    return {names.get(kind, f"limit_limit_{kind}"): terms}


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def play(made: Exchange, played: Sequence[Step], cuts: int) -> None:
    for number, step in enumerate(played):
        kind, product_id, side, *_, seconds = step
        if kind == "wait":
            begin = made.now_us
            for cut in range(1, cuts + 1):
                made.advance(begin + seconds * SECOND_US * cut // cuts)
        elif kind == "cancel":
            made.cancel([order.order_id for order in made.state.open_orders()[:1]])
        else:
            made.create(request(number, product_id, side, configuration(made, step)))
        check_balances(made)


def check_balances(made: Exchange) -> None:
    """Balances recomputed from nothing but the opening, the fills and the open orders."""
    expected = {"USD": D(10000)} | {product.partition("-")[0]: D(0) for product in PRODUCTS}
    orders: dict[str, Order] = {order.order_id: order for order in made.state.orders([], 10_000)}
    sums: dict[str, list[Decimal]] = {order_id: [D(0), D(0), D(0)] for order_id in orders}
    for fill in made.state.fills([], 10_000):
        base, sign = fill.product_id.partition("-")[0], 1 if fill.side == "BUY" else -1
        expected[base] += sign * fill.size
        expected["USD"] -= sign * fill.price * fill.size + fill.commission
        rate = FEES.taker if fill.liquidity == "TAKER" else FEES.maker
        assert fill.commission == fill.price * fill.size * rate
        for i, part in enumerate((fill.size, fill.price * fill.size, fill.commission)):
            sums[fill.order_id][i] += part
    held = dict.fromkeys(expected, D(0))
    for order in orders.values():
        assert [order.filled_size, order.filled_value, order.fees] == sums[order.order_id]
        assert (order.hold > 0) == (order.status is Status.OPEN)
        held[order.spends] += order.hold
        if order.limit_price is not None and order.filled_size:
            better = order.filled_value <= order.limit_price * order.filled_size
            assert better if order.side == "BUY" else order.filled_value >= order.limit_price * order.filled_size
    for balance in made.state.balances():
        assert balance.available >= 0 and balance.hold >= 0
        assert balance.available + balance.hold == expected[balance.currency]
        assert balance.hold == held[balance.currency]


def record(made: Exchange) -> list[object]:
    """All that happened, without the order in which rows were written."""
    orders = sorted((replace(o, sequence=0) for o in made.state.orders([], 10_000)), key=lambda o: o.order_id)
    fills = sorted((replace(f, sequence=0) for f in made.state.fills([], 10_000)), key=lambda f: f.entry_id)
    return [*orders, *fills, *made.state.balances()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_balances_add_up_and_waiting_in_pieces_changes_nothing(played: list[Step]) -> None:
    whole, pieces = exchange(), exchange()
    play(whole, played, 1)
    play(pieces, played, 3)
    assert record(whole) == record(pieces)
    whole.state.close()
    pieces.state.close()


prices = st.decimals("0.00000001", "999999.99", places=8)
sizes = st.decimals("0.00000001", "99999999", places=8)


@given(prices, st.decimals("1", "150000000", places=2), st.sampled_from(["0.00000001", "0.1", "1"]))
def test_a_quote_sized_fill_is_the_most_that_fits(price: Decimal, spend: Decimal, increment: str) -> None:
    step, rate = D(increment), D("0.009")
    filled = fill_quote(price, spend, rate, step)
    assert filled.size % step == 0
    assert Fraction(filled.value) + Fraction(filled.fee) <= spend
    one_more = fill_base(price, filled.size + step, rate)
    assert Fraction(one_more.value) + Fraction(one_more.fee) > spend


@given(prices, sizes)
def test_a_fill_loses_no_digit(price: Decimal, size: Decimal) -> None:
    filled = fill_base(price, size, D("0.009"))
    assert Fraction(filled.value) == Fraction(price) * Fraction(size)
    assert Fraction(filled.fee) == Fraction(filled.value) * Fraction(9, 1000)


@given(sizes, st.sampled_from(["0.01", "0.00000001", "5", "0.1"]))
def test_rounding_and_text(value: Decimal, increment: str) -> None:
    step = D(increment)
    assert floor_to(value, step) <= value <= ceil_to(value, step)
    assert value - floor_to(value, step) < step and ceil_to(value, step) - value < step
    assert parse_number(plain(value)) == value and "E" not in plain(value)


def test_the_state_survives_and_is_held_by_one(tmp_path: Path) -> None:
    made = exchange(tmp_path / "state")
    made.create(request(1, "BTC-USD", "BUY", {"market_market_ioc": {"quote_size": "100"}}))
    made.advance(made.now_us + 5 * SECOND_US)
    with pytest.raises(StateInUse):
        exchange(tmp_path / "state")
    before, now = record(made), made.now_us
    made.state.close()
    again = exchange(tmp_path / "state")
    assert record(again) == before and again.now_us == now
    with pytest.raises(CannotMove):
        again.advance(now - 1)
    again.state.close()
    other = Exchange(BarMarket(SOURCE, D(2)), ExchangeState(tmp_path / "state"), FEES, lambda: 0.0)
    with pytest.raises(ForeignState, match="belongs to market test"):
        other.open("another", 0, D(1))
    other.state.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.sampled_from(["tick", "tick", "tick", "order", "cancel", "step", "die"]), max_size=40))
def test_small_steps_are_not_stored_each_and_a_restart_shows_no_earlier_time(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("clock") / "state"
    made, opened = exchange(path), list[str]()
    for number, act in enumerate(acts):
        shown, exact = made.now_us, made._stored_us == made.now_us
        if act == "tick":
            made.advance(shown + 100_000, lead_us=2_000_000)
        elif act == "step":
            made.advance(shown + 7 * SECOND_US)
            assert made._stored_us == made.now_us
        elif act == "order":
            terms = {"base_size": "100", "limit_price": near(made, "DOGE-USD")}
            order = made.create(request(number, "DOGE-USD", "BUY", {"limit_limit_gtc": terms}))
            assert isinstance(order, Order)
            opened.append(order.order_id)
            assert made._stored_us == made.now_us, "what happens to it counts from here on"
        elif act == "cancel" and opened:
            made.cancel([opened.pop()])
        elif act == "die":
            made.state.close()
            made = exchange(path)
            assert shown <= made.now_us <= shown + 2_000_000
            assert made.now_us == shown or not exact
            if any(one.status is Status.OPEN for one in made.state.orders([], 100)):
                assert made.now_us == shown
    made.state.close()


def near(made: Exchange, product: str) -> str:
    """A price that rests."""
    quote = made.market.quote(product, made.now_us)
    assert quote is not None
    return plain(floor_to(quote.last * D("0.8"), D("0.00001")))


def test_a_failure_inside_a_request_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = exchange()
    before = record(made)
    monkeypatch.setattr(made.state, "add_fill", lambda fill: 1 / 0)
    wanted = request(1, "BTC-USD", "BUY", {"market_market_ioc": {"quote_size": "100"}})
    with pytest.raises(ZeroDivisionError):
        made.create(wanted)
    assert record(made) == before
    monkeypatch.undo()
    assert isinstance(made.create(wanted), Order)


STATES: list[tuple[dict[str, object], set[str], set[str]]] = [
    # flags, refusal of a market order, refusal of a post-only limit
    ({}, set(), set()),
    ({"status": "offline"}, {"UNTRADABLE_PRODUCT"}, {"UNTRADABLE_PRODUCT"}),
    ({"view_only": True}, {"UNTRADABLE_PRODUCT"}, {"UNTRADABLE_PRODUCT"}),
    ({"is_disabled": True}, {"ORDER_ENTRY_DISABLED"}, {"ORDER_ENTRY_DISABLED"}),
    ({"trading_disabled": True}, {"ORDER_ENTRY_DISABLED"}, {"ORDER_ENTRY_DISABLED"}),
    ({"cancel_only": True}, {"ORDER_ENTRY_DISABLED"}, {"ORDER_ENTRY_DISABLED"}),
    ({"limit_only": True}, {"ORDER_ENTRY_DISABLED"}, set()),
    ({"post_only": True}, {"ORDER_ENTRY_DISABLED"}, set()),
    ({"auction_mode": True}, {"ORDER_ENTRY_DISABLED"}, set()),
]


@pytest.mark.parametrize(("flags", "market", "posting"), STATES)
def test_product_states(flags: dict[str, object], market: set[str], posting: set[str]) -> None:
    product = listed("BTC-USD")
    assert product is not None
    product = replace(product, **flags)  # type: ignore[arg-type]
    at_market = request(1, "BTC-USD", "BUY", {"market_market_ioc": {"quote_size": "10"}})
    resting = {"limit_limit_gtc": {"base_size": "1", "limit_price": "1", "post_only": True}}
    assert {reason.error for reason in check_state(at_market, product)} == market
    assert {reason.error for reason in check_state(request(2, "BTC-USD", "BUY", resting), product)} == posting


def test_derived_rules_follow_the_prices() -> None:
    rules = derived("ODD-USDT", [D("1.25"), D("3.0001"), D("2")])
    assert (rules.price_increment, rules.base, rules.quote) == (D("0.0001"), "ODD", "USDT")
    assert derived("WHOLE-USD", [D("100.0")]).price_increment == D("0.01")


class Jump:
    """One bar that falls through a price between two of the exchange's steps."""

    label, step, first, last = "TEST", 300, START, START
    _bar = Candle(START, D(100), D(101), D(90), D(95), D(10))

    def products(self) -> tuple[Product, ...]:
        product = listed("LTC-USD")
        assert product is not None
        return (product,)

    def bar(self, product_id: str, start: int) -> Candle | None:
        return self._bar if start == START else None

    def last_before(self, product_id: str, start: int) -> Candle | None:
        return self._bar if start > START else None

    def bars(self, product_id: str, start: int, end: int) -> list[Candle]:
        return [self._bar] if start <= START < end else []

    def aggregate(self, product_id: str, granularity: int, start: int, end: int) -> list[Candle]:
        return self.bars(product_id, start, end)


def test_a_resting_order_fills_when_the_path_reaches_it() -> None:
    """Falling bar: 100, 101 at 100 s, 90 at 200 s, 95 at 300 s. With no spread 95.5 is met at 150 s."""
    made = Exchange(BarMarket(Jump(), D(0)), ExchangeState(Path(":memory:")), FEES, lambda: 0.0)
    made.open("jump", START * SECOND_US, D(10000))
    quote = made.market.quote("LTC-USD", made.now_us)
    assert quote == Quote(D(100), D(100), D(100), made.now_us)
    terms = {"base_size": "2", "limit_price": "95.5"}
    order = made.create(request(1, "LTC-USD", "BUY", {"limit_limit_gtc": terms}))
    assert isinstance(order, Order) and order.hold == D("191") * D("1.009")
    late = made.create(request(2, "LTC-USD", "BUY", {"limit_limit_gtd": {**terms, "end_time": _iso(START + 149)}}))
    assert isinstance(late, Order)
    made.advance((START + 149) * SECOND_US)
    assert [o.order_id for o in made.state.open_orders()] == [order.order_id]
    made.advance((START + 300) * SECOND_US)
    [fill] = made.state.fills([], 10)
    assert (fill.order_id, fill.at_us, fill.price) == (order.order_id, (START + 150) * SECOND_US, D("95.5"))
    assert made.state.balance("LTC").available == 2
    assert isinstance(made.check(request(3, "LTC-USD", "SELL", {"market_market_ioc": {"base_size": "1"}})), Acceptable)
    assert isinstance(made.create(request(4, "LTC-USD", "SELL", {"market_market_ioc": {"base_size": "3"}})), Rejection)
