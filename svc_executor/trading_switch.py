"""The trading state as this process knows it: the strictest of its halt file and of what the database said last.

Halting needs nobody: the file alone stops every send, with the database dead or another service gone. Where the database
answers, the file's order is written into it (the stricter wins) and the file goes; from then on every send reads the state
under the account lock. Loosening goes through the database only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import database
from meshkit.errors import Misconfigured
from meshkit.kit import Kit
from svc_executor import store
from tradekit import halt_file
from tradekit.halt_file import Halt
from tradekit.states import Side, TradingState

T = TypeVar("T")
CHANNEL = "trading_state"
# A lost wake-up of the database costs at most this; a file that another process wrote is merged as late.
LOOK_SECONDS = 1.0
# Longest wait of a halt for the database; the state is in force before.
_STORE_SECONDS = 0.7


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds at this process: `local` is not in the database yet, `stored` is None before its first answer."""

    local: Halt | None
    stored: TradingState | None
    stored_note: str

    @property
    def state(self) -> TradingState:
        """The stricter of the two."""
        known = [self.local.state] if self.local else []
        known += [self.stored] if self.stored else []
        return max(known, key=lambda one: one.rank, default=TradingState.ACTIVE)

    @property
    def note(self) -> str:
        """Why."""
        return self.local.note if self.local and self.local.state is self.state else self.stored_note


class TradingSwitch:
    """One per process. `file` None keeps an order in memory only until the database has it (tests, one-shot tools)."""

    def __init__(
        self, kit: Kit[Any], file: Path | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._kit = kit
        self._file = file
        self._aside = file.with_name(f"{file.name}.merging") if file else None
        self._memory: Halt | None = None
        self._stored: TradingState | None = None
        self._stored_note = ""
        self._now = now
        self._turn = asyncio.Lock()
        self._look = asyncio.Event()
        self._looked = asyncio.Event()
        if file is not None and not file.parent.is_dir():
            raise Misconfigured(f"HALT_FILE {file}: there is no folder {file.parent}; make it")

    def allows(self, side: Side) -> bool:
        """Whether an order of this side may leave now. Reads the file, so an order of another process counts at once."""
        return self.in_force().state.allows(side)

    def in_force(self) -> InForce:
        """What holds now."""
        return InForce(self._local(), self._stored, self._stored_note)

    def _local(self) -> Halt | None:
        found = [self._memory]
        if self._file is not None and self._aside is not None:
            found += [halt_file.read(self._file), halt_file.read(self._aside)]
        orders = [halt for halt in found if halt is not None and halt.state is not TradingState.ACTIVE]
        return max(orders, key=lambda halt: halt.state.rank, default=None)

    async def tighten(self, state: TradingState, note: str) -> bool:
        """In force when this returns, whatever the database does; True if the database has it too."""
        halt = Halt(state, note, halt_file.now_text(self._now()))
        if self._file is not None:
            try:
                halt_file.write(self._file, halt)
            except OSError as error:
                # Better halted in memory than not at all; the database is the second place that keeps it.
                self._kit.log.error("halt_file_not_written", file=str(self._file), error=str(error))
                self._memory = halt
        else:
            self._memory = halt
        self._kit.log.warning("trading_state_tightened", state=state.value, note=note)
        self._looked.clear()
        self._look.set()
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                while self._local() is not None:
                    await self._looked.wait()
                    self._looked.clear()
        except TimeoutError:
            return False
        return True

    async def loosen(
        self, state: TradingState, note: str, remember: Callable[[AsyncConnection, TradingState], Awaitable[T]]
    ) -> T:
        """Sets exactly this state; `remember` is given the one before, within the same transaction. Needs the database."""
        async with self._turn:
            async with self._kit.engine.begin() as connection:
                merged = await self._tell_database(connection)
                before = await store.read_trading_state(connection)
                await store.set_trading_state(connection, state, note, only_tighten=False)
                answer = await remember(connection, before.state)
            self._forget(merged)
            await self._read()
        self._kit.log.warning("trading_state_loosened", state=state.value, note=note)
        return answer

    async def run(self) -> None:
        """Follows the database's state and merges the file into it, for ever; an outage changes nothing."""
        async with self._kit.notifications.subscribe(CHANNEL) as wakeup:
            while True:
                await self._either(wakeup)
                try:
                    async with asyncio.timeout(self._kit.settings.db_timeout_seconds):
                        await self._merge()
                        await self._read()
                except Exception as error:
                    if database.as_unavailable(error) is None and not isinstance(error, TimeoutError):
                        raise
                self._looked.set()

    async def _either(self, wakeup: Any) -> None:
        """Until the database notifies, an order is given here, or a second is over."""
        waits = [asyncio.ensure_future(wakeup.wait(LOOK_SECONDS)), asyncio.ensure_future(self._look.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._look.clear()

    async def _read(self) -> None:
        async with self._kit.engine.connect() as connection:
            found = await store.read_trading_state(connection)
        if found.state is not self._stored:
            self._kit.log.warning("trading_state", state=found.state.value, note=found.note)
        self._stored, self._stored_note = found.state, found.note

    async def _merge(self) -> None:
        if self._local() is None:
            return
        async with self._turn:
            async with self._kit.engine.begin() as connection:
                merged = await self._tell_database(connection)
            # The database has it, and is known to have it, before the file goes: no moment lies between them.
            await self._read()
            self._forget(merged)

    async def _tell_database(self, connection: AsyncConnection) -> Halt | None:
        """Writes what only this process knows into the database; gives it, None if there is nothing."""
        found = [self._memory]
        if self._file is not None and self._aside is not None:
            found.append(halt_file.take(self._file, self._aside))
        halt = max((one for one in found if one is not None), key=lambda one: one.state.rank, default=None)
        if halt is not None:
            await store.set_trading_state(connection, halt.state, halt.note, only_tighten=True)
        return halt

    def _forget(self, merged: Halt | None) -> None:
        """What the database has now; an order given meanwhile is another one and stays."""
        if merged is None:
            return
        if self._memory is not None and self._memory.state.rank <= merged.state.rank:
            self._memory = None
        if self._aside is not None:
            self._aside.unlink(missing_ok=True)
