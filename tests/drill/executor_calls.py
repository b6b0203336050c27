"""An operator's calls of the executor, each repeated until it is answered.

A repeated call has the same request_id, so it is the same close and the same adjustment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import grpc

from tradekit import ids
from trading.common.v1 import decimal_pb2
from trading.executor.v1 import executor_service_pb2 as executor
from trading.executor.v1 import ledger_pb2

CALL_SECONDS = 5.0
ADJUST_SECONDS = CLOSE_SECONDS = 60.0
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN)


class NotAnswered(Exception):
    """A call got no answer within its bound."""


class ExecutorCalls:
    """`stub` gives the executor's stub as it is to be called now."""

    def __init__(self, stub: Callable[[], Any]) -> None:
        self._stub = stub

    async def close_position(self, product: str) -> str:
        """Sells a position as `mesh close` does; the receipt in words."""
        request = executor.ClosePositionsRequest(request_id=new_id(), product_ids=[product], note="drill")
        try:
            receipt = await answered(self._stub().ClosePositions, request, CLOSE_SECONDS, CLOSE_SECONDS)
        except grpc.aio.AioRpcError as error:
            return f"refused: {error.details()}"
        outcome = receipt.outcomes[0]
        codes = ",".join(reason.code for reason in outcome.reasons)
        return f"order {outcome.order.order_id or 'none'}, {outcome.remaining_size.value or 0} remain {codes}".strip()

    async def adjust(self, currency: str, amount: Decimal) -> Decimal:
        """Books what strangers moved, previewed first; what the executor says it took of the position. NotAnswered."""
        end = time.monotonic() + ADJUST_SECONDS
        while True:
            try:
                return await self._adjusted(currency, amount)
            except grpc.aio.AioRpcError as error:
                # LEDGER_MOVED: something was booked since the preview. Out of range: coins of a fill went that the mesh has yet
                # to hear of.
                passing = error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)
                if not passing or time.monotonic() > end:
                    raise
            await asyncio.sleep(0.2)

    async def _adjusted(self, currency: str, amount: Decimal) -> Decimal:
        change = decimal_pb2.Decimal(value=f"{amount:f}")
        wanted = ledger_pb2.AdjustLedgerRequest(
            request_id=new_id(), currency=currency, amount=change, kind="ADJUSTMENT_KIND_TRADE", note="drill"
        )
        preview = ledger_pb2.AdjustLedgerRequest()
        preview.CopyFrom(wanted)
        preview.preview = True
        seen = await answered(self._stub().AdjustLedger, preview, ADJUST_SECONDS, ADJUST_SECONDS)
        wanted.expected_difference.CopyFrom(seen.before.difference)
        done = await answered(self._stub().AdjustLedger, wanted, ADJUST_SECONDS, ADJUST_SECONDS)
        return Decimal(done.position_before.value or 0) - Decimal(done.position_after.value or 0)


async def answered(call: Any, request: Any, seconds: float, each: float = CALL_SECONDS) -> Any:
    """The answer of a call that is repeated for so long. NotAnswered; AioRpcError for what repeating does not mend."""
    end = time.monotonic() + seconds
    why = ""
    while time.monotonic() < end:
        try:
            return await call(request, timeout=each)
        except grpc.aio.AioRpcError as error:
            if error.code() not in PASSING:
                raise
            why = f"{error.code().name}: {error.details()}"
        await asyncio.sleep(0.1)
    raise NotAnswered(f"no answer within {seconds:g} s; the last was {why}")


def new_id() -> str:
    """A request id."""
    return str(ids.new_request_id())
