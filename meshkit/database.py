"""The database engine of a process, and the one place that knows how a database outage looks.

Whatever the driver, the pool or the server raises when the database does not answer becomes `Unavailable`
(DATABASE_UNAVAILABLE); everything else (constraints, syntax) stays what it is.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from meshkit.errors import Unavailable
from meshkit.settings import KitSettings

REASON = "DATABASE_UNAVAILABLE"
_RECYCLE_SECONDS = 1800
# SQLSTATE classes and codes that say "not now": connection, resources, operator intervention, lost races of the server.
_CLASSES_NOT_NOW = ("08", "53", "57")
_CODES_NOT_NOW = frozenset({"40001", "40P01", "55P03", "25P03", "3D000", "28000", "28P01"})


def unavailable(message: str = "the database does not answer") -> Unavailable:
    return Unavailable(REASON, message, retry_after=1.0)


def as_unavailable(error: BaseException) -> Unavailable | None:
    """The error as Unavailable if it is a database outage, else None."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return unavailable()
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return unavailable() if _not_now(state) or _is_outage(error.orig) else None
    if isinstance(error, exc.TimeoutError):
        return unavailable("no database connection became free in time")
    if isinstance(error, asyncpg.PostgresError):
        return unavailable() if _not_now(error.sqlstate or "") else None
    if isinstance(error, asyncpg.InterfaceError):
        return unavailable()
    return unavailable() if isinstance(error, OSError) and from_driver(error) else None


def _not_now(sqlstate: str) -> bool:
    return sqlstate.startswith(_CLASSES_NOT_NOW) or sqlstate in _CODES_NOT_NOW


def _is_outage(error: BaseException | None) -> bool:
    cause = getattr(error, "__cause__", None)
    return isinstance(cause, OSError | asyncpg.InterfaceError | asyncpg.PostgresConnectionError)


def from_driver(error: BaseException) -> bool:
    """Whether an OSError, TimeoutError or cancellation came out of the driver, or of a wait for one's turn at it: what was
    waited for is the database."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(("asyncpg", "sqlalchemy", __name__)):
            return True
        trace = trace.tb_next
    return False


def connect_arguments(settings: KitSettings) -> dict[str, Any]:
    """Arguments of `asyncpg.connect`; a host that begins with a slash is a socket directory."""
    password = settings.db_password
    milliseconds = str(int(settings.db_timeout_seconds * 1000))
    return {
        "host": settings.db_host,
        "port": settings.db_port,
        "database": settings.db_name,
        "user": settings.db_user,
        "password": None if password is None else password.get_secret_value(),
        "timeout": settings.db_timeout_seconds,
        "command_timeout": settings.db_timeout_seconds,
        "server_settings": {
            "application_name": settings.service_name,
            "timezone": "UTC",
            "statement_timeout": milliseconds,
            # A process that dies or hangs inside a transaction must not hold its row locks for ever.
            "idle_in_transaction_session_timeout": str(int(settings.db_timeout_seconds * 4000)),
        },
    }


async def connect(settings: KitSettings) -> Any:
    """One driver connection of its own, for LISTEN and for the pool; Unavailable if it cannot be had."""
    try:
        return await asyncpg.connect(**connect_arguments(settings))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise unavailable(f"no connection to the database: {type(error).__name__}") from error


class Turn(asyncio.Lock):
    """One at a time at the database, without a connection for those who wait. Whoever has the turn does nothing else, so
    to wait for it is to wait for the database; `from_driver` knows the wait by this module's frame."""

    async def acquire(self) -> Literal[True]:
        return await super().acquire()


class Probe:
    """Asks the database for a sign of life on a connection of its own; a busy pool must not look like an outage."""

    def __init__(self, settings: KitSettings) -> None:
        self._settings = settings
        self._connection: Any = None

    async def check(self) -> None:
        """Raises if the database does not answer; the next check opens a new connection then."""
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            connection = await connect(self._settings)
        try:
            await connection.execute("SELECT 1")
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=1.0)


def create_engine(settings: KitSettings) -> AsyncEngine:
    """An engine with a bounded pool and bounded waits; it connects at first use."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(settings),
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=settings.db_timeout_seconds,
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_SECONDS,
    )
    event.listen(engine.sync_engine, "handle_error", _translate)
    event.listen(engine.sync_engine, "invalidate", _end_at_once)
    return engine


def _end_at_once(connection: Any, record: Any, error: BaseException | None) -> None:
    """A connection given up is cut: a goodbye to a server that hangs would take the time of the caller's answer."""
    connection.driver_connection.terminate()


def _translate(context: ExceptionContext) -> None:
    """Raised from here, an outage reaches stores and background tasks as the same error that callers see."""
    if context.is_pre_ping:
        # Whatever the ping met, the pool shall open another connection instead of failing its borrower.
        context.is_disconnect = True
        return
    if not isinstance(context.original_exception, Exception):
        # A cancellation breaks the connection too, but it must reach its task as what it is.
        return
    found = as_unavailable(context.sqlalchemy_exception or context.original_exception)
    if found is None and context.is_disconnect:
        found = unavailable()
    if found is not None:
        raise found from context.original_exception
