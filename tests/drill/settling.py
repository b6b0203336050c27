"""Brings a world back to agreement after a run: what strangers did is booked, and what they hold is released.

An act of a stranger is booked as an operator's adjustment would be: a balanced transaction for each fill. Coins that were
not the mesh's are sold first, so a position only loses what the wallet does not have any more.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

import requests

from tests.drill.history import BookedAct, ExchangeFill, moved

if TYPE_CHECKING:
    from tests.drill.world import World

ADJUSTMENT = "adjustment"
_RELEASE_SECONDS = 60.0
_CLEAN = """SELECT clean FROM reconciliations WHERE reconciliation_id > $1 ORDER BY reconciliation_id DESC LIMIT 1"""


class Settling:
    """One per world."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Coins in the wallet that the mesh never bought.
        self._foreign: dict[str, Decimal] = defaultdict(Decimal)
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
        """Books every foreign fill that is not booked yet."""
        side = await self._world.hand.exchange_side()
        foreign = {order.order_id for order in side.orders if order.client_order_id in side.foreign}
        known = {act.fill_id for act in self.booked}
        for fill in side.fills:
            if fill.order_id in foreign and fill.fill_id not in known:
                await self._book(fill)

    async def _book(self, fill: ExchangeFill) -> None:
        product = fill.product
        taken = Decimal(0)
        if fill.side == "BUY":
            self._foreign[product] += fill.size
        else:
            of_foreign = min(fill.size, self._foreign[product])
            self._foreign[product] -= of_foreign
            taken = fill.size - of_foreign
        async with self._world.mesh.database() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM accounts WHERE account_id = 'main' FOR UPDATE")
            as_of = await connection.fetchval("SELECT max(as_of) FROM watermarks WHERE stage = 'market'")
            for currency, amount in moved(fill).items():
                for account, part in (("exchange", amount), (ADJUSTMENT, -amount)):
                    await connection.execute(
                        """INSERT INTO ledger_entries (transaction_id, account, currency, amount, as_of)
                           VALUES ($1, $2, $3, $4, $5)""",
                        f"hand-{fill.fill_id}",
                        account,
                        currency,
                        part,
                        as_of,
                    )
            await connection.execute(
                "UPDATE positions SET base_size = base_size - $2 WHERE product_id = $1", product, taken
            )
        self.booked.append(BookedAct(fill.fill_id, taken))

    async def until_clean(self, end: float) -> None:
        """Returns when a reconciliation that began after now is clean, or at `end` (monotonic seconds)."""
        rows = await self._world.fetch("SELECT coalesce(max(reconciliation_id), 0) AS newest FROM reconciliations")
        newest = rows[0]["newest"]
        while time.monotonic() < end:
            found = await self._world.fetch(_CLEAN, newest)
            if found and found[0]["clean"]:
                return
            await asyncio.sleep(0.1)
