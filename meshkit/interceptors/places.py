"""Bounds the streams of health and reflection, which are open to everybody: so many for each caller, each read in time.

They have no policy of their own. Without a bound, one caller that opens watches and reads none of them would grow this
process until it fails everybody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meshkit.errors import DeadlineTooShort, TooManyInFlight
from meshkit.grpc_types import ServicerContext
from meshkit.identity import IdentitySource, UnknownCaller
from meshkit.interceptors.base import BaseInterceptor, Call, is_infrastructure

# A monitor watches two names of a service; a fleet of probes and tools at one address stays far below.
PER_CALLER = 32
IN_ALL = 512
# A reader that has not taken an answer by then has stopped reading.
READ_SECONDS = 10.0


class PlacesInterceptor(BaseInterceptor):
    """Innermost of all, as it takes over the writing of the answers."""

    def __init__(self, source: IdentitySource) -> None:
        self._source = source
        self._taken: Counter[tuple[str, str]] = Counter()

    def applies(self, method: str) -> bool:
        return is_infrastructure(method)

    @asynccontextmanager
    async def wrap(self, call: Call, context: ServicerContext) -> AsyncIterator[None]:
        if not call.streaming:
            yield
            return
        caller = self._caller(call, context)
        if self._taken[caller] >= PER_CALLER:
            raise TooManyInFlight(call.method, PER_CALLER)
        if self._taken.total() >= IN_ALL:
            raise TooManyInFlight(call.method, IN_ALL)
        self._taken[caller] += 1
        # Not when this block is left: a stream that nobody reads takes its room until it is gone.
        # The stubs name a class of their own where grpc takes any callable.
        context.add_done_callback(lambda _: self._left(caller))  # type: ignore[arg-type]
        yield

    def _wrapped(self, handler: Any, call: Call) -> Any:
        inner = super()._wrapped(handler, call)
        if not handler.response_streaming:
            return inner

        async def write(request: Any, context: ServicerContext) -> None:
            async for response in inner(request, context):
                try:
                    async with asyncio.timeout(READ_SECONDS):
                        await context.write(response)
                except TimeoutError:
                    # The status stands behind what is not read. It is left with the core, for a reader that comes back;
                    # this task does not wait for one for ever.
                    asyncio.get_running_loop().call_later(READ_SECONDS, _task().cancel)
                    raise DeadlineTooShort(f"an answer was not read within {READ_SECONDS:g} s") from None

        return write

    def _caller(self, call: Call, context: ServicerContext) -> tuple[str, str]:
        """Who it is, where that is known, and the address without the port: who opens many connections is one caller."""
        try:
            known = self._source(call.metadata, context)
        except UnknownCaller:
            known = None
        peer = context.peer()
        return (known.name if known is not None else "", peer.rpartition(":")[0] if peer.startswith("ip") else peer)

    def _left(self, caller: tuple[str, str]) -> None:
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]


def _task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
