"""Lets a call in while its method has room: limits per method, so that a busy one never starves health or another.

A draining server takes no new streams; they would be cut off in a moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from meshkit.errors import TooManyInFlight, Unavailable
from meshkit.interceptors.around import Around, Call, is_infrastructure
from meshkit.policy import Policy

_REOPEN_SECONDS = 1.0


class AdmissionInterceptor(Around):
    def __init__(self, policies: Mapping[str, Policy], draining: asyncio.Event) -> None:
        self._policies = policies
        self._draining = draining
        self._running: Counter[str] = Counter()

    def applies(self, method: str) -> bool:
        return not is_infrastructure(method)

    @asynccontextmanager
    async def around(self, call: Call, context: Any) -> AsyncIterator[None]:
        if call.streaming and self._draining.is_set():
            raise Unavailable("DRAINING", "the server is going away; open the stream again", _REOPEN_SECONDS)
        limit = self._policies[call.method].max_in_flight
        if limit and self._running[call.method] >= limit:
            raise TooManyInFlight(call.method, limit)
        self._running[call.method] += 1
        try:
            yield
        finally:
            self._running[call.method] -= 1
