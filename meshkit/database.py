"""The database engine of a process, and the one place that knows how a database outage looks.

Whatever the driver, the pool or the server raises when the database does not answer becomes `Unavailable`
(DATABASE_UNAVAILABLE) at the place of the wait; everything else (constraints, syntax) stays what it is. A wait that is
cut because its caller's time is over is noted there as well, so that nobody has to guess it from a traceback.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection

from meshkit.cancellation import unless_cancelled
from meshkit.database_link import PROMISES, broken_promises, why_not_acting, why_not_secure
from meshkit.errors import Misconfigured, Unavailable
from meshkit.settings import KitSettings

REASON = "DATABASE_UNAVAILABLE"
# What the driver raises. The last is its own confusion over a connection that ended in the middle of an answer, as when the
# server was killed, and is gone with the connection.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_RECYCLE_SECONDS = 1800
# A connection idle for longer is asked for a sign of life before it is lent: a firewall may have forgotten it silently.
_PING_AFTER_SECONDS = 30.0
_RETURNED = "meshkit_returned"
# SQLSTATE classes and codes that say "not now": connection, resources, operator intervention, lost races of the server.
_CLASSES_NOT_NOW = ("08", "53", "57")
_CODES_NOT_NOW = frozenset({"40001", "40P01", "55P03", "25P03", "3D000", "28000", "28P01"})


def unavailable(message: str = "the database does not answer") -> Unavailable:
    return Unavailable(REASON, message, retry_after=1.0)


def as_unavailable(error: BaseException) -> Unavailable | None:
    """The error as Unavailable if it is a database outage, else None. An OSError alone says nothing of a database: where
    only the driver can have raised it, `answering` says so."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return unavailable()
        return None if error.orig is None else _of_driver(error.driver_exception)
    if isinstance(error, exc.TimeoutError):
        return unavailable("no database connection became free in time")
    if isinstance(error, DRIVER_ERRORS):
        return _of_driver(error)
    return None


def _of_driver(error: BaseException) -> Unavailable | None:
    """An error that came out of the driver."""
    if isinstance(error, asyncpg.PostgresError):
        return unavailable() if _not_now(error.sqlstate or "") else None
    return unavailable() if isinstance(error, (OSError, *DRIVER_ERRORS)) else None


def _not_now(sqlstate: str) -> bool:
    return sqlstate.startswith(_CLASSES_NOT_NOW) or sqlstate in _CODES_NOT_NOW


@dataclass(slots=True)
class Work:
    """Work under one time limit; `cut_at_database` once that limit ended a wait of it for the database."""

    cut_at_database: bool = False


_WORK: ContextVar[Work | None] = ContextVar("meshkit_work", default=None)


@contextmanager
def watched() -> Iterator[Work]:
    """The work inside, and what it starts, notes here whether it was cancelled while it waited for the database."""
    outer, work = _WORK.get(), Work()
    _WORK.set(work)
    try:
        yield work
    finally:
        _WORK.set(outer)  # not by token: a generator may be closed in another context than it was begun in


def _note_cut() -> None:
    work = _WORK.get()
    if work is not None:
        work.cut_at_database = True


@contextmanager
def waiting() -> Iterator[None]:
    """Around every wait for the database: its cancellation is noted in the work that it belongs to."""
    try:
        yield
    except asyncio.CancelledError:
        _note_cut()
        raise


@contextmanager
def answering() -> Iterator[None]:
    """Around calls of the driver itself: what it raises when the database does not answer becomes Unavailable."""
    try:
        with waiting():
            yield
    except (OSError, *DRIVER_ERRORS) as error:
        outage = _of_driver(error)
        if outage is None:
            raise
        raise unless_cancelled(outage) from error


def connect_arguments(settings: KitSettings) -> dict[str, Any]:
    """Arguments of `asyncpg.connect`; a host that begins with a slash is a socket directory."""
    found = settings.database_address.arguments(settings.service_name, settings.durable)
    milliseconds = int(settings.db_timeout_seconds * 1000)
    bounds = {
        "statement_timeout": str(milliseconds),
        # A process that dies or hangs inside a transaction must not hold its row locks for ever.
        "idle_in_transaction_session_timeout": str(4 * milliseconds),
    }
    return {
        **found,
        "timeout": settings.db_timeout_seconds,
        "command_timeout": settings.db_timeout_seconds,
        "server_settings": {**found["server_settings"], **bounds},
    }


async def connect(settings: KitSettings) -> Any:
    """One driver connection of its own, for LISTEN and for the pool; Unavailable if it cannot be had."""
    try:
        with waiting():
            return await asyncpg.connect(**connect_arguments(settings))
    except (OSError, *DRIVER_ERRORS) as error:
        address = settings.database_address
        why = why_not_secure(error, address) or why_not_acting(error, address) or type(error).__name__
        raise unavailable(f"no connection to the database: {why}") from error


class Turn(asyncio.Lock):
    """One at a time at the database, without a connection for those who wait. Whoever has the turn does nothing else, so
    to wait for it is to wait for the database."""

    async def acquire(self) -> Literal[True]:
        with waiting():
            return await super().acquire()


class _Pool(AsyncAdaptedQueuePool):
    """A pool whose every wait is one for the database: for a free connection, for a new one, for the ping of an old one."""

    def connect(self) -> PoolProxiedConnection:
        with waiting():
            try:
                return super().connect()
            except exc.TimeoutError as error:
                outage = unavailable("no database connection became free in time")
                raise unless_cancelled(outage) from error


class Probe:
    """Asks the database for a sign of life on a connection of its own; a busy pool must not look like an outage."""

    def __init__(self, settings: KitSettings) -> None:
        self._settings = settings
        self._connection: Any = None
        self._was_durable = False
        self.broken_promises = ""
        """What the server did not keep of its promises at the last look, with what to do."""

    async def check(self) -> None:
        """Raises if the database does not answer (the next check opens a new connection then), and Misconfigured until
        it has once promised that what it says is stored is stored. A promise broken later closes entries alone: exits
        do not wait for an operator.
        """
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            connection = await connect(self._settings)
        try:
            with answering():
                promises = await connection.fetchrow(PROMISES)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        self.broken_promises = broken_promises(promises)
        self._was_durable = self._was_durable or not self.broken_promises
        if not self._was_durable:
            raise Misconfigured(self.broken_promises)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=1.0)


def create_engine(settings: KitSettings) -> AsyncEngine:
    """An engine with a bounded pool and bounded waits; it connects at first use."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(settings),
        poolclass=_Pool,
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=settings.db_timeout_seconds,
        pool_recycle=_RECYCLE_SECONDS,
        # The one that was used last has its statements prepared and needs no sign of life.
        pool_use_lifo=True,
    )
    event.listen(engine.sync_engine, "handle_error", _translate)
    event.listen(engine.sync_engine, "invalidate", _end_at_once)
    event.listen(engine.sync_engine, "checkin", _note_return)
    event.listen(engine.sync_engine, "checkout", _lend_living)
    return engine


def autocommit(engine: AsyncEngine) -> AsyncEngine:
    """The same pool for statements that are each a transaction of their own: no BEGIN before and no ROLLBACK after."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _note_return(connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[_RETURNED] = time.monotonic()


def _lend_living(connection: Any, record: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
    """Lends no connection that the server has closed. A round trip is spent on it only where something speaks for that."""
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError("the server closed the connection")
    returned = record.info.get(_RETURNED)
    if returned is None or not _is_doubtful(connection.driver_connection, time.monotonic() - returned):
        return
    try:
        connection.ping()
    except (connection.dbapi.Error, OSError) as error:
        raise exc.DisconnectionError("the connection gave no sign of life") from error


def _is_doubtful(driver: Any, idle_seconds: float) -> bool:
    """Whether something speaks for it that an open connection is dead, so that a round trip is worth knowing."""
    return idle_seconds >= _PING_AFTER_SECONDS or _readable(driver)


async def is_living(driver: Any, idle_seconds: float) -> bool:
    """Whether a driver connection that was kept for so long may be used, as the pool finds it out of its own."""
    if driver.is_closed():
        return False
    if not _is_doubtful(driver, idle_seconds):
        return True
    try:
        with waiting():
            await driver.execute("SELECT 1")
    except (OSError, *DRIVER_ERRORS):
        return False
    return True


def _readable(driver: Any) -> bool:
    """Whether the server has said something to a connection that asked for nothing: as a rule, that it goes away."""
    # Private to the driver; one that has it no more is asked each time.
    transport = getattr(driver, "_transport", None)
    socket = transport.get_extra_info("socket") if transport is not None else None
    if socket is None:
        return True
    waiting_bytes = select.poll()
    waiting_bytes.register(socket.fileno(), select.POLLIN)
    return bool(waiting_bytes.poll(0))


def _end_at_once(connection: Any, record: Any, error: BaseException | None) -> None:
    """A connection given up is cut: a goodbye to a server that hangs would take the time of the caller's answer."""
    connection.driver_connection.terminate()


def _translate(context: ExceptionContext) -> None:
    """Raised from here, an outage reaches stores and background tasks as the same error that callers see."""
    met = context.original_exception
    if not isinstance(met, Exception):
        # A cancellation breaks the connection too, but it must reach its task as what it is.
        if isinstance(met, asyncio.CancelledError):
            _note_cut()
        return
    found = as_unavailable(context.sqlalchemy_exception or met)
    if found is None and (context.is_disconnect or isinstance(met, OSError)):
        found = unavailable()
    if found is not None:
        raise unless_cancelled(found) from met
