"""The venue's JSON shapes. Numbers are plain decimal strings, times RFC 3339.

The official client unpacks objects and lists without looking, so a field that would be null in
one of those places is left out instead.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from exchange_sim.depth import Walk
from exchange_sim.market import Candle, DayStatistics, Level, Quote, Trade
from exchange_sim.numbers import EXACT, ZERO, plain
from exchange_sim.order_request import OrderRequest
from exchange_sim.orders import Fill, Order, Status, Trigger, attached_id
from exchange_sim.products import Product
from exchange_sim.reasons import Rejection
from exchange_sim.times import iso

Json = dict[str, Any]

OWNER = uuid5(NAMESPACE_URL, "simulated-exchange/owner")
USER_ID = str(uuid5(OWNER, "user"))
PORTFOLIO_ID = str(uuid5(OWNER, "portfolio"))
_HUNDRED = Decimal(100)
_PERCENT_STEP = Decimal("0.01")

_TIME_IN_FORCE = {
    "market_market_ioc": "IMMEDIATE_OR_CANCEL",
    "sor_limit_ioc": "IMMEDIATE_OR_CANCEL",
    "limit_limit_gtc": "GOOD_UNTIL_CANCELLED",
    "limit_limit_gtd": "GOOD_UNTIL_DATE_TIME",
    "limit_limit_fok": "FILL_OR_KILL",
    "stop_limit_stop_limit_gtc": "GOOD_UNTIL_CANCELLED",
    "stop_limit_stop_limit_gtd": "GOOD_UNTIL_DATE_TIME",
    "trigger_bracket_gtc": "GOOD_UNTIL_CANCELLED",
    "trigger_bracket_gtd": "GOOD_UNTIL_DATE_TIME",
}
_TYPES = {"market": "MARKET", "stop": "STOP_LIMIT", "trigger": "BRACKET"}


def time_in_force(variant: str) -> str:
    return _TIME_IN_FORCE[variant]


def order_type(variant: str) -> str:
    return _TYPES.get(variant.partition("_")[0], "LIMIT")


def trigger_status(one: Order) -> str:
    if one.trigger is Trigger.NONE:
        return "INVALID_ORDER_TYPE"
    return "STOP_PENDING" if one.waits else "STOP_TRIGGERED"


@dataclass(frozen=True, slots=True)
class Settlement:
    """Orders settle some wall time after they are done, and are at work some wall time after they came."""

    delay_seconds: float
    wall_seconds: float
    pending_seconds: float = 0.0

    def settled(self, order: Order) -> bool:
        done = order.done_wall_seconds
        return done is not None and self.wall_seconds >= done + self.delay_seconds

    def status(self, order: Order) -> str:
        """One that is on its way into the book is PENDING, or QUEUED where it waits for its stop."""
        if order.cancels:
            return "CANCEL_QUEUED"
        new = order.created_wall_seconds > self.wall_seconds - self.pending_seconds
        if order.status is Status.OPEN and self.pending_seconds and new:
            return "PENDING" if order.trigger is Trigger.NONE else "QUEUED"
        return order.status.value


def product(one: Product, quote: Quote | None, day: DayStatistics, same_book: Sequence[str]) -> Json:
    """`same_book` are other products that trade in the same book."""
    own_book = one.market_id == one.product_id
    return {
        "product_id": one.product_id,
        "price": "" if quote is None else plain(quote.last),
        "price_percentage_change_24h": plain((day.change_ratio * 100).quantize(Decimal("0.00000001"))),
        "volume_24h": plain(day.volume),
        "volume_percentage_change_24h": "0",
        "base_increment": plain(one.base_increment),
        "quote_increment": plain(one.quote_increment),
        "price_increment": plain(one.price_increment),
        "quote_min_size": plain(one.quote_min_size),
        "quote_max_size": plain(one.quote_max_size),
        "base_min_size": plain(one.base_min_size),
        "base_max_size": plain(one.base_max_size),
        "base_name": one.base_name,
        "quote_name": money_name(one.quote),
        "watched": False,
        "is_disabled": one.is_disabled,
        "new": False,
        "status": one.status,
        "cancel_only": one.cancel_only,
        "limit_only": one.limit_only,
        "post_only": one.post_only,
        "trading_disabled": one.trading_disabled,
        "auction_mode": one.auction_mode,
        "view_only": one.view_only,
        "product_type": "SPOT",
        "product_venue": "CBE",
        "base_currency_id": one.base,
        "quote_currency_id": one.quote,
        "base_display_symbol": one.base,
        "quote_display_symbol": one.quote,
        "display_name": one.product_id,
        "mid_market_price": "",
        "best_bid_price": "",
        "best_ask_price": "",
        "alias": "" if own_book else one.market_id,
        "alias_to": list(same_book) if own_book else [],
        "approximate_quote_24h_volume": "" if quote is None else plain(day.volume * quote.last),
        "fcm_trading_session_details": None,
    }


def money_name(currency: str) -> str:
    return "US Dollar" if currency == "USD" else currency


def candle(one: Candle) -> Json:
    return {
        "start": str(one.start),
        "low": plain(one.low),
        "high": plain(one.high),
        "open": plain(one.open),
        "close": plain(one.close),
        "volume": plain(one.volume),
    }


def trade(one: Trade, product_id: str) -> Json:
    return {
        "trade_id": one.trade_id,
        "product_id": product_id,
        "price": plain(one.price),
        "size": plain(one.size),
        "time": iso(one.at_us),
        "side": one.maker_side,
        "bid": "",
        "ask": "",
        "exchange": "CBE",
    }


def price_book(one: Product, quote: Quote, bids: Iterable[Level], asks: Iterable[Level]) -> Json:
    """Levels of each side, the best first."""
    return {
        "product_id": one.product_id,
        "bids": [_level(level) for level in bids],
        "asks": [_level(level) for level in asks],
        "time": iso(quote.at_us),
    }


def _level(level: Level) -> Json:
    return {"price": plain(level.price), "size": plain(level.size)}


def product_book(quote: Quote, book: Json) -> Json:
    """A price book with what follows from its quote."""
    middle = (quote.bid + quote.ask) / 2
    spread = quote.ask - quote.bid
    return {
        "pricebook": book,
        "last": plain(quote.last),
        "mid_market": plain(middle),
        "spread_bps": plain((spread / middle * 10_000).quantize(Decimal("0.0001"))),
        "spread_absolute": plain(spread),
    }


def order(one: Order, settlement: Settlement) -> Json:
    buying = one.side == "BUY"
    after_fees = EXACT.add(one.filled_value, one.fees) if buying else EXACT.subtract(one.filled_value, one.fees)
    average = one.filled_value / one.filled_size if one.filled_size else ZERO
    in_quote, failed = one.quote_size is not None, one.status is Status.FAILED
    return {
        "order_id": one.order_id,
        "client_order_id": one.client_order_id,
        "product_id": one.product_id,
        "user_id": USER_ID,
        "order_configuration": {one.variant: json.loads(one.terms)},
        "side": one.side,
        "status": settlement.status(one),
        "time_in_force": time_in_force(one.variant),
        "created_time": iso(one.created_us),
        "last_update_time": iso(one.updated_us),
        "last_fill_time": None if one.last_fill_us is None else iso(one.last_fill_us),
        "completion_percentage": _completion(one),
        "filled_size": plain(one.filled_size),
        "average_filled_price": plain(average),
        "filled_value": plain(one.filled_value),
        "number_of_fills": str(one.fill_count),
        "fee": "",
        "total_fees": plain(one.fees),
        "total_value_after_fees": plain(after_fees),
        "size_in_quote": in_quote,
        "size_inclusive_of_fees": in_quote,
        "pending_cancel": one.cancels,
        "settled": settlement.settled(one),
        "is_liquidation": False,
        "outstanding_hold_amount": plain(one.hold),
        "order_type": order_type(one.variant),
        "trigger_status": trigger_status(one),
        "reject_reason": "COMMANDER_REJECTED_NEW_ORDER" if failed else "REJECT_REASON_UNSPECIFIED",
        "reject_message": one.message if failed else "",
        "cancel_message": "" if failed else one.message,
        "product_type": "SPOT",
        "order_placement_source": "RETAIL_ADVANCED",
        "edit_history": json.loads(one.edits),
        "leverage": "",
        "margin_type": "",
        "retail_portfolio_id": PORTFOLIO_ID,
        "originating_order_id": one.parent_id,
        "attached_order_id": attached_id(one.order_id) if one.attached else "",
        **_attached_configuration(one),
    }


def _attached_configuration(one: Order) -> Json:
    """Left out where there is none: the official client reads into it."""
    return {"attached_order_configuration": {"trigger_bracket_gtc": json.loads(one.attached)}} if one.attached else {}


def _completion(one: Order) -> str:
    """Percent of the asked size that is filled. A size in quote currency holds its fee, so what is filled of it does too."""
    if one.status is Status.FILLED:
        return "100"
    if one.quote_size:
        share = EXACT.add(one.filled_value, one.fees) / one.quote_size
    else:
        share = one.filled_size / one.base_size if one.base_size else ZERO
    return plain((share * _HUNDRED).quantize(_PERCENT_STEP, ROUND_DOWN))


def fill(one: Fill) -> Json:
    return {
        "entry_id": one.entry_id,
        "trade_id": one.trade_id,
        "order_id": one.order_id,
        "trade_time": iso(one.at_us),
        "trade_type": "FILL",
        "price": plain(one.price),
        "size": plain(one.size),
        "commission": plain(one.commission),
        "product_id": one.product_id,
        "sequence_timestamp": iso(one.at_us),
        "liquidity_indicator": one.liquidity,
        "size_in_quote": False,
        "user_id": USER_ID,
        "side": one.side,
        "retail_portfolio_id": PORTFOLIO_ID,
    }


def created(one: Order, request: OrderRequest) -> Json:
    """A repeated id gives the stored order beside the side and the configuration of the new request: seen on the venue
    (coinbase-advanced-py#49), where the reply alone does not tell that it is no new order.
    """
    return {
        "success": True,
        "success_response": {
            "order_id": one.order_id,
            "product_id": one.product_id,
            "side": request.side,
            "client_order_id": one.client_order_id,
            "attached_order_id": attached_id(one.order_id) if one.attached else "",
        },
        "order_configuration": _echo(request),
    }


def rejected(reason: Rejection, request: OrderRequest) -> Json:
    response = {
        "error": reason.error,
        "message": reason.message,
        "error_details": "",
        "preview_failure_reason": reason.preview,
    }
    # Seen on the venue: a refusal for lack of funds comes without this field.
    if reason.new_order and reason.new_order != "INSUFFICIENT_FUND":
        response["new_order_failure_reason"] = reason.new_order
    return {
        "success": False,
        "error_response": response,
        "order_configuration": _echo(request),
    }


def _echo(request: OrderRequest) -> Json:
    return {request.configuration.variant: dict(request.configuration.terms)}


def average_price(walk: Walk) -> Decimal:
    return walk.value / walk.size if walk.size else ZERO


def edit_error(reason: str) -> Json:
    return {"edit_failure_reason": reason, "preview_failure_reason": "UNKNOWN_PREVIEW_FAILURE_REASON"}


def edit_preview(against: Sequence[str], quote: Quote | None, amounts: Walk | None) -> Json:
    """What an edited order would come to; the reasons against it are in `errors`, with HTTP 200."""
    total = ZERO if amounts is None else EXACT.add(amounts.value, amounts.fee)
    return {
        "errors": [edit_error(reason) for reason in against],
        "slippage": "0",
        "order_total": plain(total),
        "commission_total": plain(ZERO if amounts is None else amounts.fee),
        "quote_size": plain(ZERO if amounts is None else amounts.value),
        "base_size": plain(ZERO if amounts is None else amounts.size),
        "best_bid": "" if quote is None else plain(quote.bid),
        "best_ask": "" if quote is None else plain(quote.ask),
        "average_filled_price": plain(ZERO if amounts is None else average_price(amounts)),
    }
