"""The portfolio as the risk engine sees it: trading state, locks, heat, drawdown."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from svc_monitor.pulse import Pulse
from trading.risk.v1 import risk_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2_grpc as pb_grpc

PACE = Pace(2.0, 6.0)
STALE_SECONDS = 14.0


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock in force; without an end it waits for an operator."""

    code: str
    scope: str
    until: datetime | None
    observed: str
    limit: str


@dataclass(frozen=True, slots=True)
class ProductRisk:
    """One product's part."""

    product_id: str
    exposure: str | None
    sigma_14d: float | None
    heat: float


@dataclass(frozen=True, slots=True)
class PortfolioRisk:
    """The whole; heat, drawdown and daily loss are shares of equity."""

    equity: str | None
    cash: str | None
    exposure: str | None
    heat: float
    drawdown: float
    daily_loss: float
    high_water_mark: str | None
    held_reservations: int
    products: tuple[ProductRisk, ...]
    locks: tuple[Lock, ...]
    as_of: datetime | None


def read(message: pb.GetPortfolioRiskResponse) -> PortfolioRisk:
    """The portfolio of an answer."""
    return PortfolioRisk(
        equity=reading.number(message, "equity"),
        cash=reading.number(message, "cash"),
        exposure=reading.number(message, "exposure"),
        heat=message.heat,
        drawdown=message.drawdown,
        daily_loss=message.daily_loss,
        high_water_mark=reading.number(message, "high_water_mark"),
        held_reservations=message.held_reservations,
        products=tuple(_product(position) for position in message.positions),
        locks=tuple(
            Lock(lock.code, lock.scope, reading.moment(lock, "until_time"), lock.reason.observed, lock.reason.limit)
            for lock in message.locks
        ),
        as_of=reading.moment(message, "as_of"),
    )


def _product(message: pb.PositionRisk) -> ProductRisk:
    sigma = message.sigma_14d if message.HasField("sigma_14d") else None
    return ProductRisk(message.product_id, reading.number(message, "exposure"), sigma, message.heat)


def feed(channel: Any, kit: Kit[Any], news: Pulse) -> tuple[Feed[PortfolioRisk], Task]:
    """The feed and its task."""
    kept: Feed[PortfolioRisk] = Feed("risk", STALE_SECONDS, kit)
    stub = pb_grpc.RiskServiceStub(channel)

    async def ask() -> PortfolioRisk:
        return read(await stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=CALL_TIMEOUT_SECONDS))

    return kept, polled(kept, PACE, ask, news)
