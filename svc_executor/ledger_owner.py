"""Whose ledger the database holds: one venue's, and with real money one portfolio's.

Fills of one venue in the ledger of another would be taken for real, or real ones for play, so another's is never continued:
nothing is compared, protected, bought or sold on it.
"""

import asyncio

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meshkit.errors import MeshError, Misconfigured
from schema.execution import ledger_opening
from tradekit.states import Venue

_PAUSE_SECONDS = 1.0


class LedgerOwner:
    """This process's claim on the ledger; `portfolio` is empty but with real money."""

    def __init__(self, engine: AsyncEngine, venue: Venue, portfolio: str) -> None:
        self._engine = engine
        self._venue = venue
        self._portfolio = portfolio
        self._proven = False

    async def require(self) -> None:
        """Misconfigured where the ledger is another's; it is nobody's before its opening."""
        if self._proven:
            return
        query = select(ledger_opening.c.venue, ledger_opening.c.portfolio)
        async with self._engine.begin() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return
            if fault := fault_of(row.venue, row.portfolio, self._venue, self._portfolio):
                raise Misconfigured(fault)
            await self.claim(connection)
        self._proven = True

    async def wait(self) -> None:
        """Until the ledger is known to be no other's; each reconciliation logs why it is not."""
        while True:
            try:
                return await self.require()
            except MeshError:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def claim(self, connection: AsyncConnection) -> None:
        """Writes down whose it is where nobody has: with the opening, or in a ledger that is older than this."""
        mine = update(ledger_opening).where(ledger_opening.c.venue.is_(None))
        await connection.execute(mine.values(venue=self._venue.value, portfolio=self._portfolio))


def fault_of(venue: str | None, portfolio: str, own_venue: Venue, own_portfolio: str) -> str:
    """Why a ledger of this venue and portfolio is not to be continued; empty if it is. A portfolio that was not kept is any."""
    advice = "use another database, or another MESH_HOME: ledgers are never mixed"
    if venue is not None and venue != own_venue.value:
        return f"this database holds the ledger of VENUE={venue}, not of VENUE={own_venue}; {advice}"
    if portfolio and own_portfolio and portfolio != own_portfolio:
        return f"this database holds the ledger of portfolio {portfolio}, not of {own_portfolio}; {advice}"
    return ""
