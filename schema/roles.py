"""Makes the role of each service where it is missing, and gives it the rights that `schema.grants` decides.

Roles belong to a server and rights to a database. So this is no revision of a schema but follows every migration: a
database that was restored to another server gets its roles there, and a table that is new its rights.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from meshkit.errors import Misconfigured
from schema.grants import GRANTED, ROLES, Grant, found_grants, statements, wanted_grants

_MAY_NOT = "42501"
# The same role made for another database of the server at this moment.
_THERE = ("42710", "23505")
_MISSING = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regrole(name) IS NULL ORDER BY name")
# Whether a session may say SET ROLE: since version 16 a member may be one without this.
_NOT_FOR_US = text("""
    SELECT rolname::text FROM pg_roles WHERE rolname = ANY (:names) AND NOT CASE
      WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(session_user, rolname, 'SET')
      ELSE pg_has_role(session_user, rolname, 'MEMBER') END
    ORDER BY rolname
""")


def bring_roles_up_to_date(connection: Connection) -> None:
    """Every role with its rights, in the caller's transaction. Misconfigured, with what to do, if only somebody else may make
    a role or give rights.
    """
    make_missing(connection, ROLES.values())
    wanted = wanted_grants()
    needed = statements(_granted(connection), wanted)
    # Who owns only a part, or nothing, is refused or gives nothing with a warning.
    refused = any(_tried(connection, statement) for statement in needed)
    if refused or (needed and _granted(connection) != wanted):
        raise Misconfigured(
            f"{_user(connection)} may not give rights on everything in the schema public: "
            "set DB_USER to the role that owns its tables, views and functions"
        )


def make_missing(connection: Connection, roles: Collection[str]) -> None:
    """Makes those of the roles that the server does not have. Without a password, so that none can enter where one is asked
    for before its operator gives it one. Misconfigured.
    """
    missing = list(connection.execute(_MISSING, {"names": list(roles)}).scalars())
    for role in missing:
        sqlstate = _tried(connection, f"CREATE ROLE {role} LOGIN")
        if sqlstate == _MAY_NOT:
            made = "; ".join(f"CREATE ROLE {name} LOGIN" for name in missing)
            raise Misconfigured(
                f"the database's server has no role {', '.join(missing)}, and {_user(connection)} may not create roles. "
                f"As a superuser run: {made}; GRANT {', '.join(missing)} TO {_user(connection)}"
            )


def let_act_as(connection: Connection, roles: Sequence[str]) -> None:
    """Sees to it that a session of this user may act as each of the roles: who may make them may also join them.
    Misconfigured, with what to run, where only somebody else can say so.
    """
    for role in _not_for_us(connection, roles):
        if _tried(connection, f"GRANT {role} TO CURRENT_USER") == _MAY_NOT:
            break
    if names := _not_for_us(connection, roles):
        raise Misconfigured(
            f"{_user(connection)} may not act as {', '.join(names)}, which the services do. "
            f"As a superuser run: GRANT {', '.join(names)} TO {_user(connection)}"
        )


def _granted(connection: Connection) -> frozenset[Grant]:
    return found_grants(connection.exec_driver_sql(GRANTED).mappings())


def _not_for_us(connection: Connection, roles: Sequence[str]) -> list[str]:
    return list(connection.execute(_NOT_FOR_US, {"names": list(roles)}).scalars())


def _tried(connection: Connection, statement: str) -> str:
    """Runs a statement that may be refused; the reason's SQLSTATE, empty if it was not. Raises for other reasons."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except DBAPIError as error:
        sqlstate = getattr(error.orig, "sqlstate", "") or ""
        if sqlstate not in (_MAY_NOT, *_THERE):
            raise
        return sqlstate
    return ""


def _user(connection: Connection) -> str:
    name: str = connection.execute(text("SELECT quote_ident(session_user)")).scalar_one()
    return name
