"""Caps a call's time by its method policy and remembers what is left for the calls it makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from meshkit import deadline
from meshkit.errors import DeadlineTooShort
from meshkit.interceptors.around import Around, Call, is_infrastructure
from meshkit.policy import Policy


class DeadlineInterceptor(Around):
    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies = policies

    def applies(self, method: str) -> bool:
        return not is_infrastructure(method)

    @asynccontextmanager
    async def around(self, call: Call, context: Any) -> AsyncIterator[None]:
        given = context.time_remaining()
        cap = self._policies[call.method].deadline_seconds
        known = [seconds for seconds in (given, cap) if seconds is not None]
        seconds = min(known) if known else None
        deadline.set_remaining(seconds)
        if seconds is not None and seconds < deadline.USEFUL_SECONDS:
            raise DeadlineTooShort(f"{seconds * 1000:.0f} ms are left, too little to begin")
        # Within the caller's own deadline gRPC itself cancels the handler; only the cap needs a timer here.
        own_timer = cap if given is None or (cap is not None and cap < given) else None
        try:
            async with asyncio.timeout(own_timer) as timer:
                yield
        except TimeoutError:
            if timer.expired():
                raise DeadlineTooShort(f"took longer than the {cap:g} s this method is allowed") from None
            raise
