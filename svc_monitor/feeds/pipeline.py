"""The funnel as the orchestrator counts it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from svc_monitor.pulse import Pulse
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc

# Counting is work for the database that grows with its tables: it has no more than a quarter of one connection for it. The
# slowest answer that is waited for is still fresh when the next one comes.
REST = 3.0
PACE = Pace(1.0, 5.0, REST)
STALE_SECONDS = CALL_TIMEOUT_SECONDS * (1 + REST) + 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many items of a stage ended so, by first reason."""

    outcome: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the funnel."""

    name: str
    total: int
    outcomes: tuple[Outcome, ...]
    watermark: datetime | None
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The whole funnel."""

    stages: tuple[Stage, ...]
    open_recommendations: int
    waiting_recommendations: int
    open_orders: int
    resting_orders: int
    unknown_orders: int
    market_time: datetime | None


def read(message: pb.GetPipelineResponse) -> Pipeline:
    """The funnel of an answer."""
    return Pipeline(
        stages=tuple(_stage(stage) for stage in message.stages),
        open_recommendations=message.open_recommendations,
        waiting_recommendations=message.waiting_recommendations,
        open_orders=message.open_orders,
        resting_orders=message.resting_orders,
        unknown_orders=message.unknown_orders,
        market_time=reading.moment(message, "market_time"),
    )


def _stage(message: pb.StageStatus) -> Stage:
    return Stage(
        name=message.stage,
        total=message.total,
        outcomes=tuple(Outcome(found.outcome, found.reason, found.count) for found in message.outcomes),
        watermark=reading.moment(message, "watermark"),
        lag_seconds=message.lag.ToNanoseconds() / 1e9 if message.HasField("lag") else None,
    )


def feed(channel: Any, kit: Kit[Any], news: Pulse) -> tuple[Feed[Pipeline], Task]:
    """The feed and its task."""
    kept: Feed[Pipeline] = Feed("pipeline", STALE_SECONDS, kit)
    stub = pb_grpc.OrchestratorServiceStub(channel)

    async def ask() -> Pipeline:
        return read(await stub.GetPipeline(pb.GetPipelineRequest(), timeout=CALL_TIMEOUT_SECONDS))

    return kept, polled(kept, PACE, ask, news)
