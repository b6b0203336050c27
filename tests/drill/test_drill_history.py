"""The checker on histories made up for it: it is silent about sound ones, and finds each violation that is planted."""

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.drill import history as h
from tests.drill.history import (
    AlertRow,
    BookedAct,
    DatabaseSide,
    ExchangeFill,
    ExchangeOrder,
    ExchangeSide,
    History,
    OrderRow,
    RecommendationRow,
    Send,
    SwitchPeriod,
    violations,
)

D = Decimal
OPENING, FEE = D(1_000_000), D("0.009")
PRODUCTS = ("BTC-USD", "ETH-USD")
MISSED = {"BUY": ("REJECTED", "EXPIRED", "FAILED"), "SELL": ("REJECTED", "FAILED")}


class Maker:
    """Writes the three histories of a small account whose every act is right."""

    def __init__(self) -> None:
        self.orders: list[ExchangeOrder] = []
        self.fills: list[ExchangeFill] = []
        self.rows: list[OrderRow] = []
        self.recommendations: list[RecommendationRow] = []
        self.sends: list[Send] = []
        self.booked: list[BookedAct] = []
        self.foreign: set[str] = set()
        self.totals: dict[str, Decimal] = {"USD": OPENING}
        self.ledger: dict[str, Decimal] = {"USD": OPENING}
        self.held: dict[str, Decimal] = dict.fromkeys(PRODUCTS, D(0))
        self.strangers: dict[str, Decimal] = dict.fromkeys(PRODUCTS, D(0))
        self.clock = 100.0

    def _fill(self, number: int, product: str, side: str, size: Decimal, client_id: str) -> ExchangeFill:
        order_id = f"x{number}"
        self.orders.append(ExchangeOrder(order_id, client_id, product, side, "FILLED", size))
        fill = ExchangeFill(f"f{number}", order_id, product, side, size, size * 10, size * 10 * FEE)
        self.fills.append(fill)
        _add(self.totals, fill)
        return fill

    def trade(self, number: int, product: str, side: str, size: Decimal, sends: int) -> None:
        """A recommendation of the mesh and its order; nothing where there is nothing to sell."""
        size = min(size, self.held[product]) if side == "SELL" else size
        if size <= 0:
            return
        self.clock += 1
        name, recommendation = str(UUID(int=number)), f"r{number}"
        _add(self.ledger, self._fill(number, product, side, size, name))
        self.held[product] += size if side == "BUY" else -size
        self.rows.append(OrderRow(name, recommendation, product, side, "FILLED", f"x{number}", size))
        self._recommended(recommendation, product, side, "EXECUTED")
        self.sends += [Send(self.clock + index / 10, name, side, f"body {name}", "pass") for index in range(sends)]

    def missed(self, number: int, product: str, side: str, state: str, with_row: bool) -> None:
        """A recommendation that ended without a fill, its order refused or never made."""
        self.clock += 1
        if with_row:
            name = str(UUID(int=number))
            self.rows.append(OrderRow(name, f"r{number}", product, side, "REJECTED", None, D(0)))
        self._recommended(f"r{number}", product, side, state)

    def _recommended(self, name: str, product: str, side: str, state: str) -> None:
        self.recommendations.append(RecommendationRow(name, product, side, state, self.clock, self.clock + 0.5))

    def by_hand(self, number: int, product: str, side: str, size: Decimal, booked: bool) -> None:
        """A stranger's trade, booked or not; strangers sell their own coins first."""
        wallet = self.held[product] + self.strangers[product]
        size = min(size, wallet) if side == "SELL" else size
        if size <= 0:
            return
        name = f"hand-{number}"
        self.foreign.add(name)
        fill = self._fill(number, product, side, size, name)
        of_position = D(0)
        if side == "BUY":
            self.strangers[product] += size
        else:
            of_strangers = min(size, self.strangers[product])
            self.strangers[product] -= of_strangers
            of_position = size - of_strangers
            self.held[product] -= of_position
        # What takes of a position changes what may be sold, so it is booked before anything is.
        if booked or of_position:
            _add(self.ledger, fill)
            self.booked.append(BookedAct(fill.fill_id, of_position))

    def done(self) -> History:
        return History(
            ExchangeSide(tuple(self.orders), tuple(self.fills), self.totals, frozenset(self.foreign)),
            DatabaseSide(tuple(self.rows), tuple(self.recommendations), (), self.ledger, self.held, self.clock + 1),
            tuple(self.sends),
            (),
            tuple(self.booked),
        )


def _add(account: dict[str, Decimal], fill: ExchangeFill) -> None:
    for currency, amount in h.moved(fill).items():
        account[currency] = account.get(currency, D(0)) + amount


SIZES = st.decimals("0.0001", "5", places=4)
TRADES = st.tuples(
    st.just("trade"), st.sampled_from(PRODUCTS), st.sampled_from(("BUY", "BUY", "SELL")), SIZES, st.integers(1, 3)
)
MISSES = st.sampled_from(("BUY", "SELL")).flatmap(
    lambda side: st.tuples(
        st.just("missed"), st.sampled_from(PRODUCTS), st.just(side), st.sampled_from(MISSED[side]), st.booleans()
    )
)
HANDS = st.tuples(st.just("by_hand"), st.sampled_from(PRODUCTS), st.sampled_from(("BUY", "SELL")), SIZES, st.booleans())


@st.composite
def sound(draw: Any) -> History:
    """A history that keeps every promise."""
    maker = Maker()
    for number, (kind, *terms) in enumerate(draw(st.lists(st.one_of(TRADES, TRADES, MISSES, HANDS), max_size=25)), 1):
        getattr(maker, kind)(number, *terms)
    return maker.done()


@given(sound())
def test_a_sound_history_is_silent(history: History):
    assert violations(history) == []


def checks(history: History) -> set[str]:
    return {one.check for one in violations(history)}


def changed(history: History, name: str, index: int, **values: Any) -> History:
    """The history with one row of the database's side changed."""
    rows = list(getattr(history.database, name))
    rows[index] = replace(rows[index], **values)
    return replace(history, database=replace(history.database, **{name: tuple(rows)}))


@st.composite
def sound_with_orders(draw: Any) -> tuple[History, int]:
    """A sound history and the index of one of its filled order rows."""
    history = draw(sound())
    filled = [index for index, row in enumerate(history.database.orders) if row.filled_size > 0]
    assume(filled)
    return history, draw(st.sampled_from(filled))


@given(sound_with_orders())
def test_a_second_order_is_found(case: tuple[History, int]):
    history, index = case
    row = history.database.orders[index]
    again = ExchangeOrder("second", row.order_id, row.product, row.side, "FILLED", row.filled_size)
    side = replace(history.exchange, orders=(*history.exchange.orders, again))
    assert "one order per intent" in checks(replace(history, exchange=side))
    other = replace(row, order_id="other", exchange_order_id="second")
    two = replace(history.database, orders=(*history.database.orders, other))
    side = replace(side, orders=(*history.exchange.orders, replace(again, client_order_id="other")))
    assert "one order per intent" in checks(replace(history, exchange=side, database=two))


@given(sound_with_orders())
def test_sends_that_differ_are_found(case: tuple[History, int]):
    history, index = case
    row = history.database.orders[index]
    sends = (*history.sends, Send(1.0, row.order_id, row.side, "another body", "pass"))
    assert checks(replace(history, sends=sends)) == {"one order per intent"}


@given(sound_with_orders())
def test_an_order_that_did_not_pass_the_proxy_is_found(case: tuple[History, int]):
    history, index = case
    name = history.database.orders[index].order_id
    sends = tuple(send for send in history.sends if send.client_order_id != name)
    found = [(one.check, one.subject) for one in violations(replace(history, sends=sends))]
    assert found == [("one order per intent", name)]


@given(sound_with_orders(), st.sampled_from(("HALTED", "REDUCING")), st.floats(-3, 6))
def test_a_send_while_stopped_is_found(case: tuple[History, int], state: str, late: float):
    history, index = case
    row = history.database.orders[index]
    send = next(one for one in history.sends if one.client_order_id == row.order_id)
    period = SwitchPeriod(state, send.arrived - late, send.arrived - late + 5)
    history = replace(history, sends=(send,), switches=(period,))
    forbidden = h.SWITCH_GRACE_SECONDS < late < 5 and (state == "HALTED" or send.side == "BUY")
    assume(not 0 <= abs(late - h.SWITCH_GRACE_SECONDS) < 1e-6 and abs(late - 5) > 1e-6)
    assert ("sent while stopped" in checks(history)) == forbidden


@given(sound_with_orders(), st.sampled_from(("REJECTED", "CANCELLED", "PENDING", "UNKNOWN", "OPEN")))
def test_a_filled_order_under_another_state_is_found(case: tuple[History, int], state: str):
    history, index = case
    assert checks(changed(history, "orders", index, state=state)) & {"in the ledger", "left open"}
    lost = changed(history, "orders", index, state=state, filled_size=D(0), exchange_order_id=None)
    assert checks(lost) >= {"in the ledger"}


@given(sound_with_orders(), st.sampled_from(("REJECTED", "CANCELLED")))
def test_an_order_that_rests_at_the_exchange_and_has_ended_in_the_ledger_is_found(
    case: tuple[History, int], state: str
):
    history, index = case
    name = history.database.orders[index].order_id
    resting = tuple(
        replace(one, status="OPEN") if one.client_order_id == name else one for one in history.exchange.orders
    )
    history = changed(history, "orders", index, state=state)
    assert checks(replace(history, exchange=replace(history.exchange, orders=resting))) == {"in the ledger"}


@given(sound_with_orders())
def test_an_order_without_a_row_is_found(case: tuple[History, int]):
    history, index = case
    rows = history.database.orders
    kept = replace(history.database, orders=rows[:index] + rows[index + 1 :])
    assert checks(replace(history, database=kept)) >= {"in the ledger", "recommendations fit orders"}


@given(sound_with_orders())
def test_a_row_with_fills_that_the_exchange_never_made_is_found(case: tuple[History, int]):
    history, index = case
    name = history.database.orders[index].order_id
    kept = tuple(order for order in history.exchange.orders if order.client_order_id != name)
    assert "in the ledger" in checks(replace(history, exchange=replace(history.exchange, orders=kept)))


@given(sound_with_orders(), SIZES)
def test_selling_more_than_is_held_is_found(case: tuple[History, int], more: Decimal):
    history, index = case
    row = history.database.orders[index]
    held = history.database.positions[row.product]
    order = ExchangeOrder("over", "over", row.product, "SELL", "FILLED", held + more)
    fill = ExchangeFill("over", "over", row.product, "SELL", held + more, D(1), D(0))
    side = replace(history.exchange, orders=(*history.exchange.orders, order), fills=(*history.exchange.fills, fill))
    assert "sold at most held" in checks(replace(history, exchange=side))


@given(sound(), st.sampled_from(("USD", "BTC", "SOL")), st.decimals("0.000001", "10", places=6), st.booleans())
def test_a_ledger_that_is_off_is_found(history: History, currency: str, by: Decimal, more: bool):
    ledger = dict(history.database.ledger)
    ledger[currency] = ledger.get(currency, D(0)) + (by if more else -by)
    wrong = replace(history, database=replace(history.database, ledger=ledger))
    assert [(one.check, one.subject) for one in violations(wrong)] == [("ledger equals exchange", currency)]


@given(sound(), st.sampled_from(PRODUCTS), st.decimals("0.000001", "10", places=6))
def test_a_position_that_is_off_is_found(history: History, product: str, by: Decimal):
    positions = {**history.database.positions, product: history.database.positions[product] + by}
    wrong = replace(history, database=replace(history.database, positions=positions))
    assert [(one.check, one.subject) for one in violations(wrong)] == [("positions follow fills", product)]


@given(sound_with_orders(), st.sampled_from(("REJECTED", "EXPIRED", "FAILED")))
def test_an_end_that_does_not_fit_its_order_is_found(case: tuple[History, int], state: str):
    history, index = case
    name = history.database.orders[index].recommendation_id
    at = next(i for i, row in enumerate(history.database.recommendations) if row.recommendation_id == name)
    assert checks(changed(history, "recommendations", at, state=state)) == {"recommendations fit orders"}


@given(sound(), st.integers(0, 24))
def test_an_execution_without_a_fill_is_found(history: History, index: int):
    missed = [i for i, row in enumerate(history.database.recommendations) if row.state != "EXECUTED"]
    assume(missed)
    at = missed[index % len(missed)]
    assert checks(changed(history, "recommendations", at, state="EXECUTED")) == {"recommendations fit orders"}


@given(sound(), st.sampled_from(("PROPOSED", "IN_REVIEW", "EXECUTING")))
def test_a_recommendation_that_is_left_open_is_found(history: History, state: str):
    assume(history.database.recommendations)
    assert "left open" in checks(changed(history, "recommendations", 0, state=state, ended=None))


EXIT = RecommendationRow("r-exit", "BTC-USD", "SELL", "FAILED", 100.0, 190.0)
LIMIT = EXIT.created + h.EXIT_ALERT_SECONDS + h.EXIT_ALERT_SLACK_SECONDS


def alerted(*alerts: AlertRow, **values: Any) -> set[str]:
    history = Maker().done()
    side = replace(history.database, recommendations=(replace(EXIT, **values),), alerts=alerts, now=300.0)
    return checks(replace(history, database=side))


@pytest.mark.parametrize(
    "alert",
    [
        AlertRow("EXIT_WAITING", "product:BTC-USD", "", 130.0, None),
        AlertRow("EXIT_FAILED", "account", "", 110.0, 180.0),
        AlertRow("RECOMMENDATION_STUCK", "recommendation:r-exit", "", LIMIT, None),
        AlertRow("ORDERS", "account", "the exit r-exit waits", 120.0, None),
    ],
)
def test_an_exit_with_an_alert_is_silent(alert: AlertRow):
    assert alerted(alert) == set()


@pytest.mark.parametrize(
    "alert",
    [
        AlertRow("EXIT_WAITING", "product:ETH-USD", "", 130.0, None),
        AlertRow("EXIT_WAITING", "product:BTC-USD", "", LIMIT + 1, None),
        AlertRow("EXIT_WAITING", "product:BTC-USD", "", 10.0, 50.0),
        AlertRow("LEDGER_MISMATCH", "account", "", 110.0, None),
    ],
)
def test_an_exit_without_an_alert_of_its_own_is_found(alert: AlertRow):
    assert alerted(alert) == {"waiting exits alert"}
    assert alerted() == {"waiting exits alert"}
    assert alerted(ended=LIMIT - 1) == set(), "a short wait needs none"
    assert alerted(side="BUY") == set(), "an entry may wait"


@given(sound_with_orders(), SIZES)
def test_protection_of_less_or_more_than_is_held_is_found(case: tuple[History, int], size: Decimal):
    history, index = case
    product = history.database.orders[index].product
    held = history.database.positions[product]
    rests = OrderRow("rests", None, product, "SELL", "OPEN", "x", D(0), left=held, rests=True)

    def with_left(left: Decimal) -> set[str]:
        rows = (*history.database.orders, replace(rests, left=left)) if left else history.database.orders
        smallest = {product: D("0.0001")}
        return checks(replace(history, database=replace(history.database, orders=rows, smallest=smallest)))

    assert with_left(held) == checks(history) == set()
    assert with_left(held + size) == {"sells more than held"}
    assert with_left(max(held - size, D(0))) == ({"unprotected"} if held else set())
