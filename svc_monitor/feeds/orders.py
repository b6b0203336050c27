"""The latest orders and their outcome: the newest page, then every change after it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed
from svc_monitor.feeds.latest import STALE_SECONDS, consumed
from svc_monitor.feeds.reading import ReasonSeen
from svc_monitor.pulse import Pulse
from trading.common.v1 import trade_pb2
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc

KEPT = 50


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order; `size` is what was sent, in quote currency for BUY and base units for SELL. One that protects a position has the
    prices of its stop and target, an entry with a limit has that."""

    order_id: str
    recommendation_id: str
    exchange_order_id: str
    product_id: str
    side: str
    state: str
    venue: str
    size: str | None
    filled_size: str | None
    filled_value: str | None
    average_price: str | None
    stop_price: str | None
    target_price: str | None
    limit_price: str | None
    fees: str | None
    reasons: tuple[ReasonSeen, ...]
    send_count: int
    as_of: datetime | None
    created_at: datetime | None
    sequence: int

    @property
    def key(self) -> str:
        return self.order_id


def read(message: pb.Order) -> OrderSeen:
    """The order of a message."""
    side = reading.side(message.side)
    return OrderSeen(
        order_id=message.order_id,
        recommendation_id=message.recommendation_id,
        exchange_order_id=message.exchange_order_id,
        product_id=message.product_id,
        side=side,
        state=reading.word(pb.OrderState, "ORDER_STATE", message.state),
        venue=reading.word(trade_pb2.Venue, "VENUE", message.venue),
        size=reading.number(message, "quote_size" if side == "BUY" else "base_size"),
        filled_size=reading.number(message, "filled_size"),
        filled_value=reading.number(message, "filled_value"),
        average_price=reading.number(message, "average_price"),
        stop_price=reading.number(message, "stop_price"),
        target_price=reading.number(message, "target_price"),
        limit_price=reading.number(message, "limit_price"),
        fees=reading.number(message, "total_fees"),
        reasons=reading.reasons(message.reasons),
        send_count=message.send_count,
        as_of=reading.moment(message, "as_of"),
        created_at=reading.moment(message, "create_time"),
        sequence=message.sequence,
    )


def feed(channel: Any, kit: Kit[Any], news: Pulse) -> tuple[Feed[dict[str, OrderSeen]], Task]:
    """The feed and its task."""
    kept: Feed[dict[str, OrderSeen]] = Feed("orders", STALE_SECONDS, kit)
    stub = pb_grpc.ExecutorServiceStub(channel)

    async def first_page() -> list[OrderSeen]:
        page = await stub.ListOrders(pb.ListOrdersRequest(page_size=KEPT), timeout=CALL_TIMEOUT_SECONDS)
        return [read(order) for order in page.orders]

    def open_watch(after: int) -> Any:
        return stub.WatchOrders(pb.WatchOrdersRequest(after_sequence=after))

    def rows_of(frame: pb.WatchOrdersResponse) -> list[OrderSeen]:
        return [read(order) for order in frame.batch.orders]

    return kept, consumed(kept, kit, KEPT, first_page, open_watch, rows_of, news)
