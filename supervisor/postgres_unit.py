"""The embedded database as a unit of the supervisor: started or adopted first, watched, stopped last."""

from __future__ import annotations

import asyncio

from supervisor.answers import PostgresAnswers
from supervisor.embedded_postgres import KILLED, EmbeddedPostgres, PostgresHung
from supervisor.postgres_programs import PostgresFailed
from supervisor.processes import ProcessIdentity
from supervisor.unit import Exit, StartFailed, UnitSpec

LAST = 1_000_000
_POLL_SECONDS = 0.5


class PostgresUnit:
    """Blocking work runs in a thread; the server itself belongs to no thread and outlives this process."""

    def __init__(self, server: EmbeddedPostgres, name: str = "postgres") -> None:
        self._server = server
        self._answers = PostgresAnswers()
        self._left_hung = False
        self._spec = UnitSpec(
            name=name,
            stop_order=LAST,
            survives_supervisor=True,
            parks=False,
            alive=self._answers,
            # Everybody's sessions hang on it, and a disk that is slow for minutes looks the same; killing it costs a recovery of
            # unknown length on that very disk. Somebody should look and decide: `mesh restart` and `mesh down` do end it.
            killed_when_hung=False,
        )

    @property
    def spec(self) -> UnitSpec:
        return self._spec

    @property
    def note(self) -> str:
        if self._left_hung:
            return "left as it is: it does not answer, `mesh down` ends it"
        if self._server.killed:
            return KILLED
        return self._server.waits_for

    async def launch(self) -> ProcessIdentity:
        self._left_hung = self._server.killed = False
        try:
            postmaster = await asyncio.to_thread(self._server.start)
        except PostgresHung as error:
            self._left_hung = True
            raise StartFailed(str(error)) from error
        except PostgresFailed as error:
            raise StartFailed(self._with_cause(str(error))) from error
        self._answers.socket_file = postmaster.socket_file
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
        later. A start that failed over a hung server leaves it: to kill it is for whoever says `mesh down`.
        """
        if not self._left_hung:
            await asyncio.to_thread(self._server.stop)

    def last_lines(self) -> str:
        return ""  # a failed start carries them in its message
