"""Creates recommendations at the bridge as the operator does: as fast as it takes them, or at a pace."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc

from tradekit import ids
from trading.bridge.v1 import bridge_service_pb2 as bridge
from trading.common.v1 import decimal_pb2

# Enough to keep the bridge busy; the contract lets a caller have more in flight.
CALLS_AT_ONCE = 8
QUOTE_SIZE = "12"
CALL_SECONDS = 30.0
ATTEMPTS = 5
_AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
)


@dataclass
class Load:
    """What was asked for. `late` holds how long after its time each call began, `calls` how long each took, in seconds;
    `refused` counts what the bridge did not take, by status, repeated ones as 'again'."""

    wanted: int
    ids: list[UUID] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    created_in: float = 0.0
    """Seconds from the first call to the last answer."""


class Creator:
    """Creates entries over the products in turn; `progress` hears of each."""

    def __init__(self, stub: Any, products: Sequence[str], progress: Callable[[], None] = lambda: None) -> None:
        self._stub = stub
        self._products = itertools.cycle(products)
        self._progress = progress

    async def burst(self, count: int) -> Load:
        """As fast as the bridge answers, as many calls at once as it allows."""
        load, began = Load(count), time.monotonic()
        places = iter(range(count))

        async def worker() -> None:
            for _ in places:
                await self._create(load, None)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(CALLS_AT_ONCE, count)):
                group.create_task(worker())
        load.created_in = time.monotonic() - began
        return load

    async def paced(self, per_second: float, seconds: float) -> Load:
        """One each 1/per_second, whether or not those before it were answered: a slow mesh gets no easier load. A call waits
        for its turn where too many are unanswered; that wait is part of `late`."""
        count = max(1, round(per_second * seconds))
        load, began, turns = Load(count), time.monotonic(), asyncio.Semaphore(CALLS_AT_ONCE)

        async def one(due: float) -> None:
            async with turns:
                await self._create(load, due)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = began + number / per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(one(due))
        load.created_in = time.monotonic() - began
        return load

    async def _create(self, load: Load, due: float | None) -> None:
        request = bridge.CreateRecommendationRequest(
            request_id=str(ids.new_request_id()),
            product_id=next(self._products),
            side="SIDE_BUY",
            quote_size=decimal_pb2.Decimal(value=QUOTE_SIZE),
            note="bench",
        )
        began = time.monotonic()
        if due is not None:
            load.late.append(max(0.0, began - due))
        for attempt in range(ATTEMPTS):
            try:
                made = await self._stub.CreateRecommendation(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                code = error.code()
                if code not in _AGAIN or attempt == ATTEMPTS - 1:
                    load.refused[f"{code.name}: {error.details() or ''}"[:120]] += 1
                    break
                load.refused[f"{code.name}, asked again"] += 1
                await asyncio.sleep(0.1 * 2**attempt)
            else:
                load.ids.append(UUID(made.record.recommendation.recommendation_id))
                load.calls.append(time.monotonic() - began)
                break
        self._progress()
