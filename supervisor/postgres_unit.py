"""The embedded database as a unit of the supervisor: started or adopted first, watched, stopped last."""

from __future__ import annotations

import asyncio

from supervisor.embedded_postgres import EmbeddedPostgres
from supervisor.postgres_programs import PostgresFailed
from supervisor.processes import ProcessIdentity
from supervisor.unit import Exit, StartFailed, UnitSpec

LAST = 1_000_000
_POLL_SECONDS = 0.5


class PostgresUnit:
    """Blocking work runs in a thread; the server itself belongs to no thread and outlives this process."""

    def __init__(self, server: EmbeddedPostgres, name: str = "postgres") -> None:
        self._server = server
        self._spec = UnitSpec(name=name, stop_order=LAST, survives_supervisor=True, parks=False)

    @property
    def spec(self) -> UnitSpec:
        return self._spec

    async def launch(self) -> ProcessIdentity:
        try:
            postmaster = await asyncio.to_thread(self._server.start)
        except PostgresFailed as error:
            raise StartFailed(self._with_cause(str(error))) from error
        return postmaster.identity

    async def wait(self) -> Exit:
        while self._server.alive():
            self._server.bound_log()
            await asyncio.sleep(_POLL_SECONDS)
        return Exit(False, self._with_cause("the server is gone"))

    def _with_cause(self, what: str) -> str:
        """The server's own last complaint first: it is what somebody has to mend."""
        cause = self._server.last_complaint()
        return f"{cause} ({what})" if cause and cause not in what else what

    async def stop(self, grace_seconds: float, hurry: asyncio.Event) -> None:
        """Always a fast shutdown with the server's own timeout: a killed database only costs a recovery
        later.
        """
        await asyncio.to_thread(self._server.stop)

    def last_lines(self) -> str:
        return ""  # a failed start carries them in its message
