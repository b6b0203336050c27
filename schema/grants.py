"""Decides which rights each service's role has in a database, from `schema.ownership`, and what SQL gives it exactly these.

Pure: the rights that a database has are handed in. They are compared and not given anew at every start, so that a database
which has them already is not touched while its services run.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Table

from meshkit.dedicated import RowByName
from schema.ownership import APPEND_ONLY, FUNCTIONS, ONE_ROW, OWNED, READ, REMOVABLE, access_of
from schema.tables import metadata
from schema.views import views
from tradekit.services import database_role

# Who reads or writes as a role of its own. The `mesh` command is none of them: it owns the database.
ROLES: Mapping[str, str] = {name: database_role(name) for name in (*OWNED, *READ) if name != "cli"}
PUBLIC = "PUBLIC"
SELECT, INSERT, UPDATE, DELETE = "SELECT", "INSERT", "UPDATE", "DELETE"


class Kind(StrEnum):
    """What a right is on; SQL's own word. A view is a table to GRANT."""

    TABLE = "TABLE"
    SEQUENCE = "SEQUENCE"
    FUNCTION = "FUNCTION"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One right of one role. A right on a column names it: `UPDATE (state)`."""

    role: str
    kind: Kind
    name: str
    right: str

    def __str__(self) -> str:
        return f"{self.role}: {self.right} on {self.name}"


# Every right on what lies in the schema, and whose it is. No function has two forms, so its name stands for it.
GRANTED = """
    WITH things AS (
      SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.relname::text AS name, '' AS of_column,
        c.relacl AS rights
      FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
      UNION ALL
      SELECT 'TABLE', c.relname, format(' (%I)', a.attname), a.attacl
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
      WHERE c.relnamespace = 'public'::regnamespace AND a.attacl IS NOT NULL
      UNION ALL
      SELECT 'FUNCTION', p.proname, '', coalesce(p.proacl, acldefault('f', p.proowner))
      FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    )
    SELECT coalesce(r.rolname::text, 'PUBLIC') AS role, t.kind, t.name, g.privilege_type || t.of_column AS "right"
    FROM things t CROSS JOIN LATERAL aclexplode(t.rights) g LEFT JOIN pg_roles r ON r.oid = g.grantee
"""


def rights_on(table: Table) -> tuple[str, ...]:
    """What the owner of a table may do with its rows, and with those that it has of a shared table."""
    if any(function.keeps is table for function in FUNCTIONS.values()):
        return (SELECT,)
    if table in APPEND_ONLY:
        return (SELECT, INSERT)
    if table in REMOVABLE:
        return (SELECT, INSERT, DELETE)
    if table in ONE_ROW:
        return (SELECT, UPDATE)
    return (SELECT, INSERT, UPDATE)


def sequences_of(table: Table) -> tuple[str, ...]:
    """The sequences that number a table's rows, by PostgreSQL's names for them."""
    return tuple(f"{table.name}_{column.name}_seq" for column in table.c if column.autoincrement is True)


def wanted_grants() -> frozenset[Grant]:
    """Every right that a role is to have. PUBLIC is to have none."""
    return frozenset(grant for reader in ROLES for grant in _grants_of(reader))


def _grants_of(reader: str) -> Iterable[Grant]:
    access, role = access_of(reader), ROLES[reader]
    for name in access.written:
        yield from _on_table(role, name, rights_on(metadata.tables[name]))
    for name in access.inserted:
        yield from _on_table(role, name, (INSERT,))
    for name in access.read | access.views:
        yield Grant(role, Kind.TABLE, name, SELECT)
    for name in access.functions:
        yield Grant(role, Kind.FUNCTION, name, "EXECUTE")


def _on_table(role: str, name: str, rights: tuple[str, ...]) -> Iterable[Grant]:
    for right in rights:
        yield Grant(role, Kind.TABLE, name, right)
    if INSERT in rights:
        for sequence in sequences_of(metadata.tables[name]):
            yield Grant(role, Kind.SEQUENCE, sequence, "USAGE")


def found_grants(rows: Iterable[RowByName]) -> frozenset[Grant]:
    """The rights among the rows of GRANTED that are ours to give: those of our roles and of PUBLIC on what the mesh made.

    What an operator gives to others, or has put beside it, is his.
    """
    sequences = {sequence for table in metadata.tables.values() for sequence in sequences_of(table)}
    ours = {*metadata.tables, *views.tables, *FUNCTIONS, *sequences}
    roles = {*ROLES.values(), PUBLIC}
    return frozenset(
        Grant(row["role"], Kind(row["kind"]), row["name"], row["right"])
        for row in rows
        if row["role"] in roles and row["name"] in ours
    )


def statements(found: frozenset[Grant], wanted: frozenset[Grant]) -> list[str]:
    """The SQL that turns the rights found into those wanted; nothing where they are the same."""
    # A right on a whole table that is taken away takes those on its columns along. CASCADE: and what its holder passed on.
    revoked = [f"REVOKE {what} FROM {role} CASCADE" for role, what in _together(found - wanted)]
    return [*revoked, *(f"GRANT {what} TO {role}" for role, what in _together(wanted - found))]


def _together(grants: Iterable[Grant]) -> list[tuple[str, str]]:
    """Of each role what it is given or loses: things with the same rights in one statement."""
    rights: dict[tuple[str, Kind, str], list[str]] = defaultdict(list)
    for grant in sorted(grants):
        rights[grant.role, grant.kind, grant.name].append(grant.right)
    names: dict[tuple[str, Kind, str], list[str]] = defaultdict(list)
    for (role, kind, name), found in rights.items():
        names[role, kind, ", ".join(found)].append(f"public.{name}")
    return [(role, f"{right} ON {kind} {', '.join(things)}") for (role, kind, right), things in names.items()]
