"""Brings the database of the DB_* variables to the newest schema, with a role for each service; nothing starts on one that may
lose what it says it stored.

A process of its own (`python -m cli.migration_job [ROLE…]`, the roles that sessions of DB_USER will act as): what it needs for
a moment is too large for a supervisor to carry. Exit code 0 when the schema is the newest; else the reason, for the operator,
is all that it writes to stderr.
"""

import asyncio
import os
import sys
from collections.abc import Sequence

from sqlalchemy import text

from cli.database import database_engine
from meshkit.database_link import PROMISES, DatabaseAddress, broken_promises, why_not_secure
from meshkit.errors import Misconfigured
from schema.migrate import migrate
from schema.roles import let_act_as


async def bring_up_to_date(address: DatabaseAddress, taken_on: Sequence[str] = ()) -> str:
    """Migrates; the reason, for the operator, if this database cannot be used, or if a session of it may not act as one of the
    roles. Raises what the database does.
    """
    engine = database_engine(address)
    try:
        async with engine.connect() as connection:
            promises = (await connection.execute(text(PROMISES))).mappings().one()
        if broken := broken_promises({str(name): value for name, value in promises.items()}):
            return broken
        await migrate(engine)
        async with engine.begin() as connection:
            await connection.run_sync(let_act_as, taken_on)
    except Misconfigured as error:
        return error.message
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
        reason = asyncio.run(bring_up_to_date(DatabaseAddress.of_variables(os.environ), sys.argv[1:]))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    sys.exit(reason or None)


if __name__ == "__main__":
    main()
