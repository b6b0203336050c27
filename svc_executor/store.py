"""The SQL of orders: every send counted before it leaves, every change with its sequence, and orders with their fills.

Locks are always taken in one order: account, recommendation, order, stream head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from exchange_client import Bracket, Limit
from schema import streams
from schema.base import Json, Time
from schema.execution import orders, positions
from schema.operations import stream_heads
from schema.trading_state import SET_BY_START
from schema.views.executor import executor_trading_state
from svc_executor.order_resolution import WATCH, OrderFacts
from tradekit.reasons import Reason, reasons_from_json, reasons_to_json
from tradekit.sizes import NO_BASE, price_of
from tradekit.states import (
    ORDER_TERMINAL,
    ORDER_UNDER_WAY,
    ExitTrigger,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
    TradingState,
    Venue,
)
from tradekit.units import BaseSize, OrderSize, Price, ProductId, QuoteSize

_NOT_DONE = [state.value for state in OrderState if state not in ORDER_TERMINAL]


@dataclass(frozen=True, slots=True)
class StoredFill:
    """A fill as it is told."""

    fill_id: str
    trade_id: str
    price: Price
    size: BaseSize
    commission: QuoteSize
    liquidity: str
    trade_time: datetime
    booking_sequence: int


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order row with its fills in the order they happened, and the machine time it was read at."""

    order_id: UUID
    recommendation_id: UUID | None
    request_hash: str
    product_id: ProductId
    side: Side
    quote_size: QuoteSize | None
    base_size: BaseSize | None
    body: str
    state: OrderState
    exchange_order_id: str | None
    filled_size: BaseSize
    filled_value: QuoteSize
    total_fees: QuoteSize
    reasons: tuple[Reason, ...]
    venue: Venue
    as_of: datetime
    expire_at: datetime
    send_count: int
    sent_at: datetime | None
    sequence: int
    created_at: datetime
    updated_at: datetime
    note: str
    cancel_requested_at: datetime | None
    search_from: datetime | None
    done_at: datetime | None
    done_size: BaseSize | None
    watch_until: datetime | None
    adopted_at: datetime | None
    purpose: OrderPurpose
    order_type: OrderType
    entry_order_id: UUID | None
    stop_price: Price | None
    target_price: Price | None
    exit_time: datetime | None
    trigger: ExitTrigger | None
    triggered_at: datetime | None
    limit_price: Price | None
    end_time: datetime | None
    cancel_reason: str | None
    fills: tuple[StoredFill, ...]
    now: datetime

    @property
    def size(self) -> OrderSize:
        """What was asked for; an entry with a limit may spend its quote size, and buys its base size."""
        return self.quote_size or self.base_size or NO_BASE

    @property
    def terminal(self) -> bool:
        return self.state in ORDER_TERMINAL

    @property
    def bracket(self) -> Bracket | None:
        """Its two prices, where it rests at the exchange between them."""
        if self.order_type is not OrderType.BRACKET or self.stop_price is None or self.target_price is None:
            return None
        return Bracket(self.stop_price, self.target_price)

    @property
    def limit(self) -> Limit | None:
        """Of an entry that has one."""
        if self.limit_price is None or self.base_size is None or self.end_time is None:
            return None
        return Limit(self.limit_price, self.base_size, self.end_time, self.order_type is OrderType.POST_ONLY)

    @property
    def may_trade(self) -> bool:
        """Whether it may still sell or buy: neither this row nor the exchange calls it done."""
        return not self.terminal and self.done_at is None

    @property
    def rests(self) -> bool:
        """Whether the exchange has it and may keep it so: nothing has to happen soon."""
        return self.state is OrderState.OPEN and self.order_type.rests and self.done_at is None

    @property
    def exit_trigger(self) -> ExitTrigger | None:
        """What made it sell, if it did: what was told of it, or for a bracket which of its prices it sold at."""
        if self.bracket is None or not self.filled_size:
            return self.trigger
        sold_at = price_of(self.filled_value, self.filled_size)
        return ExitTrigger.TARGET if sold_at >= self.bracket.target_price else ExitTrigger.STOP

    @property
    def facts(self) -> OrderFacts:
        return OrderFacts(
            order_id=self.order_id,
            product_id=self.product_id,
            side=self.side,
            size=self.size,
            state=self.state,
            exchange_order_id=self.exchange_order_id,
            bracket=self.bracket,
            limit=self.limit,
            tried_since=self.triggered_at or self.created_at,
            expire_at=self.expire_at,
            sent_at=self.sent_at,
            cancel_reason=self.cancel_reason,
            now=self.now,
        )


_OTHER_FORM = {"side", "state", "venue", "reasons", "fills", "purpose", "order_type", "trigger"}
_SAME = [name for name in OrderRow.__dataclass_fields__ if name not in _OTHER_FORM]
NOW: Any = literal_column("now", Time)
FILLS: Any = literal_column("fills", Json)
_COLUMNS: list[Any] = [
    orders,
    func.with_booking_sequence(func.order_fills(orders.c.order_id), type_=Json).label("fills"),
    func.clock_timestamp(type_=Time).label("now"),
]
# Nothing of an order is filled before it is known at the exchange.
UNFILLED = f"{', '.join(column.name for column in orders.c)}, CAST('[]' AS jsonb), clock_timestamp()"
_COUNT_SEND = text(f"SELECT {UNFILLED} FROM count_send(:order, :at)").columns(*orders.c, FILLS, NOW)


def order_of_row(row: Any) -> OrderRow:
    """An order of a row with all columns, fills as `with_booking_sequence` gives them, and the time."""
    values = {name: getattr(row, name) for name in _SAME}
    return OrderRow(
        **values,
        side=Side(row.side),
        state=OrderState(row.state),
        venue=Venue(row.venue),
        purpose=OrderPurpose(row.purpose),
        order_type=OrderType(row.order_type),
        trigger=None if row.trigger is None else ExitTrigger(row.trigger),
        reasons=reasons_from_json(row.reasons),
        fills=tuple(_fill(*values) for values in row.fills),
    )


def _fill(
    fill_id: str,
    trade_id: str,
    price: str,
    size: str,
    commission: str,
    liquidity: str,
    trade_time: str,
    booking_sequence: int,
) -> StoredFill:
    return StoredFill(
        fill_id=fill_id,
        trade_id=trade_id,
        price=Price(Decimal(price)),
        size=BaseSize(Decimal(size)),
        commission=QuoteSize(Decimal(commission)),
        liquidity=liquidity,
        trade_time=datetime.fromisoformat(trade_time).astimezone(UTC),
        booking_sequence=booking_sequence,
    )


async def lock_account(connection: AsyncConnection) -> TradingState:
    """Held by every transaction that changes exposure, until it ends; gives the trading state, which holds as long."""
    return TradingState((await connection.execute(select(func.lock_account()))).scalar_one())


@dataclass(frozen=True, slots=True)
class StoredTradingState:
    """The operator's switch as the database has it; `by_start`: no operator turned it, but a start that is not reconciled."""

    state: TradingState
    note: str
    by_start: bool = False


async def read_trading_state(connection: AsyncConnection) -> StoredTradingState:
    """The switch, without a lock."""
    row = (await connection.execute(select(executor_trading_state))).one()
    by_start = row.trading_state_set_by == SET_BY_START
    return StoredTradingState(TradingState(row.trading_state), row.trading_state_note, by_start)


async def get_order(connection: AsyncConnection, order_id: UUID, *, lock: bool = False) -> OrderRow | None:
    """One order, if wanted locked until the transaction ends."""
    query = select(*_COLUMNS).where(orders.c.order_id == order_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return order_of_row(row) if row else None


async def lock_order(connection: AsyncConnection, order_id: UUID) -> OrderRow:
    """One order that is there, locked until the transaction ends."""
    order = await get_order(connection, order_id, lock=True)
    if order is None:
        raise AssertionError(f"order {order_id} is not there")
    return order


async def order_and_trading(connection: AsyncConnection, order_id: UUID) -> tuple[OrderRow, TradingState]:
    """One order that is there, and the trading state of the same moment."""
    trading = select(executor_trading_state.c.trading_state).scalar_subquery()
    query = select(*_COLUMNS, trading.label("trading_state")).where(orders.c.order_id == order_id)
    row = (await connection.execute(query)).one()
    return order_of_row(row), TradingState(row.trading_state)


async def order_of_recommendation(connection: AsyncConnection, recommendation_id: UUID) -> OrderRow | None:
    """The order of a recommendation."""
    query = select(*_COLUMNS).where(orders.c.recommendation_id == recommendation_id)
    row = (await connection.execute(query)).one_or_none()
    return order_of_row(row) if row else None


async def _next(connection: AsyncConnection) -> int:
    """The sequence of one change, and the wake-up for whoever watches."""
    await streams.notify(connection, streams.ORDERS)
    return (await streams.take_sequences(connection, streams.ORDERS, 1)).start


async def change_order(connection: AsyncConnection, order_id: UUID, **values: Any) -> OrderRow:
    """Changes columns of an order that the transaction has locked."""
    sequence = await _next(connection)
    statement = update(orders).where(orders.c.order_id == order_id)
    statement = statement.values(**values, sequence=sequence, updated_at=func.now())
    row = (await connection.execute(statement.returning(*_COLUMNS))).one()
    return order_of_row(row)


async def mark_unknown(connection: AsyncConnection, order: OrderRow, exchange_order_id: str | None) -> OrderRow:
    """PENDING → UNKNOWN, and the exchange's id where it gave one; another state stays. The transaction has locked it."""
    changes: dict[str, Any] = {"state": OrderState.UNKNOWN.value} if order.state is OrderState.PENDING else {}
    if exchange_order_id:
        changes["exchange_order_id"] = exchange_order_id
    return await change_order(connection, order.order_id, **changes)


async def count_send(connection: AsyncConnection, order_id: UUID, exchange_time: datetime | None) -> OrderRow | None:
    """Counts a send that was not counted with the intent, before its bytes leave, under the account lock and in one statement;
    None where the order may not be sent (any more), by its own state or the trading state. Commit before sending.
    `exchange_time`: some time of the exchange before this one, for the first send."""
    row = (await connection.execute(_COUNT_SEND, {"order": order_id, "at": exchange_time})).one_or_none()
    return order_of_row(row) if row else None


async def end_order(
    connection: AsyncConnection, seen: OrderRow, state: OrderState, reasons: Sequence[Reason]
) -> OrderRow:
    """Ends an order that has no fills; frees its exposure, so the account is locked. If it was ever sent, it is watched.
    An order that has changed since it was `seen` stays as it is: what was decided about it does not hold any more."""
    await lock_account(connection)
    order = await lock_order(connection, seen.order_id)
    if order.sequence != seen.sequence:
        return order
    if order.terminal or order.filled_size > 0:
        raise AssertionError(f"order {order.order_id} cannot be ended as {state}")
    watch_until = func.clock_timestamp() + WATCH if order.send_count else None
    return await change_order(
        connection,
        order.order_id,
        state=state.value,
        reasons=reasons_to_json(reasons),
        sent_at=None,
        watch_until=watch_until,
    )


async def watched_orders(connection: AsyncConnection) -> list[OrderRow]:
    """Ended orders that the exchange may have all the same, oldest first."""
    query = select(*_COLUMNS).where(orders.c.watch_until > func.clock_timestamp()).order_by(orders.c.created_at)
    return [order_of_row(row) for row in await connection.execute(query)]


async def request_cancel(connection: AsyncConnection, why: str, *which: ColumnElement[bool]) -> list[OrderRow]:
    """Marks every order that is not done, and of which all of `which` is true, as one that is not sent any more; gives them,
    oldest first. `why` is a reason code; the first one stays. Account locked."""
    first = {
        "cancel_requested_at": func.coalesce(orders.c.cancel_requested_at, func.clock_timestamp()),
        "cancel_reason": func.coalesce(orders.c.cancel_reason, why),
    }
    statement = update(orders).where(orders.c.state.in_(_NOT_DONE), *which).values(**first)
    rows = await connection.execute(statement.returning(*_COLUMNS))
    return sorted((order_of_row(row) for row in rows), key=lambda order: order.created_at)


async def entries_resting(connection: AsyncConnection) -> list[OrderRow]:
    """Every entry with a limit that is not done, oldest first."""
    query = select(*_COLUMNS).where(orders.c.limit_price.is_not(None), orders.c.state.in_(ORDER_UNDER_WAY))
    return [order_of_row(row) for row in await connection.execute(query.order_by(orders.c.created_at))]


async def orders_by_id(connection: AsyncConnection, order_ids: Sequence[UUID]) -> list[OrderRow]:
    """Orders by their ids, in no order."""
    query = select(*_COLUMNS).where(orders.c.order_id.in_(order_ids))
    return [order_of_row(row) for row in await connection.execute(query)]


async def held(connection: AsyncConnection) -> dict[ProductId, BaseSize]:
    """What is held of each product."""
    rows = await connection.execute(select(positions.c.product_id, positions.c.base_size))
    return {row.product_id: row.base_size for row in rows}


async def open_orders(connection: AsyncConnection) -> list[OrderRow]:
    """Every order that is not terminal, oldest first."""
    query = select(*_COLUMNS).where(orders.c.state.in_(_NOT_DONE)).order_by(orders.c.created_at)
    return [order_of_row(row) for row in await connection.execute(query)]


def _filtered(product_id: ProductId | None, state: OrderState | None) -> Select[Any]:
    query: Select[Any] = select(*_COLUMNS)
    if product_id:
        query = query.where(orders.c.product_id == product_id)
    if state is not None:
        query = query.where(orders.c.state == state.value)
    return query


async def list_orders(
    connection: AsyncConnection,
    product_id: ProductId | None,
    state: OrderState | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[OrderRow]:
    """Orders older than `before`, newest first."""
    query = _filtered(product_id, state).order_by(orders.c.created_at.desc(), orders.c.order_id.desc()).limit(limit)
    if before is not None:
        created_at, order_id = before
        query = query.where(
            or_(
                orders.c.created_at < created_at,
                and_(orders.c.created_at == created_at, orders.c.order_id < order_id),
            )
        )
    return [order_of_row(row) for row in await connection.execute(query)]


async def changed_after(connection: AsyncConnection, after: int, limit: int) -> list[OrderRow]:
    """Orders whose newest change is after a sequence, in sequence order."""
    query = select(*_COLUMNS).where(orders.c.sequence > after).order_by(orders.c.sequence).limit(limit)
    return [order_of_row(row) for row in await connection.execute(query)]


async def head_sequence(connection: AsyncConnection) -> int:
    """Sequence of the newest change, 0 before the first."""
    query = select(stream_heads.c.head).where(stream_heads.c.stream == streams.ORDERS)
    return (await connection.execute(query)).scalar_one_or_none() or 0
