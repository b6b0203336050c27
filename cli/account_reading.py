"""Reads the account over the executor's RPCs: every fill and adjustment, positions and cash, and the exchange's side."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cli.calls import ask, require_instance
from cli.exits import CommandFailed
from cli.instance_file import mesh_home
from tradekit import services
from tradekit.account_history import ONE_CLOCK, AccountFill, Adjustment, Event, in_time_order, values_of
from tradekit.states import Side, Venue
from tradekit.three_way_match import Booked, BookedPosition, ExchangeBalance, Match, match
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

if TYPE_CHECKING:
    import grpc

    from trading.executor.v1 import executor_service_pb2 as pb
    from trading.executor.v1 import ledger_pb2

_SECONDS = 30.0
_PAGE = 500
# A mesh that trades while it is read may differ from itself for a moment; what differs in every reading does differ.
_READINGS, _PAUSE_SECONDS = 5, 1.0
_FIRST_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that happened, in order of the exchange's time, and what ledger and exchange say of it."""

    events: tuple[Event, ...]
    booked: Booked
    venue: Venue
    opened_at: datetime | None
    products: tuple[ProductId, ...]

    @property
    def fills(self) -> list[AccountFill]:
        """The fills alone."""
        return [event for event in self.events if isinstance(event, AccountFill)]


def read_account() -> tuple[Account, Match]:
    """The account of this shell's instance, with the match of its sides; a difference is looked at again before it is
    believed. Raises CommandFailed where nothing answers, or where it never holds still."""
    instance = require_instance(mesh_home())

    async def read(channel: "grpc.aio.Channel") -> tuple[Account, Match] | None:
        found = None
        for reading in range(_READINGS):
            if reading:
                await asyncio.sleep(_PAUSE_SECONDS)
            account = await _read_once(channel, instance.products)
            if account is not None:
                found = account, match(account.events, account.booked)
                if found[1].agrees:
                    break
        return found

    found = ask(instance, services.EXECUTOR, read)
    if found is None:
        raise CommandFailed("the account changed while it was read, every time", "ask again, or `mesh halt` first")
    return found


async def _read_once(channel: "grpc.aio.Channel", products: Sequence[str]) -> Account | None:
    """One reading; None where a position or the cash changed meanwhile."""
    from trading.executor.v1 import executor_service_pb2 as pb
    from trading.executor.v1 import executor_service_pb2_grpc as rpc
    from trading.executor.v1 import ledger_pb2

    stub: Any = rpc.ExecutorServiceStub(channel)
    before = await stub.ListPositions(pb.ListPositionsRequest(), timeout=_SECONDS)
    ledger = await stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=_SECONDS)
    orders, token = [], ""
    while True:
        request = pb.ListOrdersRequest(page_size=_PAGE, page_token=token)
        page = await stub.ListOrders(request, timeout=_SECONDS)
        orders += page.orders
        token = page.next_page_token
        if not token:
            break
    after = await stub.ListPositions(pb.ListPositionsRequest(), timeout=_SECONDS)
    if _sizes(before) != _sizes(after):
        return None
    return account_of(orders, after, ledger, products)


def _sizes(answer: "pb.ListPositionsResponse") -> list[tuple[str, str]]:
    """What every booking changes, and no price does."""
    held = [(one.product_id, f"{one.base_size.value} {one.realized_pnl.value}") for one in answer.positions]
    return held + [(one.currency, one.amount.value) for one in answer.cash]


def account_of(
    orders: Sequence["pb.Order"],
    positions: "pb.ListPositionsResponse",
    ledger: "ledger_pb2.GetLedgerResponse",
    products: Sequence[str],
) -> Account:
    """The account from the executor's answers; `products` are those the instance trades."""
    from trading.common.v1 import trade_pb2

    venue = Venue(trade_pb2.Venue.Name(positions.venue).removeprefix("VENUE_"))
    opened_at = _time(ledger.open_time) if ledger.HasField("open_time") else None
    fills = [fill for order in orders for fill in _fills(order)]
    adjustments = [_adjustment(row, ledger.account_currency) for row in ledger.adjustments]
    events = in_time_order(fills, adjustments, opened_at or _FIRST_TIME, one_clock=venue in ONE_CLOCK)
    known = {*products, *(fill.product_id for fill in fills), *(one.product_id for one in positions.positions)}
    traded = tuple(ProductId(name) for name in sorted(known))
    booked = replace(_booked(positions, ledger), orders_unknown=_unknown(orders))
    return Account(tuple(events), booked, venue, opened_at, traded)


def _unknown(orders: Iterable["pb.Order"]) -> int:
    from trading.executor.v1 import executor_service_pb2 as pb

    return sum(1 for order in orders if order.state == pb.ORDER_STATE_UNKNOWN)


def _fills(order: "pb.Order") -> list[AccountFill]:
    from trading.common.v1 import trade_pb2

    told = [(Price(_number(one.price)), BaseSize(_number(one.size))) for one in order.fills]
    values = values_of(QuoteSize(_number(order.filled_value)), told)
    return [
        AccountFill(
            fill_id=one.fill_id,
            trade_id=one.trade_id,
            order_id=order.order_id,
            product_id=ProductId(order.product_id),
            side=Side(trade_pb2.Side.Name(order.side).removeprefix("SIDE_")),
            price=price,
            size=size,
            value=value,
            fee=QuoteSize(_number(one.commission)),
            liquidity=one.liquidity,
            time=_time(one.trade_time),
            ordered_at=_time(order.create_time),
            booking_sequence=one.booking_sequence,
            why=_why(order),
        )
        for one, (price, size), value in zip(order.fills, told, values, strict=True)
    ]


def _why(order: "pb.Order") -> str:
    from trading.executor.v1 import executor_service_pb2 as pb

    if order.trigger:
        return pb.ExitTrigger.Name(order.trigger).removeprefix("EXIT_TRIGGER_")
    return pb.OrderPurpose.Name(order.purpose).removeprefix("ORDER_PURPOSE_")


def _adjustment(row: "ledger_pb2.LedgerAdjustment", account_currency: str) -> Adjustment:
    from trading.executor.v1 import ledger_pb2

    booked_at = _time(row.create_time)
    product_id = None if row.currency == account_currency else ProductId(f"{row.currency}-{account_currency}")
    return Adjustment(
        adjustment_id=row.adjustment_id,
        kind=ledger_pb2.AdjustmentKind.Name(row.kind).removeprefix("ADJUSTMENT_KIND_"),
        currency=row.currency,
        product_id=product_id,
        amount=_number(row.amount),
        cost=QuoteSize(_number(row.cost)),
        equity_change=QuoteSize(_number(row.equity_change)),
        note=row.note,
        caller=row.caller,
        time=booked_at,
        booked_at=booked_at,
        booking_sequence=row.booking_sequence,
    )


def _booked(positions: "pb.ListPositionsResponse", ledger: "ledger_pb2.GetLedgerResponse") -> Booked:
    return Booked(
        currency=ledger.account_currency,
        opening_balance=QuoteSize(_number(positions.opening_balance)),
        transfers=QuoteSize(_number(positions.transfers)),
        total_fees=QuoteSize(_number(positions.total_fees)),
        cash={money.currency: _number(money.amount) for money in positions.cash},
        positions={
            ProductId(one.product_id): BookedPosition(
                BaseSize(_number(one.base_size)),
                Price(_number(one.average_cost)),
                QuoteSize(_number(one.realized_pnl)),
            )
            for one in positions.positions
        },
        exchange={
            one.currency: ExchangeBalance(_number(one.exchange), _number(one.unadopted)) for one in ledger.balances
        },
        # Without its place in the order of booking nobody can tell what came after it; the next one has it.
        reconciled_at=_time(ledger.reconcile_time) if ledger.HasField("reconcile_booking_sequence") else None,
        reconciled_sequence=ledger.reconcile_booking_sequence,
    )


def _number(message: Any) -> Decimal:
    return Decimal(message.value or "0")


def _time(message: Any) -> datetime:
    moment: datetime = message.ToDatetime(UTC)
    return moment
