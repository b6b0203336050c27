"""The operator's switch as the executor obeys it: it is in force there whatever the database or other services do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from svc_monitor.pulse import Pulse
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc
from trading.risk.v1 import risk_service_pb2 as risk_pb

CHANNEL = "trading_state"
# A halt that the database does not have is told by nobody: it is found by asking.
PACE = Pace(1.0, 3.0)
STALE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Trading:
    """The state in force and its note; `stored` is False while the database does not have it, `kept` while some of it ends
    with the executor's process. `reason`: what holds it where no operator does."""

    state: str
    note: str = ""
    stored: bool = True
    kept: bool = True
    reason: str = ""


def read(message: pb.GetTradingStateResponse) -> Trading:
    """The switch of an answer."""
    state = reading.word(risk_pb.TradingState, "TRADING_STATE", message.state)
    return Trading(
        state,
        message.note,
        stored=message.local_state != message.state or message.stored_state == message.state,
        kept=message.kept or message.local_state == risk_pb.TRADING_STATE_UNSPECIFIED,
        reason=message.reason,
    )


def feed(channel: Any, kit: Kit[Any]) -> tuple[Feed[Trading], Sequence[Task]]:
    """The feed, the task that asks, and the one that hears at once of what the database has."""
    kept: Feed[Trading] = Feed("trading", STALE_SECONDS, kit)
    news = Pulse()
    stub = pb_grpc.ExecutorServiceStub(channel)

    async def ask() -> Trading:
        return read(await stub.GetTradingState(pb.GetTradingStateRequest(), timeout=CALL_TIMEOUT_SECONDS))

    async def listen() -> None:
        async with kit.notifications.subscribe(CHANNEL) as wakeup:
            while True:
                if await wakeup.wait(60.0):
                    news.beat()

    return kept, (polled(kept, PACE, ask, news), Task("listen-trading-state", listen))
