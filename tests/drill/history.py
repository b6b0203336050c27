"""The checker: what must hold of the exchange's history, the database's rows and the proxy's log, once all is quiet.

Pure functions over three histories that were written by three parties. Each check gives its violations, each with the
smallest slice of the histories that shows it. Nothing here knows how the mesh works, only what it promises.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

# A send that was counted a moment before the switch turned may still be on its way to the wire.
SWITCH_GRACE_SECONDS = 1.0
EXIT_ALERT_SECONDS = 30.0
# The monitor looks every few seconds, and a busy machine is slow.
EXIT_ALERT_SLACK_SECONDS = 15.0
ZERO = Decimal(0)
# States of an order that the exchange may have and that has not ended.
_ALIVE = ("PENDING", "UNKNOWN", "OPEN")


# ---- the exchange ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExchangeOrder:
    """An order by the exchange's word."""

    order_id: str
    client_order_id: str
    product: str
    side: str
    status: str
    filled_size: Decimal


@dataclass(frozen=True, slots=True)
class ExchangeFill:
    """A fill by the exchange's word; `size` in base units, `value` and `fee` in quote."""

    fill_id: str
    order_id: str
    product: str
    side: str
    size: Decimal
    value: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class ExchangeSide:
    """Orders and fills oldest first, totals by currency, and the client ids that were not the mesh's."""

    orders: tuple[ExchangeOrder, ...]
    fills: tuple[ExchangeFill, ...]
    totals: Mapping[str, Decimal]
    foreign: frozenset[str]

    def of_mesh(self) -> tuple[ExchangeOrder, ...]:
        """Orders that the mesh made."""
        return tuple(order for order in self.orders if order.client_order_id not in self.foreign)


# ---- the database ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order row. `recommendation_id` is None for an operator's close and for a protective order, of which `left` is what it
    may still sell; `rests` says that it waits for its price, at the exchange or in the executor."""

    order_id: str
    recommendation_id: str | None
    product: str
    side: str
    state: str
    exchange_order_id: str | None
    filled_size: Decimal
    reasons: tuple[str, ...] = ()
    left: Decimal = ZERO
    rests: bool = False


@dataclass(frozen=True, slots=True)
class RecommendationRow:
    """A recommendation row; times in epoch seconds by the database, `ended` None while it is open."""

    recommendation_id: str
    product: str
    side: str
    state: str
    created: float
    ended: float | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert; times in epoch seconds."""

    code: str
    scope: str
    message: str
    raised: float
    resolved: float | None


@dataclass(frozen=True, slots=True)
class DatabaseSide:
    """Rows of the ledger. `ledger` is what the exchange holds for us by the ledger; `now` the database's clock; `smallest` by
    product what the exchange surely takes an order of, in base units."""

    orders: tuple[OrderRow, ...]
    recommendations: tuple[RecommendationRow, ...]
    alerts: tuple[AlertRow, ...]
    ledger: Mapping[str, Decimal]
    positions: Mapping[str, Decimal]
    now: float
    smallest: Mapping[str, Decimal] = field(default_factory=dict)


# ---- the proxy and the operator --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """An order request of the mesh as it reached the proxy: monotonic seconds, the exact body, the fault it met."""

    arrived: float
    client_order_id: str
    side: str
    body: str
    fault: str


@dataclass(frozen=True, slots=True)
class SwitchPeriod:
    """Trading was HALTED or REDUCING from `in_force` until the call to resume began; monotonic seconds."""

    state: str
    in_force: float
    resumed: float


@dataclass(frozen=True, slots=True)
class BookedAct:
    """A foreign fill that was booked by hand, and how much of it was the mesh's own coin."""

    fill_id: str
    of_position: Decimal


@dataclass(frozen=True, slots=True)
class History:
    """Everything that is known of a world up to a moment of quiet."""

    exchange: ExchangeSide
    database: DatabaseSide
    sends: tuple[Send, ...] = ()
    switches: tuple[SwitchPeriod, ...] = ()
    booked: tuple[BookedAct, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """The finding of a check. `subject` names the thing, so that the same finding is reported once."""

    check: str
    subject: str
    what: str
    slice: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.check, self.subject

    @property
    def may_heal(self) -> bool:
        """Whether reconciliation may still mend it within the time that it has; an act that was done cannot be undone."""
        return self.check not in (
            "one order per intent",
            "sent while stopped",
            "sold at most held",
            "waiting exits alert",
        )


# ---- the checks ------------------------------------------------------------------------------------------------------


def one_order_per_intent(history: History) -> Iterator[Violation]:
    """At most one exchange order for an intent, and for a recommendation; every send of an order is the same bytes.

    No order without a send: what did not pass the proxy met no fault, and was not looked at while trading was stopped.
    """
    made = defaultdict(list)
    for order in history.exchange.of_mesh():
        made[order.client_order_id].append(order)
    for client_order_id, orders in made.items():
        if len(orders) > 1:
            what = f"{len(orders)} exchange orders have one client_order_id"
            yield Violation("one order per intent", client_order_id, what, _lines(orders))
    of_recommendation = defaultdict(list)
    for row in history.database.orders:
        if row.recommendation_id is not None:
            of_recommendation[row.recommendation_id] += made.get(row.order_id, [])
    for recommendation_id, orders in of_recommendation.items():
        if len(orders) > 1:
            what = f"{len(orders)} exchange orders for one recommendation"
            yield Violation("one order per intent", recommendation_id, what, _lines(orders))
    bodies = defaultdict(set)
    for send in history.sends:
        bodies[send.client_order_id].add(send.body)
    for client_order_id, orders in made.items():
        if client_order_id not in bodies:
            what = "the exchange has its order, and the proxy saw no send of it"
            yield Violation("one order per intent", client_order_id, what, _lines(orders))
    for client_order_id, found in bodies.items():
        if len(found) > 1:
            yield Violation("one order per intent", client_order_id, "its sends differ", tuple(sorted(found)))


def nothing_sent_while_stopped(history: History) -> Iterator[Violation]:
    """After HALTED is in force no order request reaches the wire until resume; after REDUCING no BUY."""
    for period in history.switches:
        for send in history.sends:
            late = send.arrived - period.in_force
            stopped = period.state == "HALTED" or send.side == "BUY"
            if stopped and late > SWITCH_GRACE_SECONDS and send.arrived < period.resumed:
                what = f"a {send.side} was sent {late:.2f} s after {period.state} was in force"
                yield Violation("sent while stopped", send.client_order_id, what, _lines([period, send]))


def in_the_ledger(history: History) -> Iterator[Violation]:
    """Every exchange order of the mesh has its row, with its id, its fills and an end; no row is left open."""
    rows = {row.order_id: row for row in history.database.orders}
    for order in history.exchange.of_mesh():
        row = rows.get(order.client_order_id)
        if row is None:
            yield Violation("in the ledger", order.client_order_id, "the exchange's order has no row", _lines([order]))
        elif row.exchange_order_id != order.order_id or row.filled_size != order.filled_size:
            what = f"the row is {row.state}, filled {row.filled_size}; the order {order.status}, {order.filled_size}"
            yield Violation("in the ledger", row.order_id, what, _about(history, row.order_id))
        elif (order.status == "FILLED") != (row.state == "FILLED") or (
            order.status == "OPEN" and row.state not in _ALIVE
        ):
            what = f"the row is {row.state}, the order {order.status}"
            yield Violation("in the ledger", row.order_id, what, _about(history, row.order_id))
    made = {order.client_order_id for order in history.exchange.of_mesh()}
    for row in history.database.orders:
        if row.state in _ALIVE and not row.rests:
            yield Violation("left open", row.order_id, f"the row is {row.state}", _about(history, row.order_id))
        elif row.filled_size > 0 and row.order_id not in made:
            what = f"the row is {row.state} with {row.filled_size}; the exchange has no such order"
            yield Violation("in the ledger", row.order_id, what, _lines([row]))


def sold_at_most_held(history: History) -> Iterator[Violation]:
    """At no moment had the mesh sold more of a product than it had bought and still had."""
    mine = {order.order_id for order in history.exchange.of_mesh()}
    booked = {act.fill_id: act for act in history.booked}
    held: dict[str, Decimal] = defaultdict(Decimal)
    story: dict[str, list[ExchangeFill]] = defaultdict(list)
    for fill in history.exchange.fills:
        if fill.order_id in mine:
            held[fill.product] += fill.size if fill.side == "BUY" else -fill.size
        elif fill.fill_id in booked:
            held[fill.product] -= booked[fill.fill_id].of_position
        else:
            continue
        story[fill.product].append(fill)
        if held[fill.product] < 0:
            what = f"sold {-held[fill.product]} {fill.product} more than was held"
            yield Violation("sold at most held", fill.fill_id, what, _lines(story[fill.product][-5:]))


def protected_and_no_more(history: History) -> Iterator[Violation]:
    """What protects a position sells together exactly what is held of it; a rest is below the smallest order."""
    resting: dict[str, list[OrderRow]] = defaultdict(list)
    for row in history.database.orders:
        if row.rests:
            resting[row.product].append(row)
    for product in sorted({*resting, *history.database.positions}):
        held = history.database.positions.get(product, ZERO)
        covered = sum((row.left for row in resting[product]), ZERO)
        if covered > held:
            what = f"{held} is held, and protective orders may sell {covered}"
            yield Violation("sells more than held", product, what, _lines(resting[product]))
        smallest = history.database.smallest.get(product)
        if smallest is not None and held - covered >= smallest:
            what = f"{held} is held, and only {covered} of it is protected"
            yield Violation("unprotected", product, what, _lines(resting[product]))


def positions_follow_fills(history: History) -> Iterator[Violation]:
    """Each position is what the mesh bought less what it sold, and less what was taken of it by hand and booked."""
    mine = {order.order_id for order in history.exchange.of_mesh()}
    booked = {act.fill_id: act.of_position for act in history.booked}
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for fill in history.exchange.fills:
        if fill.order_id in mine:
            expected[fill.product] += fill.size if fill.side == "BUY" else -fill.size
        expected[fill.product] -= booked.get(fill.fill_id, ZERO)
    for product in sorted({*expected, *history.database.positions}):
        ours, theirs = history.database.positions.get(product, ZERO), expected[product]
        if ours != theirs:
            what = f"the position is {ours}, by the exchange's fills it is {theirs}"
            yield Violation("positions follow fills", product, what, (what,))


def ledger_equals_exchange(history: History) -> Iterator[Violation]:
    """Each currency, to the last digit, once foreign acts that are not booked are set aside."""
    expected: dict[str, Decimal] = defaultdict(Decimal, history.database.ledger)
    booked = {act.fill_id for act in history.booked}
    mine = {order.order_id for order in history.exchange.of_mesh()}
    for fill in history.exchange.fills:
        if fill.order_id not in mine and fill.fill_id not in booked:
            for currency, amount in moved(fill).items():
                expected[currency] += amount
    for currency in sorted({*expected, *history.exchange.totals}):
        ours, theirs = expected.get(currency, ZERO), history.exchange.totals.get(currency, ZERO)
        if ours != theirs:
            what = f"ledger {ours}, exchange {theirs}, difference {ours - theirs}"
            yield Violation("ledger equals exchange", currency, what, (what,))


def waiting_exits_alert(history: History) -> Iterator[Violation]:
    """An exit that is open for longer than 30 s has an alert by then."""
    for row in history.database.recommendations:
        end = history.database.now if row.ended is None else row.ended
        limit = row.created + EXIT_ALERT_SECONDS + EXIT_ALERT_SLACK_SECONDS
        if row.side != "SELL" or end < limit:
            continue
        if not any(speaks_of(alert, row, limit) for alert in history.database.alerts):
            what = f"an exit was open for {end - row.created:.0f} s without an alert"
            yield Violation("waiting exits alert", row.recommendation_id, what, _lines([row]))


def speaks_of(alert: AlertRow, row: RecommendationRow, limit: float) -> bool:
    """Whether the alert tells, in time, of this exit: by its id, or as one of exits of its product or account."""
    in_time = alert.raised <= limit and (alert.resolved is None or alert.resolved > row.created)
    named = row.recommendation_id in alert.scope or row.recommendation_id in alert.message
    of_exits = "EXIT" in alert.code and alert.scope in ("account", row.product, f"product:{row.product}")
    return in_time and (named or of_exits)


def recommendations_fit_orders(history: History) -> Iterator[Violation]:
    """Every recommendation has ended, EXECUTED exactly where its order filled."""
    rows = {row.recommendation_id: row for row in history.database.orders if row.recommendation_id is not None}
    filled = {order.client_order_id: order.filled_size for order in history.exchange.of_mesh()}
    for recommendation in history.database.recommendations:
        order = rows.get(recommendation.recommendation_id)
        size = filled.get(order.order_id, ZERO) if order is not None else ZERO
        subject, state = recommendation.recommendation_id, recommendation.state
        if recommendation.ended is None:
            shown = _lines([recommendation]) if order is None else _about(history, order.order_id)
            yield Violation("left open", subject, f"the {recommendation.side} is {state}", shown)
        elif (state == "EXECUTED") != (size > 0):
            what = f"the {recommendation.side} ended {state}, its order filled {size}"
            shown = _lines([recommendation]) if order is None else _about(history, order.order_id)
            yield Violation("recommendations fit orders", subject, what, shown)


CHECKS = (
    one_order_per_intent,
    nothing_sent_while_stopped,
    in_the_ledger,
    sold_at_most_held,
    protected_and_no_more,
    positions_follow_fills,
    ledger_equals_exchange,
    waiting_exits_alert,
    recommendations_fit_orders,
)


def violations(history: History) -> list[Violation]:
    """What every check finds, each thing once."""
    found: dict[tuple[str, str], Violation] = {}
    for check in CHECKS:
        for violation in check(history):
            found.setdefault(violation.key, violation)
    return list(found.values())


def moved(fill: ExchangeFill) -> dict[str, Decimal]:
    """What a fill does to the account's totals."""
    base, _, quote = fill.product.partition("-")
    sign = 1 if fill.side == "BUY" else -1
    return {base: sign * fill.size, quote: -sign * fill.value - fill.fee}


# ---- slices ----------------------------------------------------------------------------------------------------------


def _lines(things: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(thing) for thing in things)


def _about(history: History, order_id: str) -> tuple[str, ...]:
    """Every line of the three histories that speaks of one order."""
    rows = [row for row in history.database.orders if row.order_id == order_id]
    wanted = {row.recommendation_id for row in rows}
    found: list[Sequence[object]] = [
        [row for row in history.database.recommendations if row.recommendation_id in wanted],
        rows,
        [send for send in history.sends if send.client_order_id == order_id],
        [order for order in history.exchange.of_mesh() if order.client_order_id == order_id],
    ]
    return _lines(thing for part in found for thing in part)
