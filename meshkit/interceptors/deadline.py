"""Caps a call's time by its method policy and remembers what is left for the calls it makes.

A unary call is ended a moment before its time is over, so that its caller hears what it was waiting for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from meshkit import deadline
from meshkit.errors import DeadlineTooShort
from meshkit.grpc_types import ServicerContext
from meshkit.handler_timeout import ended_after, with_time_to_answer
from meshkit.interceptors.base import BaseInterceptor, Call, is_infrastructure
from meshkit.policy import Effect, Policy


class DeadlineInterceptor(BaseInterceptor):
    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies = policies

    def applies(self, method: str) -> bool:
        return not is_infrastructure(method)

    @asynccontextmanager
    async def wrap(self, call: Call, context: ServicerContext) -> AsyncIterator[None]:
        given = context.time_remaining()
        policy = self._policies[call.method]
        cap = policy.deadline_seconds
        known = [seconds for seconds in (given, cap) if seconds is not None]
        seconds = min(known) if known else None
        deadline.set_remaining(seconds)
        if seconds is not None and seconds < deadline.USEFUL_SECONDS:
            raise DeadlineTooShort(f"{seconds * 1000:.0f} ms are left, too little to begin")
        handler_timeout = _handler_timeout(policy, seconds, given)
        async with ended_after(handler_timeout, seconds, repeatable=policy.effect is not Effect.ONCE):
            yield


def _handler_timeout(policy: Policy, seconds: float | None, given: float | None) -> float | None:
    """Time until the call is ended here. A stream has its caller's whole deadline, at whose end gRPC itself cancels."""
    if seconds is None:
        return None
    if policy.streaming:
        return seconds if given is None or seconds < given else None
    return with_time_to_answer(seconds)
