"""A market order in Coinbase's words: the body that makes one, and whether an order it shows is the one that was meant."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation

from exchange_client.models import ExchangeOrder, OrderTerms, SameTerms
from tradekit.decimals import plain
from tradekit.states import Side

_VARIANT = "market_market_ioc"


def body_of(terms: OrderTerms) -> str:
    """The body of POST /orders, of exactly one size."""
    body = {
        "client_order_id": str(terms.order_id),
        "product_id": terms.product_id,
        "side": terms.side.value,
        "order_configuration": {_VARIANT: {_size_field(terms.side): plain(terms.size)}},
    }
    return json.dumps(body, separators=(",", ":"))


def same_terms(terms: OrderTerms, found: ExchangeOrder) -> SameTerms:
    """OTHER only where a complete order under our id contradicts product, side or size. An order without our id or without a
    readable size says nothing; fields that Coinbase adds, or leaves empty, change nothing."""
    if found.client_order_id != str(terms.order_id) or found.side not in tuple(Side):
        return SameTerms.UNREADABLE
    configured = found.configuration.get(_VARIANT)
    size = _size(configured.get(_size_field(terms.side))) if isinstance(configured, dict) else None
    if size is None:
        return SameTerms.UNREADABLE
    same = found.product_id == terms.product_id and found.side == terms.side.value and size == terms.size
    return SameTerms.OURS if same else SameTerms.OTHER


def _size_field(side: Side) -> str:
    """A BUY spends quote with the fee inside, a SELL gives base."""
    return "quote_size" if side is Side.BUY else "base_size"


def _size(value: object) -> Decimal | None:
    """A size above zero, None for what is none."""
    try:
        size = Decimal(value) if isinstance(value, str | Decimal) else Decimal(0)
    except InvalidOperation:
        return None
    return size if size.is_finite() and size > 0 else None
