"""Orders in the account that this mesh did not make: what they hold, and what their fills moved since the opening.

An order is the mesh's own if its client_order_id is in the orders table, which has every intent before its first send.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from exchange_client import ExchangeFill, ExchangeOrder
from svc_executor.ledger import book_fill
from tradekit.decimals import CONTEXT, ZERO, to_stored_scale
from tradekit.products import base_currency, quote_currency
from tradekit.sizes import NO_BASE, NO_QUOTE, order_size
from tradekit.states import Side
from tradekit.units import BaseSize, OrderSize, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class ForeignOrder:
    """An order of somebody else. Its filled figures count from the ledger's opening on; `hold` is in the unit of its
    side.
    """

    exchange_order_id: str
    client_order_id: str
    product_id: ProductId
    side: Side
    status: str
    resting: bool
    hold: OrderSize
    filled_size: BaseSize
    filled_value: QuoteSize
    total_fees: QuoteSize
    created_time: datetime
    unbooked: bool

    @property
    def currencies(self) -> tuple[str, str]:
        """What it trades."""
        return base_currency(self.product_id), quote_currency(self.product_id)


@dataclass(frozen=True, slots=True)
class Opening:
    """When the ledger was opened and up to where fills were looked at, both the exchange's time; and the fills of the
    opening's very moment that its balances hold.
    """

    opened_at: datetime
    fills_before: frozenset[str]
    fills_seen_to: datetime

    def is_later(self, fill: ExchangeFill) -> bool:
        """Whether the balances at the opening do not hold this fill."""
        return fill.trade_time >= self.opened_at and fill.entry_id not in self.fills_before


def foreign_order(order: ExchangeOrder, fills: Iterable[ExchangeFill], opening: Opening, resting: bool) -> ForeignOrder:
    """An order with those of its fills that the ledger's opening does not hold."""
    side = Side(order.side)
    later = [book_fill(fill) for fill in fills if opening.is_later(fill)]
    with localcontext(CONTEXT):
        return ForeignOrder(
            exchange_order_id=order.order_id,
            client_order_id=order.client_order_id,
            product_id=order.product_id,
            side=side,
            status=order.status,
            resting=resting,
            hold=order_size(side, to_stored_scale(order.hold) if resting else ZERO),
            filled_size=sum((fill.size for fill in later), NO_BASE),
            filled_value=sum((fill.value for fill in later), NO_QUOTE),
            total_fees=sum((fill.commission for fill in later), NO_QUOTE),
            created_time=order.created_time,
            unbooked=bool(later),
        )


def unbooked_changes(orders: Iterable[ForeignOrder]) -> dict[str, Decimal]:
    """What the fills that are not in the ledger yet moved at the exchange, by currency."""
    moved: dict[str, Decimal] = {}
    with localcontext(CONTEXT):
        for order in orders:
            if not order.unbooked:
                continue
            sign = 1 if order.side is Side.BUY else -1
            base, quote = order.currencies
            moved[base] = moved.get(base, ZERO) + sign * order.filled_size
            moved[quote] = moved.get(quote, ZERO) - sign * order.filled_value - order.total_fees
    return moved
