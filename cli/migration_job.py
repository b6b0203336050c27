"""Brings the database of the DB_* variables to the newest schema; nothing starts on one that may lose what it says it stored.

A process of its own (`python -m cli.migration_job`): what it needs for a moment is too large for a supervisor to carry. Exit
code 0 when the schema is the newest; else the reason, for the operator, is all that it writes to stderr.
"""

import asyncio
import os
import sys

from sqlalchemy import text

from cli.database import database_engine
from meshkit.database_link import PROMISES, DatabaseAddress, broken_promises, why_not_secure
from schema.migrate import migrate


async def bring_up_to_date(address: DatabaseAddress) -> str:
    """Migrates; the reason, for the operator, if this database cannot be used. Raises what the database does."""
    engine = database_engine(address)
    try:
        async with engine.connect() as connection:
            promises = (await connection.execute(text(PROMISES))).mappings().one()
        if broken := broken_promises({str(name): value for name, value in promises.items()}):
            return broken
        await migrate(engine)
    except OSError as error:
        if why := why_not_secure(error, address):
            return why
        raise
    finally:
        await engine.dispose()
    return ""


def main() -> None:
    """Leaves by SystemExit."""
    try:
        reason = asyncio.run(bring_up_to_date(DatabaseAddress.of_variables(os.environ)))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    sys.exit(reason or None)


if __name__ == "__main__":
    main()
