"""Units that are steps of a start, run inside the supervisor: done once, with progress, and failing the start."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from supervisor.processes import ProcessIdentity, identity_of
from supervisor.unit import Exit, StartFailed, Unit, UnitSpec


class StepFailed(Exception):
    """A step cannot be done; the text says why and what to do."""


class StepUnit:
    """A step as a unit of the supervisor."""

    def __init__(
        self, name: str, depends_on: tuple[str, ...], work: Callable[[], Awaitable[None]], stop_order: int
    ) -> None:
        self._spec = UnitSpec(name=name, depends_on=depends_on, run_once=True, stop_order=stop_order)
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self.failure: StepFailed | None = None

    @property
    def spec(self) -> UnitSpec:
        """Name and dependencies."""
        return self._spec

    @property
    def note(self) -> str:
        """A step shows its own progress."""
        return ""

    async def launch(self) -> ProcessIdentity:
        """Begins the step."""
        self._task = asyncio.create_task(self._run(), name=f"step-{self._spec.name}")
        return identity_of(os.getpid()) or ProcessIdentity(os.getpid(), time.time())

    async def _run(self) -> None:
        await self._work()

    async def wait(self) -> Exit:
        """Ends with the step."""
        if self._task is None:
            raise StepFailed(f"{self._spec.name} was not begun")
        try:
            await asyncio.shield(self._task)
        except StepFailed as error:
            self.failure = error
            return Exit(False, str(error))
        return Exit(True, "done")

    async def stop(self, grace_seconds: float, hurry: asyncio.Event) -> None:
        """Cancels a step that is not done."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task

    def last_lines(self) -> str:
        """A step's failure carries its own words."""
        return ""


@contextmanager
def in_own_words(units: Sequence[Unit]) -> Iterator[None]:
    """Raises the StepFailed that made a start fail in place of what a supervisor says of it, which is about processes."""
    try:
        yield
    except StartFailed:
        for unit in units:
            if isinstance(unit, StepUnit) and unit.failure is not None:
                raise unit.failure from None
        raise
