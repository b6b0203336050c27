"""The body of a new order: strict JSON in, a typed request out.

The venue's schema is closed: an unknown field, a wrong JSON type or two configurations at once is
a malformed body (HTTP 400), not a rejected order.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exchange_sim.orders import id_of

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
    "stop_limit_stop_limit_gtc": _STOP,
    "stop_limit_stop_limit_gtd": (*_STOP, "end_time"),
    "trigger_bracket_gtc": _BRACKET,
    "trigger_bracket_gtd": (*_BRACKET, "end_time"),
}
_REFUSED = {
    "market_market_fok": _MARKET,
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
class Configuration:
    """One variant of an order with its fields as they were sent."""

    variant: str
    terms: Mapping[str, str | bool]

    def text(self, name: str) -> str | None:
        value = self.terms.get(name)
        return value if isinstance(value, str) else None

    @property
    def is_market(self) -> bool:
        return self.variant == "market_market_ioc"

    @property
    def is_bracket(self) -> bool:
        return self.variant.startswith("trigger_bracket")

    @property
    def is_stop(self) -> bool:
        return self.variant.startswith("stop_limit")

    @property
    def ends(self) -> bool:
        """Whether it has a time at which it expires."""
        return self.variant.endswith("_gtd")


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A well-formed request; whether it is acceptable is not decided here. `attached` is the bracket for what it fills."""

    client_order_id: str
    product_id: str
    side: str
    configuration: Configuration
    attached: Configuration | None
    preview_id: str
    beyond_spot: bool  # asks for leverage, which this venue does not offer

    @property
    def post_only(self) -> bool:
        return self.configuration.terms.get("post_only") is True

    @property
    def own_preview_id(self) -> str:
        """What a preview of this very order has for its id, so that none need be kept."""
        configurations = [
            (one.variant, dict(one.terms)) for one in (self.configuration, self.attached) if one is not None
        ]
        return id_of("preview", json.dumps([self.product_id, self.side, configurations], sort_keys=True))


def parse_create(body: bytes) -> OrderRequest:
    request = _parse(read_object(body), _CREATE)
    if not request.client_order_id or len(request.client_order_id) > _LONGEST_ID:
        raise BadBody(f"client_order_id must have 1 to {_LONGEST_ID} characters")
    return request


def parse_preview(body: bytes) -> OrderRequest:
    return _parse(read_object(body), _PREVIEW)


@dataclass(frozen=True, slots=True)
class EditRequest:
    """What an open order shall become."""

    order_id: str
    price: str
    size: str


def parse_edit(body: bytes) -> EditRequest:
    fields = read_object(body)
    _only(fields, ("order_id", "price", "size"))
    texts = {name: _string(fields, name) for name in ("order_id", "price", "size")}
    for name, text in texts.items():
        if not text:
            raise BadBody(f"{name} is required")
    return EditRequest(**texts)


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """A position that shall be sold, whole where no size is named."""

    client_order_id: str
    product_id: str
    size: str

    def order(self, size: str) -> OrderRequest:
        """The order that sells this much."""
        configuration = Configuration("market_market_ioc", {"base_size": size})
        return OrderRequest(self.client_order_id, self.product_id, "SELL", configuration, None, "", beyond_spot=False)


def parse_close(body: bytes) -> CloseRequest:
    fields = read_object(body)
    _only(fields, ("client_order_id", "product_id", "size"))
    request = CloseRequest(**{name: _string(fields, name) for name in ("client_order_id", "product_id", "size")})
    if not request.client_order_id or len(request.client_order_id) > _LONGEST_ID:
        raise BadBody(f"client_order_id must have 1 to {_LONGEST_ID} characters")
    if not request.product_id:
        raise BadBody("product_id is required")
    return request


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
    attached = fields.get("attached_order_configuration")
    return OrderRequest(
        client_order_id=texts["client_order_id"],
        product_id=texts["product_id"],
        side=texts["side"],
        configuration=_configuration("order_configuration", fields.get("order_configuration")),
        # The venue's own client sends an empty one where there is none.
        attached=_configuration("attached_order_configuration", attached) if attached else None,
        preview_id=_string(fields, "preview_id"),
        beyond_spot=_string(fields, "leverage") not in _NO_LEVERAGE,
    )


def _string(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise BadBody(f"proto: (line 1:1): invalid value for string field {name}")
    return value


def _configuration(field: str, value: object) -> Configuration:
    if not isinstance(value, dict) or not value:
        raise BadBody(f"{field} is required")
    _only(value, _VARIANTS)
    if len(value) > 1:
        raise BadBody(f"proto: (line 1:1): {field} is already set")
    variant, inner = next(iter(value.items()))
    if not isinstance(inner, dict):
        raise BadBody(f"proto: (line 1:1): invalid value for {variant}")
    _only(inner, _VARIANTS[variant])
    terms = {name: _term(variant, name, term) for name, term in inner.items() if term is not None}
    return Configuration(variant, terms)


def _term(variant: str, name: str, term: object) -> str | bool:
    if variant in _REFUSED:
        return str(term)
    wanted = str if name in _STRINGS else bool
    if not isinstance(term, wanted):
        raise BadBody(f"proto: (line 1:1): invalid value for {wanted.__name__} field {name}")
    return term if isinstance(term, (str, bool)) else str(term)
