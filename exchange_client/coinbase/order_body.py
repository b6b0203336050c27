"""An order in Coinbase's words: the body that makes one, and whether an order it shows is the one that was meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal, InvalidOperation

from exchange_client.models import ExchangeOrder, OrderTerms, SameTerms
from tradekit.decimals import plain
from tradekit.states import Side

_MARKET, _BRACKET, _LIMIT = "market_market_ioc", "trigger_bracket_gtc", "limit_limit_gtd"


def body_of(terms: OrderTerms) -> str:
    """The body of POST /orders, of exactly one size."""
    return json.dumps({"client_order_id": str(terms.order_id), **_order(terms)}, separators=(",", ":"))


def preview_body_of(terms: OrderTerms) -> str:
    """The body of POST /orders/preview: the same order without an id, of which it takes none."""
    return json.dumps(_order(terms), separators=(",", ":"))


def _order(terms: OrderTerms) -> dict[str, object]:
    return {
        "product_id": terms.product_id,
        "side": terms.side.value,
        "order_configuration": {
            _variant(terms): {**{name: plain(one) for name, one in _numbers(terms).items()}, **_further(terms)}
        },
    }


def same_terms(terms: OrderTerms, found: ExchangeOrder) -> SameTerms:
    """OTHER only where a complete order under our id contradicts product, side, size or prices. An order without our id or
    without readable numbers says nothing; fields that Coinbase adds, or leaves empty, change nothing."""
    if found.client_order_id != str(terms.order_id) or found.side not in tuple(Side):
        return SameTerms.UNREADABLE
    configured, wanted = found.configuration.get(_variant(terms)), _numbers(terms)
    told = {name: _number(configured.get(name)) for name in wanted} if isinstance(configured, dict) else {}
    if not told or None in told.values():
        return SameTerms.UNREADABLE
    same = found.product_id == terms.product_id and found.side == terms.side.value and told == wanted
    return SameTerms.OURS if same else SameTerms.OTHER


def _variant(terms: OrderTerms) -> str:
    if terms.limit is not None:
        return _LIMIT
    return _MARKET if terms.bracket is None else _BRACKET


def _further(terms: OrderTerms) -> Mapping[str, str | bool]:
    """What of a configuration is no number."""
    if terms.limit is None:
        return {}
    end = terms.limit.end_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"end_time": end, "post_only": terms.limit.post_only}


def _numbers(terms: OrderTerms) -> Mapping[str, Decimal]:
    """A market BUY spends quote with the fee inside; every other order is of base."""
    if terms.limit is not None:
        return {"base_size": terms.limit.size, "limit_price": terms.limit.price}
    size = {"quote_size" if terms.side is Side.BUY else "base_size": terms.size}
    if terms.bracket is None:
        return size
    return {**size, "limit_price": terms.bracket.target_price, "stop_trigger_price": terms.bracket.stop_price}


def _number(value: object) -> Decimal | None:
    """A number above zero, None for what is none."""
    try:
        number = Decimal(value) if isinstance(value, str | Decimal) else Decimal(0)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None
