"""Caps a call's time by its method policy and remembers what is left for the calls it makes.

A unary call is ended a moment before its time is over, so that its caller hears what it was waiting for: a database that
hangs is an outage, whatever the deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from meshkit import database, deadline
from meshkit.errors import DeadlineTooShort
from meshkit.interceptors.around import Around, Call, is_infrastructure
from meshkit.policy import Effect, Policy

# Kept back of a unary call's time for its error to reach the caller: this share of it, and never more than this.
_ANSWER_SHARE, _ANSWER_SECONDS = 0.1, 0.25


class DeadlineInterceptor(Around):
    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies = policies

    def applies(self, method: str) -> bool:
        return not is_infrastructure(method)

    @asynccontextmanager
    async def around(self, call: Call, context: Any) -> AsyncIterator[None]:
        given = context.time_remaining()
        policy = self._policies[call.method]
        cap = policy.deadline_seconds
        known = [seconds for seconds in (given, cap) if seconds is not None]
        seconds = min(known) if known else None
        deadline.set_remaining(seconds)
        if seconds is not None and seconds < deadline.USEFUL_SECONDS:
            raise DeadlineTooShort(f"{seconds * 1000:.0f} ms are left, too little to begin")
        try:
            async with asyncio.timeout(_patience(policy, seconds, given)) as timer:
                yield
        except TimeoutError as error:
            if not timer.expired():
                raise
            # An effect that may not be repeated is in doubt now, and only DEADLINE_EXCEEDED says so.
            if (
                policy.effect is not Effect.ONCE
                and error.__cause__ is not None
                and database.from_driver(error.__cause__)
            ):
                raise database.unavailable("the database did not answer in the time there was") from None
            raise DeadlineTooShort(f"did not end within the {seconds:.3g} s it had") from None


def _patience(policy: Policy, seconds: float | None, given: float | None) -> float | None:
    """Time until the call is ended here. A stream has its caller's whole deadline, at whose end gRPC itself cancels."""
    if seconds is None:
        return None
    if policy.streaming:
        return seconds if given is None or seconds < given else None
    return seconds - min(seconds * _ANSWER_SHARE, _ANSWER_SECONDS)
