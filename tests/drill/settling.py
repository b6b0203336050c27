"""Brings a world back to agreement after a run: what strangers hold is released, and what they did is booked.

It is booked as an operator does it, by an adjustment of each currency by what the strangers' own fills moved.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import requests

from tests.drill.hand import HandTrader
from tests.drill.history import BookedAct, ExchangeFill, moved
from tests.drill.plan import QUOTE
from tests.drill.reading import Fetches

_RELEASE_SECONDS = 60.0
_CLEAN = """SELECT clean FROM reconciliations WHERE reconciliation_id > $1 ORDER BY reconciliation_id DESC LIMIT 1"""


class WronglyTaken(Exception):
    """The executor says it took another amount out of a position than the strangers' acts explain."""


class Adjusts(Protocol):
    """An operator who books what strangers moved."""

    async def adjust(self, currency: str, amount: Decimal) -> Decimal:
        """What the executor says it took of the position."""


class Ground(Fetches, Protocol):
    """A world with strangers and an operator."""

    @property
    def hand(self) -> HandTrader: ...
    @property
    def operator(self) -> Adjusts: ...


class Settling:
    """One per world. What strangers' acts take of a position is reckoned here, and not believed of the executor."""

    def __init__(self, world: Ground) -> None:
        self._world = world
        # Strangers' own coins by currency, as booked: they were bought after the opening, which had cash alone.
        self._unadopted: dict[str, Decimal] = defaultdict(Decimal)
        self.booked: list[BookedAct] = []

    async def release(self, order_id: str) -> None:
        """Ends a stranger's hold; the exchange may be on its way back."""
        end = time.monotonic() + _RELEASE_SECONDS
        while True:
            try:
                return await self._world.hand.release(order_id)
            except (requests.RequestException, OSError):
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(0.1)

    async def book_foreign_acts(self) -> None:
        """Books every foreign fill that is not booked yet. WronglyTaken."""
        if not self._world.hand.traded:
            return
        side = await self._world.hand.exchange_side()
        foreign = {order.order_id for order in side.orders if order.client_order_id in side.foreign}
        known = {act.fill_id for act in self.booked}
        new = [fill for fill in side.fills if fill.order_id in foreign and fill.fill_id not in known]
        changes: dict[str, Decimal] = defaultdict(Decimal)
        for fill in new:
            for currency, amount in moved(fill).items():
                changes[currency] += amount
        taken: dict[str, Decimal] = {}
        wrong = []
        for currency, amount in sorted(changes.items()):
            if not amount:
                continue
            answered = await self._world.operator.adjust(currency, amount)
            taken[currency] = self._taken(currency, amount)
            if answered != taken[currency]:
                wrong.append(f"{currency} by {amount}: took {answered} of the position, not {taken[currency]}")
        self.booked += _acts(new, taken)
        self._world.hand.traded = False
        if wrong:
            raise WronglyTaken("; ".join(wrong))

    def _taken(self, currency: str, change: Decimal) -> Decimal:
        """What a change takes of the position: strangers' own coins go first. Cash has no position."""
        if currency == QUOTE:
            return Decimal(0)
        left = self._unadopted[currency] + change
        self._unadopted[currency] = max(Decimal(0), left)
        return max(Decimal(0), -left)

    async def until_clean(self, end: float) -> None:
        """Returns when a reconciliation that began after now is clean, or at `end` (monotonic seconds)."""
        rows = await self._world.fetch("SELECT coalesce(max(reconciliation_id), 0) AS newest FROM reconciliations")
        newest = rows[0]["newest"]
        while time.monotonic() < end:
            found = await self._world.fetch(_CLEAN, newest)
            if found and found[0]["clean"]:
                return
            await asyncio.sleep(0.1)


def _acts(fills: Sequence[ExchangeFill], taken: Mapping[str, Decimal]) -> list[BookedAct]:
    """The fills as booked; what was taken of a position is laid to its newest sales, as strangers' own coins go first."""
    left = dict(taken)
    acts = []
    for fill in reversed(fills):
        base = fill.product.partition("-")[0]
        part = min(fill.size, left.get(base, Decimal(0))) if fill.side == "SELL" else Decimal(0)
        if part:
            left[base] -= part
        acts.append(BookedAct(fill.fill_id, part))
    return acts[::-1]
