"""A validator, a risk engine and an executor that keep the contract: stored answers for repeated ids, real work streams,
one order per recommendation. Each can be told to fail."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from meshkit import lifecycle
from meshkit.errors import Aborted, FailedPrecondition, MeshError, NotFound, Unavailable, code_number
from meshkit.kit import Kit
from meshkit.serve import Registration, ServiceSpec
from meshkit.settings import KitSettings
from meshkit.stream import AnswerFrames, answer_items
from tradekit import ids, wire
from trading.common.v1 import error_pb2
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_rpc
from trading.risk.v1 import risk_service_pb2 as risk_pb
from trading.risk.v1 import risk_service_pb2_grpc as risk_rpc
from trading.validator.v1 import validator_service_pb2 as validator_pb
from trading.validator.v1 import validator_service_pb2_grpc as validator_rpc

D = Decimal
Hook = Callable[[Any], Awaitable[Any]]
AS_OF = datetime(2025, 6, 15, 15, tzinfo=UTC)


def unavailable(*_: Any) -> MeshError:
    """The error of a peer that went away."""
    return Unavailable("DEPENDENCY_UNAVAILABLE", "gone")


def first_time_only(items: set[str] | None = None) -> Any:
    """A hook that fails the first call for each item, as a connection lost at that moment."""
    met: Counter[str] = Counter()

    async def hook(request: Any) -> None:
        item = request.recommendation.recommendation_id
        met[item] += 1
        if met[item] == 1 and (items is None or item in items):
            raise unavailable()

    return hook


def _item_error(request: Any, error: MeshError) -> error_pb2.ItemError:
    return error_pb2.ItemError(
        request_id=request.request_id,
        recommendation_id=request.recommendation.recommendation_id,
        code=code_number(error),
        reason=error_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=error.message,
    )


class _Stage:
    """What the two stream stages share: one stored answer per recommendation, and breaks after a number of items."""

    def __init__(self, kit: Kit[Any]) -> None:
        self.kit = kit
        self.asked: list[str] = []
        self.before: Hook | None = None
        # For each stream opened, in turn: it is dropped when it has received this many items, before their answers.
        self.drops: list[int] = []
        self.opened = 0

    async def converse(self, requests: AsyncIterator[Any], handle: Any, messages: tuple[Any, Any, str]) -> Any:
        response, opened, answer = messages
        left = self.drops.pop(0) if self.drops else None
        self.opened += 1

        async def received() -> AsyncIterator[Any]:
            nonlocal left
            async for frame in requests:
                yield frame
                if frame.WhichOneof("frame") == "item" and left is not None:
                    left -= 1
                    if left <= 0:
                        raise unavailable()

        async def answered(frame: Any) -> Any:
            self.asked.append(frame.item.recommendation.recommendation_id)
            if self.before is not None:
                await self.before(frame.item)
            found = handle(frame.item)
            return response(answer={"request_id": frame.item.request_id, answer: found})

        frames: AnswerFrames[Any, Any] = AnswerFrames(
            is_opening=lambda frame: frame.WhichOneof("frame") == "open",
            key_of=lambda frame: frame.item.request_id if frame.WhichOneof("frame") == "item" else "",
            opened=lambda credit: response(opened=opened(max_in_flight=credit)),
            heartbeat=lambda: response(heartbeat=wire.heartbeat_message(AS_OF, 0)),
            draining=lambda seconds: response(draining=wire.draining_message()),
            item_error=lambda frame, error: response(item_error=_item_error(frame.item, error)),
        )
        async for frame in answer_items(received(), answered, frames=frames, kit=self.kit, max_in_flight=4):
            yield frame


class Validator(_Stage, validator_rpc.ValidatorServiceServicer):
    """Approves whatever it is not told to reject; a recommendation reviewed before gives the stored answer."""

    def __init__(self, kit: Kit[Any]) -> None:
        super().__init__(kit)
        self.rejects: set[str] = set()
        self.change: Callable[[validator_pb.Validation], None] | None = None
        self.stored: dict[str, validator_pb.Validation] = {}

    def _review(self, request: Any) -> validator_pb.Validation:
        item = request.recommendation.recommendation_id
        assert request.recommendation.side == 1, "an exit never comes here"
        if item not in self.stored:
            rejected = request.recommendation.product_id in self.rejects
            review = validator_pb.Review(reviewer="rules", outcome=2 if rejected else 1, enforced=True)
            if rejected:
                review.reasons.add(code="LOW_EDGE", scope="request")
            found = validator_pb.Validation(
                validation_id=str(uuid4()),
                recommendation_id=item,
                verdict=2 if rejected else 1,
                decided_by="rules",
                reviews=[review],
            )
            if self.change is not None:
                self.change(found)
            self.stored[item] = found
        return self.stored[item]

    async def StreamValidations(self, request_iterator: Any, context: Any) -> Any:
        kinds = (validator_pb.StreamValidationsResponse, validator_pb.StreamValidationsOpened, "validation")
        async for frame in self.converse(request_iterator, self._review, kinds):
            yield frame


class Risk(_Stage, risk_rpc.RiskServiceServicer):
    """Approves with a ticket per attempt; a lost reservation gives the next attempt, any other repetition the stored one."""

    def __init__(self, kit: Kit[Any]) -> None:
        super().__init__(kit)
        self.decisions: dict[str, tuple[int, str]] = {}
        self.lost: set[str] = set()
        self.change: Callable[[risk_pb.Assessment], None] | None = None
        self.attempts: Counter[str] = Counter()
        self.stored: dict[str, risk_pb.Assessment] = {}

    def _assess(self, request: Any) -> risk_pb.Assessment:
        recommendation = request.recommendation
        item = recommendation.recommendation_id
        if item in self.stored and item not in self.lost:
            return self.stored[item]
        self.lost.discard(item)
        self.attempts[item] += 1
        asked = (recommendation.quote_size if recommendation.side == 1 else recommendation.base_size).value
        decision, size = self.decisions.get(recommendation.product_id, (1, asked))
        found = risk_pb.Assessment(
            assessment_id=str(uuid4()),
            recommendation_id=item,
            attempt=self.attempts[item],
            decision=decision,  # type: ignore[arg-type]
            requested_size={"value": asked},
            adjusted_size={"value": size},
            ticket="" if decision == 3 else f"{item}/{self.attempts[item]}",
        )
        if decision != 1:
            found.reasons.add(code="PORTFOLIO_HEAT", limit="0.06", observed="0.07", unit="ratio", scope="account")
        if self.change is not None:
            self.change(found)
        self.stored[item] = found
        return found

    async def StreamAssessments(self, request_iterator: Any, context: Any) -> Any:
        kinds = (risk_pb.StreamAssessmentsResponse, risk_pb.StreamAssessmentsOpened, "assessment")
        async for frame in self.converse(request_iterator, self._assess, kinds):
            yield frame


class Executor(executor_rpc.ExecutorServiceServicer):
    """At most one order per recommendation, whatever is asked and however often; refuses what has no valid ticket."""

    def __init__(self, risk: Risk) -> None:
        self._risk = risk
        self.orders: dict[str, executor_pb.Order] = {}
        self.executed: list[str] = []
        self.created: list[tuple[str, str]] = []
        self.without_ticket: list[str] = []
        self.states: dict[str, int] = {}
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.on_get: Hook | None = None

    async def ExecuteRecommendation(self, request: Any, context: Any) -> executor_pb.ExecuteRecommendationResponse:
        recommendation = request.recommendation
        item = recommendation.recommendation_id
        self.executed.append(item)
        if self.before is not None:
            await self.before(request)
        if item not in self.orders:
            assessed = self._risk.stored.get(item)
            if item in self._risk.lost:
                raise Aborted("RESERVATION_LOST", "the reservation is not held any more")
            if recommendation.side == 2 and not request.ticket:
                self.without_ticket.append(item)
            elif (
                assessed is None or request.ticket != assessed.ticket or not _same(request.size, assessed.adjusted_size)
            ):
                raise FailedPrecondition("TICKET_REFUSED", f"no ticket for {request.size.value}")
            state = self.states.get(recommendation.product_id, 4)
            self.created.append((item, recommendation.product_id))
            order = executor_pb.Order(
                order_id=str(ids.order_id(UUID(item))),
                recommendation_id=item,
                product_id=recommendation.product_id,
                side=recommendation.side,
                state=state,  # type: ignore[arg-type]
                order_type="ORDER_TYPE_MARKET",
                filled_size={"value": "0.01" if state == 4 else "0"},
            )
            if state == 6:
                order.reasons.add(code="INSUFFICIENT_FUND", scope="account")
            self.orders[item] = order
        if self.after is not None:
            await self.after(request)
        return executor_pb.ExecuteRecommendationResponse(order=self.orders[item])

    async def GetOrder(self, request: Any, context: Any) -> executor_pb.GetOrderResponse:
        if self.on_get is not None:
            await self.on_get(request)
        order = self.orders.get(request.recommendation_id)
        if order is None:
            raise NotFound("order", request.recommendation_id)
        return executor_pb.GetOrderResponse(order=order)

    def settle(self, state: int = 4) -> None:
        for order in self.orders.values():
            if order.state in (1, 2, 3):
                order.state = state  # type: ignore[assignment]
                order.filled_size.value = "0.01" if state == 4 else "0"


def _same(size: Any, other: Any) -> bool:
    return D(size.value) == D(other.value)


class StandIns:
    """The three services on one port, through the same kit as the real ones."""

    def __init__(self) -> None:
        self.validator: Validator
        self.risk: Risk
        self.executor: Executor
        self.port = 0

    def _build(self, settings: KitSettings, kit: Kit[KitSettings]) -> ServiceSpec:
        self.validator, self.risk = Validator(kit), Risk(kit)
        self.executor = Executor(self.risk)
        return ServiceSpec(
            servicers=[
                Registration(
                    validator_rpc.add_ValidatorServiceServicer_to_server,
                    self.validator,
                    "trading.validator.v1.ValidatorService",
                ),
                Registration(risk_rpc.add_RiskServiceServicer_to_server, self.risk, "trading.risk.v1.RiskService"),
                Registration(
                    executor_rpc.add_ExecutorServiceServicer_to_server,
                    self.executor,
                    "trading.executor.v1.ExecutorService",
                ),
            ]
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        settings = KitSettings(
            service_name="stand-ins",
            port=0,
            db_host="/nowhere",
            db_name="x",
            db_user="x",
            drain_seconds=0.1,
            drain_notice_seconds=0.0,
        )
        async with served(await lifecycle.create(settings, self._build)) as service:
            self.port = service.port
            yield


@contextlib.asynccontextmanager
async def served(service: lifecycle.Service) -> AsyncIterator[lifecycle.Service]:
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(lambda _: started.set_result(None)))
    try:
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield service
    finally:
        service.stop()
        service.stop()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 60)
