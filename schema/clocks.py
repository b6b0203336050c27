"""The two clocks of the mesh that decisions and lives are measured by, read in one statement."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.operations import watermarks

_MARKET = select(watermarks.c.as_of).where(watermarks.c.stage == "market").scalar_subquery()
# As columns of a statement that reads more.
CLOCK_COLUMNS = (func.clock_timestamp().label("machine"), _MARKET.label("market"))


@dataclass(frozen=True, slots=True)
class Clocks:
    """Machine time of the database, and market time: None before the market stage has published one."""

    machine: datetime
    market: datetime | None


async def read_clocks(connection: AsyncConnection) -> Clocks:
    """Both clocks now; machine time is that of this statement, not of the transaction's begin."""
    row = (await connection.execute(select(*CLOCK_COLUMNS))).one()
    return Clocks(row.machine, row.market)
