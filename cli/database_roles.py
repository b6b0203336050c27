"""Finds what a migrated database lacks, or has too much, of the rights that each service's role is to have."""

from typing import TYPE_CHECKING

from schema.grants import GRANTED, ROLES, found_grants, wanted_grants

if TYPE_CHECKING:
    import asyncpg

_SHOWN = 3
_GIVEN_ANEW = "`mesh down`, then `mesh up` gives every role its rights"
_MISSING = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regrole(name) IS NULL ORDER BY name"
_OPEN = """
    SELECT c.relname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE t.tgname = 'append_only' AND t.tgenabled = 'D' AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""


async def faults_of_roles(connection: "asyncpg.Connection", seconds: float) -> list[tuple[str, str]]:
    """Each fault in words, and what to do; empty if all roles are there with exactly their rights, and what is written once
    stays so.
    """
    missing = [row[0] for row in await connection.fetch(_MISSING, list(ROLES.values()), timeout=seconds)]
    found, wanted = found_grants(await connection.fetch(GRANTED, timeout=seconds)), wanted_grants()
    lacking = sorted(str(grant) for grant in wanted - found if grant.role not in missing)
    too_much = sorted(str(grant) for grant in found - wanted)
    faults = [f"roles that are missing: {', '.join(missing)}"] if missing else []
    faults += [f"rights that are missing: {_some(lacking)}"] if lacking else []
    faults += [f"rights that nobody is to have: {_some(too_much)}"] if too_much else []
    rows = await connection.fetch(_OPEN, timeout=seconds)
    opened = [(f"rows of {name} can be changed", f"ALTER TABLE {name} ENABLE TRIGGER append_only") for (name,) in rows]
    return [*((fault, _GIVEN_ANEW) for fault in faults), *opened]


def _some(lines: list[str]) -> str:
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more
