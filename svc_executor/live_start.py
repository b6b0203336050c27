"""A start with real money begins in REDUCING: exits leave, entries do not, until this process has found the account as the
ledger has it. Then it ends what it began, and nothing that an operator said.

What it waits for is what entries wait for everywhere: a pass that got through, no order unknown, every balance as the
ledger has it; coins that were never adopted are nobody's business here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from meshkit.errors import MeshError
from meshkit.kit import Kit
from schema.trading_state import begin_start, end_start
from svc_executor.trading_switch import LIVE_START, TradingSwitch

_PAUSE_SECONDS = 0.5
HELD = f"{LIVE_START}: real money; no entry leaves until orders and balances of this start are reconciled"
_ENDED = f"{LIVE_START}: reconciled"


class LiveStart:
    """Holds the switch from its making on. `check_entries` raises while the account is not reconciled."""

    def __init__(self, kit: Kit[Any], switch: TradingSwitch, check_entries: Callable[[], Awaitable[None]]) -> None:
        self._kit = kit
        self._switch = switch
        self._check_entries = check_entries
        self._why = ""
        switch.hold_start(HELD)

    async def run(self) -> None:
        """Stores that it holds, waits, and ends it. The database may be away for as long as it likes: the hold is here."""
        await self._done(self._begin)
        await self._done(self._end)
        # A task of a service must not end by itself.
        await asyncio.get_running_loop().create_future()

    async def _done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Tries a step until it gets through, and logs each new reason why it does not."""
        while True:
            try:
                await step()
                return
            except MeshError as error:
                if error.message != self._why:
                    self._why = error.message
                    self._kit.log.warning("live_start_waits", why=error.message)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _begin(self) -> None:
        async with self._kit.engine.begin() as connection:
            stored = await begin_start(connection, HELD)
        self._kit.log.warning("live_start_held", stored=stored)

    async def _end(self) -> None:
        await self._check_entries()
        async with self._kit.engine.begin() as connection:
            active = await end_start(connection, _ENDED)
        self._switch.end_start()
        self._kit.log.warning("live_start_reconciled", active=active)
