"""The trading state as this process knows it: the strictest of its halt file and of what the database said last.

Halting needs nobody: the file alone stops every send, with the database dead or another service gone. Where the database
answers, the file's order is written into it (the stricter wins) and the file goes; from then on every send reads the state
under the account lock. Loosening goes through the database only. Where neither takes an order, this process's memory holds it,
says that it is not kept, and tries both again for as long as it lives.

With real money a start holds it at REDUCING besides, until its account is reconciled (`svc_executor.live_start`).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import FailedPrecondition, Misconfigured
from meshkit.kit import Kit
from schema.trading_state import set_trading_state
from svc_executor import store
from tradekit import halt_file
from tradekit.halt_file import Halt
from tradekit.states import Side, TradingState

T = TypeVar("T")
CHANNEL = "trading_state"
# A lost wake-up of the database costs at most this; a file that another process wrote is merged as late.
READ_SECONDS = 1.0
# Longest wait of a halt for the database; the state is in force before.
_STORE_SECONDS = 0.7
# How often the file is tried again for what only the memory has: one small write, which a full disk refuses at once.
_KEEP_SECONDS = 1.0
# The reason of a state that no operator asked for.
LIVE_START = "LIVE_START"


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds at this process: `local` is not in the database yet, `stored` is None before its first answer. `kept` is
    False while something of it ends with this process. `starting`: the note of a start that is not reconciled, which holds
    REDUCING; `stored_by_start`: so does what is stored."""

    local: Halt | None
    stored: TradingState | None
    stored_note: str
    kept: bool
    starting: str = ""
    stored_by_start: bool = False

    @property
    def state(self) -> TradingState:
        """The strictest."""
        return max(self._operator, TradingState.REDUCING if self._start_note else TradingState.ACTIVE, key=_rank)

    @property
    def _operator(self) -> TradingState:
        """The stricter of the two, without what a start says."""
        known = [self.local.state] if self.local else []
        known += [self.stored] if self.stored and not self.stored_by_start else []
        return max(known, key=_rank, default=TradingState.ACTIVE)

    @property
    def _start_note(self) -> str:
        return self.starting or (self.stored_note if self.stored_by_start else "")

    @property
    def reason(self) -> str:
        """LIVE_START where nothing but a start holds what is in force."""
        return LIVE_START if self._operator is TradingState.ACTIVE and self._start_note else ""

    @property
    def note(self) -> str:
        """Why."""
        if self.reason:
            return self._start_note
        return self.local.note if self.local and self.local.state is self.state else self.stored_note


@dataclass(frozen=True, slots=True)
class Known:
    """What held when a call came in: the orders that the database may not have had, how many it had got from here, and the
    strictest state."""

    orders: frozenset[str]
    merged: int
    state: TradingState


@dataclass(frozen=True, slots=True)
class Taken:
    """Orders that go into the database now, and where some of them lie that cannot be taken away afterwards."""

    halts: Sequence[Halt]
    fixed: Sequence[Path]


class TradingSwitch:
    """One per process. `file` None keeps an order in memory only until the database has it (tests, one-shot tools)."""

    def __init__(
        self, kit: Kit[Any], file: Path | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._kit = kit
        self._file = file
        self._memory: Halt | None = None
        self._stored: TradingState | None = None
        self._stored_note = ""
        self._stored_by_start = False
        self._starting = ""
        self._now = now
        self._turn = asyncio.Lock()
        self._asked = asyncio.Event()
        self._looked = asyncio.Event()
        self._fault = ""
        self._file_fault = ""
        # Orders that went from here into the database, the newest last; a call waits for seconds, not for a thousand halts.
        self._merged: deque[str] = deque(maxlen=1000)
        self._merged_count = 0
        self._answering = 0
        self._stricter: Callable[[], None] = lambda: None
        if file is not None and not file.parent.is_dir():
            raise Misconfigured(f"HALT_FILE {file}: there is no folder {file.parent}; make it")

    def when_stricter(self, heard: Callable[[], None]) -> None:
        """Who hears at once that less may be allowed than before."""
        self._stricter = heard

    def allows(self, side: Side) -> bool:
        """Whether an order of this side may leave now. Reads the file, so an order of another process counts at once."""
        return self.in_force().state.allows(side)

    def in_force(self) -> InForce:
        """What holds now."""
        # Another order in the file does not keep the one in memory: a resume that is being committed may end that one alone.
        return InForce(
            self._local(),
            self._stored,
            self._stored_note,
            kept=self._memory is None,
            starting=self._starting,
            stored_by_start=self._stored_by_start,
        )

    def hold_start(self, note: str) -> None:
        """Only exits leave from now on, whatever the database says, until `end_start`; `note` is why."""
        self._starting = note

    def end_start(self) -> None:
        """What operators said holds alone again."""
        self._starting = ""

    def _files(self) -> Sequence[Halt]:
        return list(halt_file.pending(self._file).values()) if self._file is not None else []

    def _pending(self, files: Sequence[Halt]) -> Sequence[Halt]:
        """Orders that the database may not have yet."""
        return [*files, self._memory] if self._memory is not None else files

    def _local(self) -> Halt | None:
        return _strictest(self._pending(self._files()))

    async def tighten(self, state: TradingState, note: str) -> bool:
        """In force when this returns, beside whatever is stricter, whatever the database does; True if the database has it
        too. Where it lives until then, `in_force` says."""
        halt = Halt(state, halt_file.clean_note(note), halt_file.now_text(self._now()))
        self._take_in(halt)
        self._kit.log.warning("trading_state_tightened", state=state.value, note=halt.note)
        self._stricter()
        self._looked.clear()
        self._asked.set()
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                while self._local() is not None:
                    await self._looked.wait()
                    self._looked.clear()
        except TimeoutError:
            return False
        return True

    def _take_in(self, halt: Halt) -> None:
        """Into the file; into the memory until it is known to be there, for better halted in memory than not at all."""
        before = self._memory
        stricter = before is not None and before.state.rank > halt.state.rank
        # A resume that knows of the one before must not end this one with it, so the newest names both.
        self._memory = replace(before, order=halt.order) if before is not None and stricter else halt
        if self._written(halt) and self._memory is halt:
            self._memory = None

    def _written(self, halt: Halt, *, beside: bool = False) -> bool:
        """Whether the file has it now."""
        if self._file is None:
            return False
        try:
            halt_file.write(self._file, halt, beside=beside)
        except OSError as error:
            fault = str(error.strerror)
            if fault != self._file_fault:
                self._file_fault = fault
                self._kit.log.error("halt_not_kept", file=str(self._file), error=fault)
            return False
        self._file_fault = ""
        return True

    async def keep(self) -> None:
        """Writes what only the memory has into the file as soon as the file takes it, for ever. The database is tried by
        `run`; neither waits for the other."""
        while True:
            memory = self._memory
            # Beside what lies there, which may be newer: a resume must find each order that it was not asked to end.
            if memory is not None and self._written(memory, beside=True):
                self._memory = None
                self._kit.log.warning("halt_kept", file=str(self._file))
            await asyncio.sleep(_KEEP_SECONDS)

    def known(self) -> Known:
        """What holds now, for a loosening that may have to wait: to be asked before anything is waited for."""
        orders = frozenset(halt.order for halt in self._pending(self._files()))
        return Known(orders, self._merged_count, self.in_force().state)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While a halt is being answered nothing loosens: its answer would not be so."""
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    async def loosen(
        self,
        state: TradingState,
        note: str,
        known: Known,
        remember: Callable[[AsyncConnection, TradingState], Awaitable[T]],
    ) -> T:
        """Sets exactly this state; `remember` is given the one before, within the same transaction. Needs the database.

        It ends what was in force when it was asked for (`known`), and nothing that was ordered since: however long it waited
        for the database, a newer halt stays, and this is refused.
        """
        if self._starting and state is TradingState.ACTIVE:
            raise FailedPrecondition(
                "TRADING_HALTED",
                f"this start is not reconciled: {self._starting}. It ends by itself; `mesh status` and `mesh ledger show` tell "
                "what it waits for",
            )
        async with self._turn:
            answer: T | None = None
            async with self._kit.engine.begin() as connection:
                taken = await self._tell_database(connection)
                before = await store.read_trading_state(connection)
                since = list(self._merged)[max(len(self._merged) - (self._merged_count - known.merged), 0) :]
                newer = {*since, *(halt.order for halt in taken.halts)} - known.orders
                stricter = self._stored is not None and before.state.rank > known.state.rank
                overtaken = bool(newer) or stricter or self._answering > 0
                loosened = not overtaken and not taken.fixed
                if loosened:
                    await set_trading_state(connection, state, note, only_tighten=False)
                    answer = await remember(connection, before.state)
            # The commit tells what the database has. Asking it again could fail, with the resume in force there and not here.
            self._remember(store.StoredTradingState(state, note) if loosened else before)
            stuck = taken.fixed or self._forget(taken.halts)
        if overtaken:
            raise FailedPrecondition(
                "TRADING_HALTED", "trading was halted again after this was asked for; ask again if it shall go on"
            )
        if stuck or answer is None:
            raise FailedPrecondition(
                "MISCONFIGURED",
                f"{', '.join(map(str, stuck))} still halts this executor and cannot be taken away: make its folder "
                "writable, or delete it by hand",
            )
        self._kit.log.warning("trading_state_loosened", state=state.value, note=note)
        return answer

    async def run(self) -> None:
        """Follows the database's state and merges the file into it, for ever. Whatever fails in it changes nothing of what
        is in force: a switch that cannot be read must not take the exits down with it."""
        async with self._kit.notifications.subscribe(CHANNEL) as wakeup:
            while True:
                await self._either(wakeup)
                try:
                    async with asyncio.timeout(self._kit.settings.db_timeout_seconds), self._turn:
                        await self._merge()
                    self._fault = ""
                except Exception as error:
                    self._tell(error)
                self._looked.set()

    def _tell(self, error: Exception) -> None:
        fault = f"{type(error).__name__}: {error}"[:200]
        if fault != self._fault:
            self._kit.log.error("trading_state_not_followed", error=fault)
        self._fault = fault

    async def _either(self, wakeup: Any) -> None:
        """Until the database notifies, an order is given here, or a second is over."""
        waits = [asyncio.ensure_future(wakeup.wait(READ_SECONDS)), asyncio.ensure_future(self._asked.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._asked.clear()

    async def _read(self) -> None:
        async with self._kit.autocommit.connect() as connection:
            found = await store.read_trading_state(connection)
        if found.state is not self._stored:
            self._kit.log.warning("trading_state", state=found.state.value, note=found.note)
        self._remember(found)
        if not found.state.allows(Side.BUY):
            self._stricter()

    def _remember(self, found: store.StoredTradingState) -> None:
        self._stored, self._stored_note, self._stored_by_start = found.state, found.note, found.by_start

    async def _merge(self) -> None:
        """Tells the database what only this process knows, and hears what it has."""
        halts: Sequence[Halt] = ()
        if self._local() is not None:
            async with self._kit.engine.begin() as connection:
                halts = (await self._tell_database(connection)).halts
        # The database is known to have it before the file goes: no moment lies between them.
        await self._read()
        self._forget(halts)

    async def _tell_database(self, connection: AsyncConnection) -> Taken:
        """Writes what only this process knows into the database, and gives it."""
        taken = self._take()
        halt = _strictest(taken.halts)
        if halt is not None:
            await set_trading_state(connection, halt.state, halt.note, only_tighten=True)
        return taken

    def _take(self) -> Taken:
        if self._file is None:
            return Taken(self._pending([]), ())
        files = halt_file.take(self._file)
        clear = halt_file.can_be_cleared(self._file)
        # What could be moved aside can be deleted as well; what lies in the file still could not.
        fixed = [path for path in files if path == self._file or not clear]
        return Taken(self._pending(list(files.values())), fixed)

    def _forget(self, taken: Iterable[Halt]) -> list[Path]:
        """What the database has now, wherever it lies by now; an order given meanwhile is another one and stays. Gives what
        cannot be taken away."""
        orders = {halt.order for halt in taken}
        self._merged.extend(orders)
        self._merged_count += len(orders)
        if self._memory is not None and self._memory.order in orders:
            self._memory = None
        if self._file is None or not orders:
            return []
        found = {path: halt for path, halt in halt_file.pending(self._file).items() if halt.order in orders}
        return [path for path, halt in found.items() if not halt_file.discard(path, halt)]


def _rank(state: TradingState) -> int:
    return state.rank


def _strictest(halts: Iterable[Halt]) -> Halt | None:
    return max(halts, key=lambda halt: halt.state.rank, default=None)
