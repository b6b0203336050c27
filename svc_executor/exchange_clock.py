"""A time of the exchange that is surely over: from it on, an order that is sent now is listed.

A simulated exchange has a time of its own, so neither the machine's time nor what a recommendation claims can say where in
the exchange's list an order stands.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from exchange_client import Exchange
from meshkit.errors import MeshError

_TIMEOUT_SECONDS = 1.5
# An older time is as true; only the lists that begin there grow.
_OLD_SECONDS = 3600.0
_RETRY_SECONDS = 60.0


class ExchangeClock:
    """Reads the exchange's time seldom; `monotonic` measures its age."""

    def __init__(self, exchange: Exchange, log: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._log = log
        self._monotonic = monotonic
        self._known: datetime | None = None
        self._next_read = float("-inf")
        self._turn = asyncio.Lock()

    async def past(self) -> datetime | None:
        """The newest time known, None if the exchange has never told one: a send waits for it seldom, and not for long."""
        # Several first sends at one moment all need the one answer.
        async with self._turn:
            if self._monotonic() >= self._next_read:
                await self._read()
            return self._known

    async def _read(self) -> None:
        self._next_read = self._monotonic() + _RETRY_SECONDS
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                self._known = await self._exchange.market_time()
            self._next_read = self._monotonic() + _OLD_SECONDS
        except (MeshError, TimeoutError) as error:
            self._log.warning("exchange_time_unknown", why=type(error).__name__)
