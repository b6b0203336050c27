"""What happened to the account, as fills and adjustments: in order of time, and played again as the ledger booked it.

The two are told by different clocks. A fill has the exchange's time, an adjustment the machine's, and in a simulated market
these are years apart. In which order they were booked is what the ledger's entries say, and never a time: transactions begin
in one order and get the account in another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, localcontext
from itertools import count

from tradekit.decimals import CONTEXT, to_stored_scale
from tradekit.lots import Acquired, Disposed, Movement
from tradekit.sizes import NO_BASE, NO_QUOTE, share_of
from tradekit.states import Side, Venue
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

ADOPTION = "ADOPTION"
# Venues whose time is the machine's; elsewhere the exchange keeps one of its own.
ONE_CLOCK = (Venue.LIVE, Venue.SANDBOX, Venue.PAPER)


@dataclass(frozen=True, slots=True)
class AccountFill:
    """One execution of an order of the mesh. `value` is without the fee, both are quote currency. `time` is the exchange's,
    `ordered_at` the machine's of the order's intent. `booking_sequence` is its place in the ledger, as an adjustment's is.
    `why`: what the order was for, or what made it sell."""

    fill_id: str
    trade_id: str
    order_id: str
    product_id: ProductId
    side: Side
    price: Price
    size: BaseSize
    value: QuoteSize
    fee: QuoteSize
    liquidity: str
    time: datetime
    ordered_at: datetime
    booking_sequence: int
    why: str = ""

    @property
    def cash(self) -> QuoteSize:
        """Change of the quote currency: below zero for a BUY."""
        with localcontext(CONTEXT):
            return -self.value - self.fee if self.side is Side.BUY else self.value - self.fee


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What an operator booked. `amount` is in `currency`, `cost` and `equity_change` in the account's. `product_id` is None for
    cash. `time` is the machine's until `in_time_order` has found the exchange's."""

    adjustment_id: str
    kind: str
    currency: str
    product_id: ProductId | None
    amount: Decimal
    cost: QuoteSize
    equity_change: QuoteSize
    note: str
    caller: str
    time: datetime
    booked_at: datetime
    booking_sequence: int

    @property
    def moves_position(self) -> bool:
        """Whether a position changed: coins that come in without a cost, or go out of what was never adopted, move none."""
        return self.product_id is not None and (self.kind == ADOPTION or bool(self.cost) or bool(self.equity_change))


Event = AccountFill | Adjustment


def values_of(filled_value: QuoteSize, fills: Sequence[tuple[Price, BaseSize]]) -> list[QuoteSize]:
    """The value of each fill of an order whose fills are worth `filled_value` in all. The last one takes what is left: a fill
    that the exchange tells in quote currency has a rounded size, so that price times size is not quite its value."""
    values = []
    with localcontext(CONTEXT):
        for price, size in fills[:-1]:
            values.append(to_stored_scale(price * size))
        if fills:
            values.append(filled_value - sum(values, NO_QUOTE))
    return values


def in_time_order(
    fills: Iterable[AccountFill], adjustments: Iterable[Adjustment], opened_at: datetime, *, one_clock: bool
) -> list[Event]:
    """Everything in order of the exchange's time, which each adjustment gets here. `one_clock`: the exchange's time is the
    machine's. An adjustment comes after every fill that was booked before it, and before those that were ordered after it."""
    known = list(fills)
    placed = [replace(one, time=_time_of(one, known, opened_at, one_clock)) for one in adjustments]
    return sorted([*known, *placed], key=lambda event: (event.time, event.booking_sequence))


def _time_of(one: Adjustment, fills: Sequence[AccountFill], opened_at: datetime, one_clock: bool) -> datetime:
    earliest = max((fill.time for fill in fills if fill.booking_sequence < one.booking_sequence), default=opened_at)
    if not one_clock:
        return earliest
    latest = min((fill.time for fill in fills if fill.ordered_at >= one.booked_at), default=one.booked_at)
    return max(earliest, min(one.booked_at, latest))


def in_booking_order(events: Iterable[Event]) -> list[Event]:
    """The same in the order in which the ledger booked it."""
    return sorted(events, key=lambda event: event.booking_sequence)


def movements_in_time(events: Iterable[Event]) -> list[Movement]:
    """What lots are made of, in order of time as the events are; what an adjustment took from a position is the ledger's word,
    so it is played in the order of booking."""
    in_time = list(events)
    turns = {
        event.fill_id if isinstance(event, AccountFill) else event.adjustment_id: n for n, event in enumerate(in_time)
    }
    return sorted(replay(in_booking_order(in_time)).movements, key=lambda movement: turns[movement.event_id])


@dataclass(frozen=True, slots=True)
class Held:
    """A position as the ledger keeps it: its size, what that cost, and the profit of what was sold, quote currency."""

    size: BaseSize = NO_BASE
    cost: QuoteSize = NO_QUOTE
    realized: QuoteSize = NO_QUOTE


@dataclass
class Replay:
    """`positions` after all events; what each sale realised, by fill id; the movements of lots, in the order of the events."""

    positions: dict[ProductId, Held] = field(default_factory=dict)
    realized: dict[str, QuoteSize] = field(default_factory=dict)
    movements: list[Movement] = field(default_factory=list)


def replay(events: Iterable[Event]) -> Replay:
    """Plays events as the ledger does: at average cost, with the same roundings. What is sold beyond the position costs
    nothing here, as there; `make_lots` refuses it."""
    found = Replay()
    with localcontext(CONTEXT):
        for event in events:
            if isinstance(event, AccountFill):
                _fill(found, event)
            elif event.moves_position and event.product_id is not None:
                _adjustment(found, event, event.product_id)
    return found


def _fill(found: Replay, fill: AccountFill) -> None:
    held = found.positions.get(fill.product_id, Held())
    if fill.side is Side.BUY:
        cost = fill.value + fill.fee
        found.positions[fill.product_id] = Held(held.size + fill.size, held.cost + cost, held.realized)
        bought = Acquired(fill.fill_id, fill.product_id, fill.time, fill.size, cost, fill.side.value)
        found.movements.append(bought)
        return
    share = share_of(held.cost, fill.size, held.size)
    proceeds = fill.value - fill.fee
    gain = proceeds - share
    left = max(held.size - fill.size, NO_BASE)
    found.positions[fill.product_id] = Held(left, held.cost - share, held.realized + gain)
    found.realized[fill.fill_id] = gain
    sold = Disposed(fill.fill_id, fill.product_id, fill.time, fill.size, proceeds, fill.side.value)
    found.movements.append(sold)


def _adjustment(found: Replay, one: Adjustment, product_id: ProductId) -> None:
    held = found.positions.get(product_id, Held())
    if one.amount > 0:
        size = BaseSize(one.amount)
        found.positions[product_id] = Held(held.size + size, held.cost + one.cost, held.realized)
        found.movements.append(Acquired(one.adjustment_id, product_id, one.time, size, one.cost, one.kind))
        return
    size = left_position(held, BaseSize(-one.amount), -one.cost)
    found.positions[product_id] = Held(held.size - size, held.cost + one.cost, held.realized)
    if size:
        found.movements.append(Disposed(one.adjustment_id, product_id, one.time, size, None, one.kind))


def left_position(held: Held, amount: BaseSize, share: QuoteSize) -> BaseSize:
    """How much of `amount` that went out was the position's, which then lost `share` of its cost; the rest was never adopted
    and goes first. The ledger does not tell it, so it is the shortest size that has this share to the last digit."""
    if share_of(held.cost, amount, held.size) == share or not held.cost:
        return min(amount, held.size)
    with localcontext(CONTEXT):
        likely = BaseSize(share / held.cost * held.size)
        for places in count():
            size = likely.quantize(Decimal(1).scaleb(-places))
            if places == 18 or share_of(held.cost, size, held.size) == share:
                return min(size, amount, held.size)
    raise AssertionError("unreachable")
