"""Lots: which coins that came in are those that went out, by FIFO, LIFO, HIFO or average cost, and what each sale gained.

Nothing is lost by rounding: where an amount is split, each part but the last is rounded to the 18 decimals that the ledger
keeps, and the last one takes what is left. AVERAGE takes the same share of the same cost as the ledger does (`share_of`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import localcontext
from enum import StrEnum
from fractions import Fraction
from heapq import heappop, heappush

from tradekit.decimals import CONTEXT, plain
from tradekit.sizes import NO_BASE, NO_QUOTE, share_of
from tradekit.units import BaseSize, ProductId, QuoteSize


class Method(StrEnum):
    """Which lots a sale takes first: the oldest, the newest, the dearest; or the oldest, all at their average cost."""

    FIFO = "fifo"
    LIFO = "lifo"
    HIFO = "hifo"
    AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Acquired:
    """Coins that came in. `cost` is quote currency, buying fees inside; `origin` is BUY or the kind of an adjustment."""

    event_id: str
    product_id: ProductId
    time: datetime
    size: BaseSize
    cost: QuoteSize
    origin: str


@dataclass(frozen=True, slots=True)
class Disposed:
    """Coins that went out. `proceeds` is quote currency, fee taken off; None where they left without a sale."""

    event_id: str
    product_id: ProductId
    time: datetime
    size: BaseSize
    proceeds: QuoteSize | None
    origin: str


Movement = Acquired | Disposed


class LotsRefused(ValueError):
    """Movements that no lots can be made from; says which one, and why."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Coins that came in together, or the part of them that is left or went out. `cost` is that part's, quote currency."""

    product_id: ProductId
    acquired_by: str
    acquired_time: datetime
    origin: str
    size: BaseSize
    cost: QuoteSize


@dataclass(frozen=True, slots=True)
class ClosedLot:
    """A lot, or a part of one, that went out. `proceeds` is its part of the sale's; None where it left without a sale."""

    lot: Lot
    disposed_by: str
    disposed_time: datetime
    origin: str
    proceeds: QuoteSize | None

    @property
    def gain(self) -> QuoteSize | None:
        """Proceeds less cost, quote currency; None without a sale."""
        if self.proceeds is None:
            return None
        with localcontext(CONTEXT):
            return self.proceeds - self.lot.cost

    @property
    def holding_days(self) -> int:
        """Days of the calendar (UTC) from the day it came in to the day it went out."""
        return (self.disposed_time.date() - self.lot.acquired_time.date()).days


@dataclass(frozen=True, slots=True)
class Lots:
    """`sold` in order of sale; `left`: what went out without a sale; `open`: what is still there, by product and age."""

    sold: tuple[ClosedLot, ...]
    left: tuple[ClosedLot, ...]
    open: tuple[Lot, ...]


def make_lots(movements: Iterable[Movement], method: Method) -> Lots:
    """Lots of movements in order of time, each product by itself. Raises LotsRefused, which names the movement, for one that
    has no size, comes before the one ahead of it, or takes out more than is there."""
    held: dict[ProductId, _Held] = {}
    newest: dict[ProductId, datetime] = {}
    sold: list[ClosedLot] = []
    left: list[ClosedLot] = []
    for movement in movements:
        _check(movement, newest)
        pool = held.setdefault(movement.product_id, _Held(method))
        if isinstance(movement, Acquired):
            pool.add(movement)
        else:
            (left if movement.proceeds is None else sold).extend(_closed(movement, pool))
    opened = [lot for _, pool in sorted(held.items()) for lot in pool.open()]
    return Lots(tuple(sold), tuple(left), tuple(opened))


def split(amount: QuoteSize, sizes: Sequence[BaseSize]) -> list[QuoteSize]:
    """An amount over sizes above zero, each by its share; the sum is the amount to the last digit."""
    parts = []
    with localcontext(CONTEXT):
        whole = sum(sizes, NO_BASE)
        for size in sizes:
            part = share_of(amount, size, whole)
            amount, whole = amount - part, whole - size
            parts.append(part)
    return parts


def _check(movement: Movement, newest: dict[ProductId, datetime]) -> None:
    name = f"{movement.origin} {movement.event_id} of {movement.product_id}"
    if movement.size <= 0:
        raise LotsRefused(f"{name} has the size {plain(movement.size)}; it must be above 0")
    if movement.time < newest.get(movement.product_id, movement.time):
        raise LotsRefused(
            f"{name} is of {movement.time}, before the one ahead of it; movements must be in order of time"
        )
    newest[movement.product_id] = movement.time


def _closed(movement: Disposed, pool: "_Held") -> list[ClosedLot]:
    if movement.size > pool.size:
        raise LotsRefused(
            f"{movement.origin} {movement.event_id} of {movement.product_id} takes out {plain(movement.size)}, "
            f"but only {plain(pool.size)} came in before it"
        )
    parts = pool.take(movement.size)
    shares: Sequence[QuoteSize | None] = [None] * len(parts)
    if movement.proceeds is not None:
        shares = split(movement.proceeds, [part.size for part in parts])
    return [
        ClosedLot(part, movement.event_id, movement.time, movement.origin, share)
        for part, share in zip(parts, shares, strict=True)
    ]


@dataclass
class _Held:
    """What is there of one product; the first of `queue` goes out first."""

    method: Method
    size: BaseSize = NO_BASE
    cost: QuoteSize = NO_QUOTE
    queue: list[tuple[Fraction, int, Lot]] = field(default_factory=list)
    _count: int = 0

    def add(self, one: Acquired) -> None:
        """Coins come in."""
        with localcontext(CONTEXT):
            self.size, self.cost = self.size + one.size, self.cost + one.cost
        self._count += 1
        lot = Lot(one.product_id, one.event_id, one.time, one.origin, one.size, one.cost)
        heappush(self.queue, (*self._turn(one), lot))

    def _turn(self, one: Acquired) -> tuple[Fraction, int]:
        """What is smallest goes first. HIFO goes by the cost of a unit when it came in, so that no split of a lot changes it."""
        if self.method is Method.LIFO:
            return Fraction(0), -self._count
        dear = -Fraction(one.cost) / Fraction(one.size) if self.method is Method.HIFO else Fraction(0)
        return dear, self._count

    def take(self, size: BaseSize) -> list[Lot]:
        """Parts of lots that make up `size`, at most all that is there; what is left of the last one stays first in turn."""
        parts: list[Lot] = []
        with localcontext(CONTEXT):
            self.size, wanted = self.size - size, size
            while wanted > 0:
                turn, count, lot = heappop(self.queue)
                part = min(wanted, lot.size)
                share = share_of(lot.cost, part, lot.size)
                parts.append(_part(lot, part, share))
                if part < lot.size:
                    heappush(self.queue, (turn, count, _part(lot, lot.size - part, lot.cost - share)))
                wanted -= part
            if self.method is Method.AVERAGE:
                share = share_of(self.cost, size, self.size + size)
                self.cost -= share
                return _at_cost(parts, share)
            self.cost -= sum((part.cost for part in parts), NO_QUOTE)
        return parts

    def open(self) -> list[Lot]:
        """What is still there, oldest first."""
        lots = sorted((lot for _, _, lot in self.queue), key=lambda lot: lot.acquired_time)
        return _at_cost(lots, self.cost) if self.method is Method.AVERAGE else lots


def _part(lot: Lot, size: BaseSize, cost: QuoteSize) -> Lot:
    return Lot(lot.product_id, lot.acquired_by, lot.acquired_time, lot.origin, size, cost)


def _at_cost(lots: Sequence[Lot], cost: QuoteSize) -> list[Lot]:
    """The lots with one cost spread over them."""
    shares = split(cost, [lot.size for lot in lots])
    return [_part(lot, lot.size, share) for lot, share in zip(lots, shares, strict=True)]
