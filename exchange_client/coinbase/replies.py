"""Reads the exchange's JSON into typed values, tolerant of added fields, strict about what money hangs on.

Numbers stay decimal text until they are Decimal; JSON numbers are never read as float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from exchange_client.coinbase.bad_reply import BadReply
from exchange_client.coinbase.transport import Reply
from exchange_client.models import (
    Account,
    ExchangeFill,
    ExchangeOrder,
    ExchangeProduct,
    FeeRates,
    KeyPermissions,
    OrderPreview,
    Portfolio,
    RawCandle,
    Touch,
)
from tradekit.states import Side
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

Json = Mapping[str, Any]

_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?")
_IDENTIFIER = re.compile(r"[!-~]{1,200}")
_NAN = Decimal("NaN")
# Any of these flags keeps market orders of a product out.
_STOPS = ("trading_disabled", "is_disabled", "cancel_only", "limit_only", "post_only", "view_only", "auction_mode")
_NO_REASON = ("", "REJECT_REASON_UNSPECIFIED")


def read_reply(reply: Reply) -> Json:
    """The JSON object of an answer; BadReply where it is not even said to be JSON."""
    if reply.content_type != "application/json":
        raise BadReply(f"not JSON but {reply.content_type[:40]!r} ({len(reply.body)} bytes)")
    return read_json(reply.body)


def read_json(body: bytes) -> Json:
    """The body's JSON object; BadReply for HTML, half a reply, a key told twice, or anything that is no object."""
    try:
        content = json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_once,
        )
    except BadReply:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        # Of a number whose exponent no decimal can have, Decimal raises an ArithmeticError.
        raise BadReply(f"not JSON ({len(body)} bytes)") from error
    if not isinstance(content, dict):
        raise BadReply("JSON but no object")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without a repeated key: nobody can know which of two values counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadReply("JSON that tells a key twice")
    return found


def _no_constant(name: str) -> None:
    raise BadReply(f"JSON with {name}")


def decimal(row: Json, name: str) -> Decimal:
    """The number of a field, told as text or as a JSON number; absent, null and "" read as zero."""
    value = row.get(name)
    if value is None or value == "":
        return Decimal(0)
    return _number(value, name)


def _number(value: object, name: str) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    raise BadReply(f"{name} is no number")


def required(row: Json, name: str) -> Decimal:
    """The number of a field that must be there."""
    if row.get(name) in (None, ""):
        raise BadReply(f"{name} is missing")
    return decimal(row, name)


def stated(row: Json, name: str) -> Decimal:
    """The number of a field that must be there; "" is how the exchange writes zero, absent and null are half a reply."""
    if row.get(name) is None:
        raise BadReply(f"{name} is missing")
    return decimal(row, name)


def text(row: Json, name: str) -> str:
    """The text of a field; absent and null read as empty, and what cannot be printed or stored as a question mark."""
    value = row.get(name)
    return _printable(value) if isinstance(value, str) else ""


def _printable(value: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in value)


def identifier(row: Json, name: str) -> str:
    """The text of a field that must be there; in one line of plain characters."""
    value = row.get(name)
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise BadReply(f"{name} is missing or malformed")
    return value


def moment(row: Json, name: str) -> datetime:
    """Aware UTC time of an RFC 3339 field; digits beyond microseconds are cut."""
    value = identifier(row, name)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadReply(f"{name} is no time") from error
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def rows(reply: Json, name: str) -> Sequence[Json]:
    """The list of objects under `name`."""
    found = reply.get(name)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadReply(f"{name} is no list of objects")
    return found


def flag(row: Json, name: str, default: bool = False) -> bool:
    """A boolean; anything but true and false reads as the default."""
    value = row.get(name)
    return value if isinstance(value, bool) else default


def _said(row: Json, name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        raise BadReply(f"{name} is missing")
    return value


def market_time(reply: Json) -> datetime:
    return moment(reply, "iso")


def product(row: Json) -> ExchangeProduct:
    """A missing flag of a product reads as "stopped" only through `status`; missing increments are BadReply."""
    return ExchangeProduct(
        product_id=ProductId(identifier(row, "product_id")),
        base_currency=identifier(row, "base_currency_id"),
        base_increment=BaseSize(_positive(row, "base_increment")),
        quote_increment=QuoteSize(_positive(row, "quote_increment")),
        price_increment=Price(_positive(row, "price_increment")),
        base_min_size=BaseSize(required(row, "base_min_size")),
        base_max_size=BaseSize(required(row, "base_max_size")),
        quote_min_size=QuoteSize(required(row, "quote_min_size")),
        quote_max_size=QuoteSize(required(row, "quote_max_size")),
        status=text(row, "status"),
        tradable=text(row, "status") == "online" and not any(flag(row, name) for name in _STOPS),
        brackets=True,
    )


def _positive(row: Json, name: str) -> Decimal:
    number = required(row, name)
    if number <= 0:
        raise BadReply(f"{name} is not above zero")
    return number


def candle(row: Json) -> RawCandle:
    """A bucket; only its start must be readable, values are judged by whoever stores them."""
    try:
        start = datetime.fromtimestamp(int(required(row, "start")), UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise BadReply("start is no time") from error
    return RawCandle(start, *(_value(row, name) for name in ("open", "high", "low", "close", "volume")))


def _value(row: Json, name: str) -> Decimal:
    try:
        return required(row, name)
    except BadReply:
        return _NAN


def best_bid(row: Json) -> tuple[ProductId, Price] | None:
    """A product and the best bid of its book; None where nobody bids."""
    bids = rows(row, "bids")
    return (ProductId(identifier(row, "product_id")), Price(_positive(bids[0], "price"))) if bids else None


def touch(row: Json) -> Touch | None:
    """The best bid of a book with the book's time; None where nobody bids."""
    found = best_bid(row)
    return None if found is None else Touch(found[1], moment(row, "time"))


def account(row: Json) -> Account:
    return Account(identifier(row, "currency"), _amount(row, "available_balance"), _amount(row, "hold"))


def _amount(row: Json, name: str) -> Decimal:
    money = row.get(name)
    if not isinstance(money, dict):
        raise BadReply(f"{name} is missing")
    return required(money, "value")


def order(row: Json) -> ExchangeOrder:
    configuration = row.get("order_configuration")
    reject_reason = text(row, "reject_reason")
    hold = decimal(row, "outstanding_hold_amount")
    return ExchangeOrder(
        order_id=identifier(row, "order_id"),
        client_order_id=text(row, "client_order_id"),
        product_id=ProductId(identifier(row, "product_id")),
        side=identifier(row, "side"),
        configuration=configuration if isinstance(configuration, dict) else {},
        status=identifier(row, "status"),
        filled_size=BaseSize(stated(row, "filled_size")),
        filled_value=QuoteSize(decimal(row, "filled_value")),
        total_fees=QuoteSize(decimal(row, "total_fees")),
        settled=_said(row, "settled"),
        created_time=moment(row, "created_time"),
        reject_reason="" if reject_reason in _NO_REASON else reject_reason,
        message=text(row, "reject_message") or text(row, "cancel_message"),
        hold=QuoteSize(hold) if row.get("side") == Side.BUY else BaseSize(hold),
    )


def cancel_refusals(reply: Json) -> dict[str, str]:
    """The reason of each order that the exchange did not begin to cancel; the others are not in here."""
    found = ((identifier(row, "order_id"), row) for row in rows(reply, "results"))
    return {name: text(row, "failure_reason") or "not told" for name, row in found if not flag(row, "success")}


def fill(row: Json) -> ExchangeFill:
    size, in_quote = _positive(row, "size"), flag(row, "size_in_quote")
    return ExchangeFill(
        entry_id=identifier(row, "entry_id"),
        trade_id=text(row, "trade_id"),
        order_id=identifier(row, "order_id"),
        product_id=ProductId(identifier(row, "product_id")),
        side=identifier(row, "side"),
        trade_type=text(row, "trade_type") or "FILL",
        price=Price(_positive(row, "price")),
        size=QuoteSize(size) if in_quote else BaseSize(size),
        size_in_quote=in_quote,
        commission=QuoteSize(stated(row, "commission")),
        liquidity=text(row, "liquidity_indicator"),
        trade_time=moment(row, "trade_time"),
    )


def key_permissions(reply: Json) -> KeyPermissions:
    """What is not said counts as the dangerous answer: no view, no trade, may transfer."""
    return KeyPermissions(
        can_view=flag(reply, "can_view"),
        can_trade=flag(reply, "can_trade"),
        can_transfer=flag(reply, "can_transfer", default=True),
        portfolio_uuid=text(reply, "portfolio_uuid"),
        portfolio_type=text(reply, "portfolio_type"),
    )


def portfolio(row: Json) -> Portfolio:
    return Portfolio(identifier(row, "uuid"), text(row, "name"), text(row, "type"))


def order_preview(reply: Json) -> OrderPreview:
    """What an order would do. Without `errs` nobody knows whether it would be taken, so that is BadReply."""
    return OrderPreview(
        total=decimal(reply, "order_total"),
        fee=decimal(reply, "commission_total"),
        base_size=decimal(reply, "base_size"),
        quote_size=decimal(reply, "quote_size"),
        average_price=decimal(reply, "est_average_filled_price"),
        best_bid=decimal(reply, "best_bid"),
        best_ask=decimal(reply, "best_ask"),
        slippage=decimal(reply, "slippage"),
        errors=_words(reply.get("errs"), "errs"),
        warnings=_words(reply.get("warning") or [], "warning"),
    )


def _words(value: object, name: str) -> tuple[str, ...]:
    """A list of texts, in printable characters."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadReply(f"{name} is no list of texts")
    return tuple(map(_printable, value))


def fee_rates(reply: Json) -> FeeRates:
    tier = reply.get("fee_tier")
    if not isinstance(tier, dict):
        raise BadReply("fee_tier is missing")
    return FeeRates(required(tier, "maker_fee_rate"), required(tier, "taker_fee_rate"), text(tier, "pricing_tier"))
