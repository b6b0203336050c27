"""What the exchange's word about orders makes of them, of the ledger and of positions: one word after the other, each on top of
what those before it in its batch have changed, so that a batch records exactly what one transaction for each of them would.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from svc_executor.ledger import BookedFill, Entry, Position, apply_fill, ledger_of
from svc_executor.order_resolution import WATCH, Conclusion
from svc_executor.store import OrderRow
from tradekit.reasons import Reason
from tradekit.states import ORDER_TERMINAL, OrderPurpose
from tradekit.units import ProductId, QuoteSize

_ADOPTED = Reason("ORDER_ADOPTED", scope="exchange")


@dataclass(frozen=True, slots=True)
class Word:
    """What the exchange has of one order: its id there, its fills so far, and what follows from both."""

    order_id: UUID
    exchange_order_id: str
    fills: tuple[BookedFill, ...]
    conclusion: Conclusion


@dataclass(frozen=True, slots=True)
class NewFill:
    """A fill to book, with the profit it realised."""

    order: OrderRow
    fill: BookedFill
    realized: QuoteSize
    entries: tuple[Entry, ...]

    @property
    def as_of(self) -> datetime:
        """Market time of its decision; what protects a position was decided long before the market came to it."""
        protects = self.order.purpose is OrderPurpose.PROTECTION
        return max(self.order.as_of, self.fill.trade_time) if protects else self.order.as_of


@dataclass
class Recording:
    """Of one batch. `positions` and `booked` (ids of fills) are as they stand under the account lock, and move on from word to
    word; the rest is what must be written. `settled`: of the changed orders those of which it is only known now that nothing
    comes after: nothing happened to them, and what happened to others since is newer."""

    positions: dict[ProductId, Position]
    booked: set[str]
    changed: list[OrderRow] = field(default_factory=list)
    fills: list[NewFill] = field(default_factory=list)
    settled: set[UUID] = field(default_factory=set)
    moved: set[ProductId] = field(default_factory=set)

    def hear(self, order: OrderRow, word: Word) -> None:
        """Books the fills that are new and moves the order, position and ledger with them.

        An order that has ended is only touched while it is watched: what the exchange has of it is adopted.
        """
        if order.terminal and order.watch_until is None:
            return
        new = self._new(order, word.fills)
        for fill in new:
            self._book(order, fill)
        after = _after(order, word, filled=bool(new))
        if new or after != order:
            self.changed.append(after)
        if not new and order.terminal and replace(after, watch_until=order.watch_until) == order:
            self.settled.add(order.order_id)

    def _new(self, order: OrderRow, told: Iterable[BookedFill]) -> list[BookedFill]:
        """Fills not booked yet, in the order they happened. The order is locked, so none comes in between."""
        new = [fill for fill in told if fill.fill_id not in self.booked and fill.product_id == order.product_id]
        return sorted(new, key=lambda fill: (fill.trade_time, fill.fill_id))

    def _book(self, order: OrderRow, fill: BookedFill) -> None:
        before = self.positions.get(order.product_id, Position())
        self.positions[order.product_id], realized = apply_fill(before, fill)
        self.moved.add(order.product_id)
        self.booked.add(fill.fill_id)
        self.fills.append(NewFill(order, fill, realized, ledger_of(fill)))

    @property
    def positions_after(self) -> Mapping[ProductId, Position]:
        """Those that moved."""
        return {product_id: self.positions[product_id] for product_id in sorted(self.moved)}


def _after(order: OrderRow, word: Word, *, filled: bool) -> OrderRow:
    """The order after the exchange's word, but for its totals; the same where it says nothing new."""
    conclusion = word.conclusion
    ended = conclusion.state in ORDER_TERMINAL
    # That it came to nothing at the exchange as well is no adoption: the row said so, with its own reason.
    same_end = order.terminal and conclusion.done and not filled
    after = replace(order, exchange_order_id=word.exchange_order_id, sent_at=None)
    if (order.state is not conclusion.state and not same_end) or filled:
        adopted = order.terminal or order.adopted_at is not None
        reasons = (*conclusion.reasons, *((_ADOPTED,) if adopted else ()))
        adopted_at = order.now if order.terminal else order.adopted_at
        after = replace(after, state=conclusion.state, reasons=reasons, adopted_at=adopted_at)
    if conclusion.done:
        after = replace(after, done_at=order.done_at or order.now, done_size=conclusion.done_size)
    else:
        # Another of its servers may have said so too early; what may trade holds all of its size.
        after = replace(after, done_at=None, done_size=None)
    if ended and conclusion.final:
        after = replace(after, watch_until=None)
    elif ended and order.watch_until is None:
        after = replace(after, watch_until=order.now + WATCH)
    return after
