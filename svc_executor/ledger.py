"""The arithmetic of the ledger: what one fill does to a position and to the double entries.

Everything is exact; the one rounding is a partial sale's share of the cost, to the 18 decimals that a column holds, and
what it takes from one sale stays in the cost of the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from exchange_client import ExchangeFill
from svc_executor.order_resolution import base_size
from tradekit.decimals import CONTEXT, to_stored_scale
from tradekit.ledger_accounts import EXCHANGE, FEES, OPENING, TRADING, UNADOPTED
from tradekit.products import base_currency, quote_currency
from tradekit.sizes import NO_BASE, NO_QUOTE, share_of
from tradekit.states import Side
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

OPENING_TRANSACTION = "opening"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger; positive means the account received it."""

    account: str
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class BookedFill:
    """A fill, with its value without the fee."""

    fill_id: str
    trade_id: str
    product_id: ProductId
    side: Side
    price: Price
    size: BaseSize
    value: QuoteSize
    commission: QuoteSize
    liquidity: str
    trade_time: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one product. `cost` is what it cost, buying fees inside."""

    base_size: BaseSize = NO_BASE
    cost: QuoteSize = NO_QUOTE
    realized_pnl: QuoteSize = NO_QUOTE
    total_fees: QuoteSize = NO_QUOTE


def book_fill(fill: ExchangeFill) -> BookedFill:
    """The exchange's fill as it is booked. Digits beyond the 18 decimals of a column are rounded here, once."""
    with localcontext(CONTEXT):
        value = QuoteSize(fill.size) if fill.size_in_quote else fill.price * base_size(fill)
    return BookedFill(
        fill_id=fill.entry_id,
        trade_id=fill.trade_id,
        product_id=fill.product_id,
        side=Side(fill.side),
        price=to_stored_scale(fill.price),
        size=to_stored_scale(base_size(fill)),
        value=to_stored_scale(value),
        commission=to_stored_scale(fill.commission),
        liquidity=fill.liquidity,
        trade_time=fill.trade_time,
    )


def apply_fill(position: Position, fill: BookedFill) -> tuple[Position, QuoteSize]:
    """The position after a fill, and the profit it realised (0 for a BUY)."""
    with localcontext(CONTEXT):
        fees = position.total_fees + fill.commission
        if fill.side is Side.BUY:
            cost = position.cost + fill.value + fill.commission
            return Position(position.base_size + fill.size, cost, position.realized_pnl, fees), NO_QUOTE
        share = cost_share(position, fill.size)
        realized = fill.value - fill.commission - share
        # More may be sold than the ledger holds, where coins came from elsewhere: they cost the ledger nothing.
        left = max(position.base_size - fill.size, NO_BASE)
        return Position(left, position.cost - share, position.realized_pnl + realized, fees), realized


def cost_share(position: Position, size: BaseSize) -> QuoteSize:
    """The part of the cost that `size` of it carries; the last unit carries all that is left."""
    return share_of(position.cost, size, position.base_size)


def ledger_of(fill: BookedFill) -> tuple[Entry, ...]:
    """A fill's entries; they sum to zero in each currency."""
    base, quote = base_currency(fill.product_id), quote_currency(fill.product_id)
    sign = 1 if fill.side is Side.BUY else -1
    with localcontext(CONTEXT):
        entries = (
            Entry(EXCHANGE, quote, -sign * fill.value - fill.commission),
            Entry(TRADING, quote, sign * fill.value),
            Entry(FEES, quote, fill.commission),
            Entry(EXCHANGE, base, sign * fill.size),
            Entry(TRADING, base, -sign * fill.size),
        )
    return tuple(entry for entry in entries if entry.amount != 0)


def opening_entries(totals: Mapping[str, Decimal], account_currency: str) -> tuple[Entry, ...]:
    """The first entries: the account currency's cash is the mesh's own, everything else is not adopted."""
    entries: list[Entry] = []
    for currency, amount in sorted(totals.items()):
        if amount:
            entries.append(Entry(EXCHANGE if currency == account_currency else UNADOPTED, currency, amount))
            entries.append(Entry(OPENING, currency, -amount))
    return tuple(entries)
