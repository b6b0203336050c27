"""The body of a new order: strict JSON in, a typed request out.

The venue's schema is closed: an unknown field, a wrong JSON type or two configurations at once is
a malformed body (HTTP 400), not a rejected order.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SIZES = ("base_size", "quote_size")
_STRINGS = (
    "base_size",
    "quote_size",
    "limit_price",
    "end_time",
    "stop_price",
    "stop_direction",
    "stop_trigger_price",
)
_MARKET = (*_SIZES, "rfq_disabled", "rfq_enabled", "reduce_only")
_LIMIT = (*_SIZES, "limit_price", "rfq_disabled", "rfq_enabled", "reduce_only")
_STOP = (*_LIMIT, "stop_price", "stop_direction")
_BRACKET = (*_LIMIT, "stop_trigger_price")

# Variants this venue places, and those it knows but refuses on spot.
SUPPORTED = {
    "market_market_ioc": _MARKET,
    "sor_limit_ioc": _LIMIT,
    "limit_limit_gtc": (*_LIMIT, "post_only"),
    "limit_limit_gtd": (*_LIMIT, "post_only", "end_time"),
    "limit_limit_fok": _LIMIT,
}
_REFUSED = {
    "market_market_fok": _MARKET,
    "stop_limit_stop_limit_gtc": _STOP,
    "stop_limit_stop_limit_gtd": (*_STOP, "end_time"),
    "trigger_bracket_gtc": _BRACKET,
    "trigger_bracket_gtd": (*_BRACKET, "end_time"),
    "twap_limit_gtd": (*_LIMIT, "start_time", "end_time", "number_buckets", "bucket_size", "bucket_duration"),
    "scaled_limit_gtc": ("orders", *_SIZES, "num_orders", "min_price", "max_price", "price_distribution"),
}
_VARIANTS = SUPPORTED | _REFUSED
_REQUIRED = ("product_id", "side")
_SHARED = (
    *_REQUIRED,
    "order_configuration",
    "attached_order_configuration",
    "leverage",
    "margin_type",
    "retail_portfolio_id",
    "sor_preference",
    "cost_basis_method",
    "self_trade_prevention_id",
)
_CREATE = (*_SHARED, "client_order_id", "preview_id")
_PREVIEW = _SHARED
_NO_LEVERAGE = ("", "1")
_LONGEST_ID = 128


class BadBody(Exception):
    """The body is not a message of this schema: HTTP 400."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A well-formed request; whether it is acceptable is not decided here."""

    client_order_id: str
    product_id: str
    side: str
    variant: str
    terms: Mapping[str, str | bool]
    beyond_spot: bool  # asks for leverage or an attached order, which this venue does not offer

    def text(self, name: str) -> str | None:
        value = self.terms.get(name)
        return value if isinstance(value, str) else None

    @property
    def post_only(self) -> bool:
        return self.terms.get("post_only") is True


def parse_create(body: bytes) -> OrderRequest:
    request = _parse(read_object(body), _CREATE)
    if not request.client_order_id or len(request.client_order_id) > _LONGEST_ID:
        raise BadBody(f"client_order_id must have 1 to {_LONGEST_ID} characters")
    return request


def parse_preview(body: bytes) -> OrderRequest:
    return _parse(read_object(body), _PREVIEW)


def parse_cancel(body: bytes) -> list[str]:
    fields = read_object(body)
    _only(fields, ("order_ids",))
    order_ids = fields.get("order_ids")
    if not isinstance(order_ids, list) or not all(isinstance(one, str) for one in order_ids):
        raise BadBody("order_ids must be a list of strings")
    if not 1 <= len(order_ids) <= 100:
        raise BadBody("order_ids must name 1 to 100 orders")
    return order_ids


def read_object(body: bytes) -> dict[str, object]:
    try:
        fields = json.loads(body)
        json.dumps(fields, ensure_ascii=False).encode()  # half of a surrogate pair is JSON and no text
    except (ValueError, RecursionError) as error:
        raise BadBody("proto: syntax error: body is not JSON") from error
    if not isinstance(fields, dict):
        raise BadBody("proto: syntax error: body is not an object")
    return {name: value for name, value in fields.items() if value is not None}


def _only(fields: Iterable[str], known: Iterable[str]) -> None:
    for name in fields:
        if name not in known:
            raise BadBody(f'proto: (line 1:1): unknown field "{name}"')


def _parse(fields: dict[str, object], known: tuple[str, ...]) -> OrderRequest:
    _only(fields, known)
    texts = {name: _string(fields, name) for name in ("client_order_id", *_REQUIRED)}
    for name in _REQUIRED:
        if not texts[name]:
            raise BadBody(f"{name} is required")
    leverage = _string(fields, "leverage")
    variant, terms = _configuration(fields.get("order_configuration"))
    return OrderRequest(
        client_order_id=texts["client_order_id"],
        product_id=texts["product_id"],
        side=texts["side"],
        variant=variant,
        terms=terms,
        beyond_spot=bool(fields.get("attached_order_configuration")) or leverage not in _NO_LEVERAGE,
    )


def _string(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise BadBody(f"proto: (line 1:1): invalid value for string field {name}")
    return value


def _configuration(value: object) -> tuple[str, dict[str, str | bool]]:
    if not isinstance(value, dict) or not value:
        raise BadBody("order_configuration is required")
    _only(value, _VARIANTS)
    if len(value) > 1:
        raise BadBody("proto: (line 1:1): order_configuration is already set")
    variant, inner = next(iter(value.items()))
    if not isinstance(inner, dict):
        raise BadBody(f"proto: (line 1:1): invalid value for {variant}")
    _only(inner, _VARIANTS[variant])
    terms = {name: _term(variant, name, term) for name, term in inner.items() if term is not None}
    return variant, terms


def _term(variant: str, name: str, term: object) -> str | bool:
    if variant in _REFUSED:
        return str(term)
    wanted = str if name in _STRINGS else bool
    if not isinstance(term, wanted):
        raise BadBody(f"proto: (line 1:1): invalid value for {wanted.__name__} field {name}")
    return term if isinstance(term, (str, bool)) else str(term)
