"""Lets a call in while its method has room for its caller.

Limits are per method, so that a busy one never starves health or another, and within a method no caller takes all:
streams that idle in somebody's hands must not keep the pipeline's own out. With authentication off nobody can be told
from anybody else, so then only the method's limit holds.

A draining server takes no new streams; they would be cut off in a moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from meshkit.errors import TooManyInFlight, Unavailable
from meshkit.grpc_types import ServicerContext
from meshkit.identity import current_caller
from meshkit.interceptors.base import BaseInterceptor, Call, is_infrastructure
from meshkit.policy import Policy

_REOPEN_SECONDS = 1.0


class AdmissionInterceptor(BaseInterceptor):
    def __init__(self, policies: Mapping[str, Policy], draining: asyncio.Event, *, by_caller: bool) -> None:
        self._policies = policies
        self._draining = draining
        self._by_caller = by_caller
        self._running: Counter[str] = Counter()
        self._running_of: Counter[tuple[str, str]] = Counter()

    def applies(self, method: str) -> bool:
        return not is_infrastructure(method)

    @asynccontextmanager
    async def wrap(self, call: Call, context: ServicerContext) -> AsyncIterator[None]:
        if call.streaming and self._draining.is_set():
            raise Unavailable("DRAINING", "the server is going away; open the stream again", _REOPEN_SECONDS)
        caller = current_caller().name
        self._require_room(call.method, caller)
        self._running[call.method] += 1
        self._running_of[call.method, caller] += 1
        try:
            yield
        finally:
            self._running[call.method] -= 1
            self._running_of[call.method, caller] -= 1

    def _require_room(self, method: str, caller: str) -> None:
        policy = self._policies[method]
        limit = policy.max_in_flight
        if limit and self._running[method] >= limit:
            raise TooManyInFlight(method, limit)
        quota = policy.quota(caller)
        if limit and self._by_caller and self._running_of[method, caller] >= quota:
            whose = f"the most that {caller} may have of {limit}: the rest is kept for other callers"
            raise TooManyInFlight(method, quota, whose=whose)
