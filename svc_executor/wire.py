"""Messages of the executor ⇄ typed requests and rows. A refusal names every violation of a request at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

from meshkit import paging
from meshkit.fields import Fields, Page
from svc_executor.account_store import Comparison, StoredPosition
from svc_executor.ledger_wire import foreign_message, money
from svc_executor.protection_step import Standing
from svc_executor.store import OrderRow, StoredFill
from tradekit.decimals import CONTEXT, ZERO
from tradekit.recommendation import Recommendation
from tradekit.sizes import NO_QUOTE, base_size, exceeds, order_size, price_of
from tradekit.states import OrderState, Side, Venue
from tradekit.units import BaseSize, OrderSize, Price, ProductId, QuoteSize
from tradekit.wire import (
    amount_message,
    read_decimal,
    read_product_id,
    read_recommendation,
    reason_messages,
    side_number,
    timestamp_message,
)
from trading.common.v1 import trade_pb2
from trading.executor.v1 import executor_service_pb2 as pb

LONGEST_TICKET = 4096
DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
_NUMBERS: dict[OrderState, Any] = {state: pb.OrderState.Value(f"ORDER_STATE_{state.value}") for state in OrderState}


@dataclass(frozen=True, slots=True)
class Execute:
    """A request for an order. `size` is quote for BUY, base for SELL; `ticket` is empty for an exit without one."""

    recommendation: Recommendation
    size: OrderSize
    ticket: str

    @property
    def base_size(self) -> BaseSize:
        """What an exit is to sell."""
        return base_size(self.recommendation.side, self.size)


def parse_execute(request: pb.ExecuteRecommendationRequest) -> Execute:
    fields = Fields()
    fields.uuid("request_id", request.request_id)
    number = read_decimal(fields, "size", request.size, present=request.HasField("size"), low=Decimal(0), low_open=True)
    ticket = fields.text("ticket", request.ticket, min_length=0, max_length=LONGEST_TICKET)
    if not fields.check(
        "recommendation", request.HasField("recommendation"), "REQUIRED", "is missing; send the recommendation"
    ):
        fields.done()
    recommendation = read_recommendation(fields, "recommendation", request.recommendation)
    fields.done()
    side, size = recommendation.side, order_size(recommendation.side, number)
    if side is Side.BUY:
        why = "is missing; an entry needs the risk engine's ticket"
        fields.check("ticket", bool(ticket), "REQUIRED", why)
    # With a ticket an exit may be for more than was asked: what would be left behind as dust goes with it.
    if side is Side.BUY or not ticket:
        why = f"is {size}; must be at most the recommendation's {recommendation.size}"
        fields.check("size", not exceeds(side, size, recommendation.size), "OUT_OF_RANGE", why)
    fields.done()
    return Execute(recommendation, size, ticket)


@dataclass(frozen=True, slots=True)
class OrderName:
    """One of the two names an order is found by."""

    order_id: UUID | None
    recommendation_id: UUID | None


def parse_get(request: pb.GetOrderRequest) -> OrderName:
    fields = Fields()
    kind = request.WhichOneof("by")
    if kind is None:
        fields.violation("order_id", "REQUIRED", "must be set, or recommendation_id")
    by_order = fields.uuid("order_id", request.order_id) if kind == "order_id" else None
    by_recommendation = (
        fields.uuid("recommendation_id", request.recommendation_id) if kind == "recommendation_id" else None
    )
    fields.done()
    return OrderName(by_order, by_recommendation)


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """A page of orders; `before` is the last one shown."""

    product_id: ProductId | None
    state: OrderState | None
    page: Page
    before: tuple[datetime, UUID] | None
    scope: str


def parse_list(request: pb.ListOrdersRequest) -> OrderQuery:
    fields = Fields()
    product_id = read_product_id(fields, "product_id", request.product_id) if request.product_id else None
    state = fields.enum("state", request.state, pb.OrderState, "ORDER_STATE", OrderState) if request.state else None
    scope = f"{request.product_id}|{request.state}"
    page = fields.page(request.page_size, request.page_token, DEFAULT_PAGE, LARGEST_PAGE, scope)
    before = None
    if page.position is not None:
        try:
            before = datetime.fromisoformat(str(page.position["at"])), UUID(str(page.position["id"]))
        except (KeyError, ValueError):
            fields.violation("page_token", "INVALID_POSITION", "is not a position in this list; begin without one")
    fields.done()
    return OrderQuery(product_id, state, page, before, scope)


def page_token(last: OrderRow, scope: str) -> str:
    return paging.encode({"at": last.created_at.isoformat(), "id": str(last.order_id)}, scope)


def parse_reconcile(request: pb.ReconcileRequest) -> UUID:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    fields.done()
    return request_id


# ---- answers ---------------------------------------------------------------------------------------------------------


def venue_number(venue: Venue) -> Any:
    return trade_pb2.Venue.Value(f"VENUE_{venue.value}")


def order_message(order: OrderRow) -> pb.Order:
    message = pb.Order(
        order_id=str(order.order_id),
        recommendation_id=str(order.recommendation_id or ""),
        exchange_order_id=order.exchange_order_id or "",
        product_id=order.product_id,
        side=side_number(order.side),
        state=_NUMBERS[order.state],
        filled_size=amount_message(order.filled_size),
        filled_value=amount_message(order.filled_value),
        total_fees=amount_message(order.total_fees),
        reasons=reason_messages(order.reasons),
        venue=venue_number(order.venue),
        send_count=order.send_count,
        as_of=timestamp_message(order.as_of),
        create_time=timestamp_message(order.created_at),
        update_time=timestamp_message(order.updated_at),
        sequence=order.sequence,
        fills=[fill_message(fill) for fill in order.fills],
        note=order.note,
        purpose=f"ORDER_PURPOSE_{order.purpose.value}",
        order_type=f"ORDER_TYPE_{order.order_type.value}",
        entry_order_id=str(order.entry_order_id or ""),
        trigger=f"EXIT_TRIGGER_{order.exit_trigger or 'UNSPECIFIED'}",
        cancel_requested=order.cancel_requested_at is not None,
    )
    if order.stop_price is not None and order.target_price is not None:
        message.stop_price.CopyFrom(amount_message(order.stop_price))
        message.target_price.CopyFrom(amount_message(order.target_price))
    if order.limit_price is not None and order.end_time is not None:
        message.limit_price.CopyFrom(amount_message(order.limit_price))
        message.end_time.CopyFrom(timestamp_message(order.end_time))
    if order.exit_time is not None:
        message.exit_time.CopyFrom(timestamp_message(order.exit_time))
    if order.quote_size is not None:
        message.quote_size.CopyFrom(amount_message(order.quote_size))
    if order.base_size is not None:
        message.base_size.CopyFrom(amount_message(order.base_size))
    if order.filled_size > 0:
        message.average_price.CopyFrom(amount_message(price_of(order.filled_value, order.filled_size)))
    return message


def fill_message(fill: StoredFill) -> pb.Fill:
    return pb.Fill(
        fill_id=fill.fill_id,
        trade_id=fill.trade_id,
        price=amount_message(fill.price),
        size=amount_message(fill.size),
        commission=amount_message(fill.commission),
        liquidity=fill.liquidity,
        trade_time=timestamp_message(fill.trade_time),
        booking_sequence=fill.booking_sequence,
    )


@dataclass(frozen=True, slots=True)
class AccountView:
    """What the answer of ListPositions is made from; amounts in the account's currency unless their name says else."""

    positions: Sequence[StoredPosition]
    marks: Mapping[ProductId, Price]
    cash: Mapping[str, Decimal]
    unadopted: Mapping[str, Decimal]
    currency: str
    opening_balance: QuoteSize
    transfers: QuoteSize
    total_fees: QuoteSize
    venue: Venue


def positions_message(account: AccountView) -> pb.ListPositionsResponse:
    """Positions and account. A position without a mark counts at its cost, so it shows no profit."""
    with localcontext(CONTEXT):
        messages, value, unrealized, realized = [], NO_QUOTE, NO_QUOTE, NO_QUOTE
        for stored in account.positions:
            held, mark = stored.position, account.marks.get(stored.product_id)
            worth = held.cost if mark is None else held.base_size * mark
            value, unrealized, realized = value + worth, unrealized + worth - held.cost, realized + held.realized_pnl
            messages.append(_position(stored, mark, worth))
        equity = QuoteSize(account.cash.get(account.currency, ZERO)) + value
    return pb.ListPositionsResponse(
        positions=messages,
        cash=[money(currency, amount) for currency, amount in sorted(account.cash.items())],
        opening_balance=amount_message(account.opening_balance),
        equity=amount_message(equity),
        realized_pnl=amount_message(realized),
        unrealized_pnl=amount_message(unrealized),
        total_fees=amount_message(account.total_fees),
        venue=venue_number(account.venue),
        unadopted=[money(currency, amount) for currency, amount in sorted(account.unadopted.items())],
        transfers=amount_message(account.transfers),
    )


def _position(stored: StoredPosition, mark: Price | None, worth: QuoteSize) -> pb.Position:
    held = stored.position
    message = pb.Position(
        product_id=stored.product_id,
        base_size=amount_message(held.base_size),
        average_cost=amount_message(price_of(held.cost, held.base_size) if held.base_size else ZERO),
        realized_pnl=amount_message(held.realized_pnl),
        update_time=timestamp_message(stored.updated_at),
        orders=[protective_message(one) for one in stored.orders],
    )
    if mark is not None:
        message.mark_price.CopyFrom(amount_message(mark))
        message.market_value.CopyFrom(amount_message(worth))
        message.unrealized_pnl.CopyFrom(amount_message(worth - held.cost))
    return message


def protective_message(one: Standing) -> pb.ProtectiveOrder:
    message = pb.ProtectiveOrder(
        order_id=str(one.order_id),
        state=_NUMBERS[one.state],
        order_type=f"ORDER_TYPE_{one.order_type.value}",
        left_size=amount_message(one.left),
        stop_price=amount_message(one.plan.stop_price),
        target_price=amount_message(one.plan.target_price),
    )
    if one.plan.exit_time is not None:
        message.exit_time.CopyFrom(timestamp_message(one.plan.exit_time))
    return message


def reconcile_message(found: Comparison) -> pb.ReconcileResponse:
    return pb.ReconcileResponse(
        orders_checked=found.orders_checked,
        orders_settled=found.orders_settled,
        orders_unknown=found.orders_unknown,
        balances=[
            pb.BalanceComparison(
                currency=balance.currency,
                ledger=amount_message(balance.ledger),
                exchange=amount_message(balance.exchange),
                difference=amount_message(balance.difference),
                tolerance=amount_message(balance.tolerance),
                agrees=balance.agrees,
            )
            for balance in found.balances
        ],
        foreign_orders=[foreign_message(order) for order in found.foreign],
        clean=found.clean,
        reconcile_time=timestamp_message(found.at),
    )
