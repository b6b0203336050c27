"""Positions, cash and equity as the executor's tables say, and the course of equity since the page began to look."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from svc_monitor.pulse import Pulse
from trading.common.v1 import trade_pb2
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc

PACE = Pace(2.0, 6.0)
STALE_SECONDS = 14.0
COURSE_POINTS = 480


@dataclass(frozen=True, slots=True)
class Protection:
    """An order that sells at or below its stop, or at or above its target. `rests`: at the exchange, not in the executor."""

    stop_price: str
    target_price: str
    left_size: str
    rests: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one product."""

    product_id: str
    base_size: str
    average_cost: str | None
    mark_price: str | None
    market_value: str | None
    unrealized_pnl: str | None
    realized_pnl: str | None
    protection: tuple[Protection, ...] = ()


@dataclass(frozen=True, slots=True)
class Balance:
    """Cash of one currency."""

    currency: str
    amount: str


@dataclass(frozen=True, slots=True)
class Account:
    """The account as a whole, in quote currency."""

    holdings: tuple[Holding, ...]
    cash: tuple[Balance, ...]
    opening_balance: str | None
    equity: str | None
    realized_pnl: str | None
    unrealized_pnl: str | None
    total_fees: str | None
    venue: str
    transfers: str | None = None
    unadopted: tuple[Balance, ...] = ()


@dataclass(frozen=True, slots=True)
class CoursePoint:
    """Equity at a moment."""

    at: datetime
    equity: str


def read(message: pb.ListPositionsResponse) -> Account:
    """The account of an answer."""
    return Account(
        holdings=tuple(_holding(position) for position in message.positions),
        cash=tuple(Balance(money.currency, money.amount.value) for money in message.cash),
        opening_balance=reading.number(message, "opening_balance"),
        equity=reading.number(message, "equity"),
        realized_pnl=reading.number(message, "realized_pnl"),
        unrealized_pnl=reading.number(message, "unrealized_pnl"),
        total_fees=reading.number(message, "total_fees"),
        venue=reading.word(trade_pb2.Venue, "VENUE", message.venue),
        transfers=reading.number(message, "transfers"),
        unadopted=tuple(Balance(money.currency, money.amount.value) for money in message.unadopted),
    )


def _holding(message: pb.Position) -> Holding:
    return Holding(
        product_id=message.product_id,
        base_size=message.base_size.value or "0",
        average_cost=reading.number(message, "average_cost"),
        mark_price=reading.number(message, "mark_price"),
        market_value=reading.number(message, "market_value"),
        unrealized_pnl=reading.number(message, "unrealized_pnl"),
        realized_pnl=reading.number(message, "realized_pnl"),
        protection=tuple(
            Protection(
                one.stop_price.value,
                one.target_price.value,
                one.left_size.value,
                one.order_type == pb.ORDER_TYPE_BRACKET,
            )
            for one in message.orders
        ),
    )


def extended(course: tuple[CoursePoint, ...], point: CoursePoint, every: int) -> tuple[tuple[CoursePoint, ...], int]:
    """The course with one more point, and how many looks now make one point.

    When it is full every other point is dropped and points come half as often: the whole time stays in view.
    """
    longer = (*course, point)
    return (longer, every) if len(longer) <= COURSE_POINTS else (longer[::2], every * 2)


class Course:
    """Equity over time since this process started."""

    def __init__(self) -> None:
        self.points: tuple[CoursePoint, ...] = ()
        self._every = 1
        self._looks = 0

    def add(self, at: datetime, equity: str | None) -> None:
        """Notes the equity of now."""
        if equity is None:
            return
        if self._looks % self._every == 0:
            self.points, self._every = extended(self.points, CoursePoint(at, equity), self._every)
        self._looks += 1


def feed(channel: Any, kit: Kit[Any], course: Course, news: Pulse) -> tuple[Feed[Account], Task]:
    """The feed and its task; each answer is also a point of the course."""
    kept: Feed[Account] = Feed("account", STALE_SECONDS, kit)
    stub = pb_grpc.ExecutorServiceStub(channel)

    async def ask() -> Account:
        account = read(await stub.ListPositions(pb.ListPositionsRequest(), timeout=CALL_TIMEOUT_SECONDS))
        course.add(kit.clock.now(), account.equity)
        return account

    return kept, polled(kept, PACE, ask, news)
