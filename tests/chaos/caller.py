"""Stands in for the orchestrator and for the operator: asks for an order again and again under the same ids until its fate is
told, whatever breaks in between, and remembers what it was told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import grpc
from sqlalchemy.exc import SQLAlchemyError

from meshkit.errors import from_rpc_error
from tests.drill.executor_calls import PASSING, ExecutorCalls, NotAnswered, answered, new_id
from tests.executor.issuer import Issuer, recommend
from tests.executor.processes import TERMINAL
from tradekit import ids
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc

# Beyond all that an order may take: until then an exit that cannot be had is asked for again.
ANSWER_SECONDS = 240.0
_CALL_SECONDS, _CLOSE_SECONDS = 8.0, 60.0
_PAUSE_SECONDS = 0.1
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200))
# What a later try may mend.
_TRANSPORT = "no answer"
_LATER = (
    _TRANSPORT, "NOTHING_AVAILABLE", "ORDER_UNKNOWN", "OUTCOME_UNKNOWN", "DEPENDENCY_UNAVAILABLE", "DATABASE_UNAVAILABLE",
)  # fmt: skip
# An order, or the code of what kept it.
_Told = tuple[pb.Order | None, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the executor said last of an order: its state and what it filled, or no state and the code of a refusal."""

    order_id: str
    state: str
    filled: Decimal
    refusal: str = ""


class Caller(ExecutorCalls):
    """One per life of a database. `answers` are final ones."""

    def __init__(self, port: int, issuer: Issuer) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        self._executor = pb_grpc.ExecutorServiceStub(self._channel)
        super().__init__(lambda: self._executor)
        self._issuer = issuer
        self._calls: set[Any] = set()
        self.answers: list[Answer] = []

    async def leave(self) -> None:
        """Ends the channel."""
        await self._channel.close()

    async def entry(self, product: str, quote: Decimal) -> pb.ExecuteRecommendationRequest:
        """A BUY as the risk engine lets it through."""
        return await self._approved(Side.BUY, product, quote)

    async def exit(self, product: str, size: Decimal) -> pb.ExecuteRecommendationRequest:
        """A SELL, which needs nobody's word."""
        request = await self._approved(Side.SELL, product, size)
        request.ticket = ""
        return request

    async def _approved(self, side: Side, product: str, size: Decimal) -> pb.ExecuteRecommendationRequest:
        """A new recommendation, once the database takes one: it may be on its way back."""
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return await self._issuer.request(recommend(side, f"{size:f}", product))
            except (OSError, SQLAlchemyError, asyncpg.PostgresError):
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def execute(self, request: pb.ExecuteRecommendationRequest) -> Answer:
        """Asks until the order has ended or cannot be had. NotAnswered."""
        order_id = str(ids.order_id(UUID(request.recommendation.recommendation_id)))

        async def ask() -> _Told:
            response = await self._called(self._executor.ExecuteRecommendation, request, _CALL_SECONDS)
            return response.order, ""

        return await self._until_ended(order_id, ask)

    async def close(self, product: str, request_id: str) -> Answer:
        """An operator's close of a position. NotAnswered."""
        order_id = str(ids.close_order_id(UUID(request_id), product))
        request = pb.ClosePositionsRequest(request_id=request_id, product_ids=[product], note="chaos")

        async def ask() -> _Told:
            receipt = await self._called(self._executor.ClosePositions, request, _CLOSE_SECONDS)
            (outcome,) = receipt.outcomes
            if not outcome.order.order_id:
                return None, outcome.reasons[0].code
            # The receipt stands; how its order went on, the order tells.
            wanted = pb.GetOrderRequest(order_id=order_id)
            found = await self._called(self._executor.GetOrder, wanted, _CALL_SECONDS)
            return found.order, ""

        return await self._until_ended(order_id, ask)

    async def cancel_all(self, product: str) -> None:
        """An operator's cancel of everything of a product. NotAnswered."""
        request = pb.CancelOrdersRequest(request_id=new_id(), product_id=product, note="chaos")
        await answered(self._executor.CancelOrders, request, ANSWER_SECONDS, _CLOSE_SECONDS)

    async def reconcile(self) -> bool:
        """Whether a reconciliation that begins now finds everything equal; False as well where there is no answer."""
        try:
            request = pb.ReconcileRequest(request_id=new_id())
            found = await self._executor.Reconcile(request, timeout=_CALL_SECONDS, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return False
        return bool(found.clean)

    async def serves(self) -> bool:
        """Whether the executor answers now, or within a moment."""
        try:
            await self._executor.GetTradingState(pb.GetTradingStateRequest(), timeout=1, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return False
        return True

    def hang_up(self) -> None:
        """Ends the calls that are under way; their callers ask again."""
        for call in self._calls:
            call.cancel()

    async def _called(self, method: Any, request: Any, seconds: float) -> Any:
        call = method(request, timeout=seconds, wait_for_ready=True)
        self._calls.add(call)
        try:
            return await call
        finally:
            self._calls.discard(call)

    async def _until_ended(self, order_id: str, ask: Callable[[], Awaitable[_Told]]) -> Answer:
        end = time.monotonic() + ANSWER_SECONDS
        last = "nothing"
        while time.monotonic() < end:
            order, refusal = await self._asked(ask)
            if order is not None and order.state in TERMINAL:
                state = str(pb.OrderState.Name(order.state)).removeprefix("ORDER_STATE_")
                return self._heard(Answer(order.order_id, state, Decimal(order.filled_size.value or 0)))
            if order is None and refusal not in _LATER:
                return self._heard(Answer(order_id, "", Decimal(0), refusal))
            last = refusal if order is None else str(pb.OrderState.Name(order.state))
            await asyncio.sleep(_PAUSE_SECONDS)
        raise NotAnswered(f"order {order_id} did not end within {ANSWER_SECONDS:g} s; the last word was {last}")

    async def _asked(self, ask: Callable[[], Awaitable[_Told]]) -> _Told:
        """One try: an order, or the code of what kept it."""
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            passing = error.code() in (*PASSING, grpc.StatusCode.CANCELLED)
            return None, _TRANSPORT if passing else from_rpc_error(error).reason
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None, _TRANSPORT

    def _heard(self, answer: Answer) -> Answer:
        self.answers.append(answer)
        return answer
