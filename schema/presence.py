"""Whether the database has what this process works with: a service may come before the migration that it needs."""

from typing import Any

from sqlalchemy import text

from meshkit.database import unavailable
from meshkit.kit import Kit
from meshkit.spec import Check
from schema.base import metadata
from schema.views import views

_MISSING = text("""
  SELECT in_table || '.' || wanted FROM unnest(CAST(:tables AS text[]), CAST(:columns AS text[])) AS given(in_table, wanted)
  WHERE NOT EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = to_regclass(in_table) AND attname = wanted AND NOT attisdropped
  )
  ORDER BY 1
""")
_SHOWN = 3


def schema_check(kit: Kit[Any]) -> Check:
    """A health check for `ready`: every column of every table and view that this process has loaded is there. It looks until it
    has been so once: a schema only grows."""
    seen = False

    async def look() -> None:
        nonlocal seen
        if seen:
            return
        loaded = [*metadata.tables.values(), *views.tables.values()]
        columns = [(table.name, column.name) for table in loaded for column in table.columns]
        given = {"tables": [table for table, _ in columns], "columns": [column for _, column in columns]}
        async with kit.autocommit.connect() as connection:
            missing = list((await connection.execute(_MISSING, given)).scalars())
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise unavailable(
                f"the database's schema is older than this version: {', '.join(missing[:_SHOWN])}{more} is not there; migrate it "
                "(`mesh up` does; on a cluster the job migrate)"
            )
        seen = True

    return Check("schema", look)
