"""The venue's messages on the WebSocket, made of what they tell: no I/O, no clock.

What REST tells as well is taken from its shapes, so that both name an order's numbers alike.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from exchange_sim import views
from exchange_sim.market import Candle, DayStatistics, Level, Quote, Trade
from exchange_sim.numbers import ZERO, plain
from exchange_sim.orders import Order
from exchange_sim.products import Product
from exchange_sim.times import SECOND_US, iso
from exchange_sim.views import Json

_NO_TIME = "0001-01-01T00:00:00Z"
_NOT_STORED = views.Settlement(0.0, 0.0)  # a message about an order does not tell whether it is settled


@dataclass(frozen=True, slots=True)
class Range:
    low: Decimal
    high: Decimal


def envelope(channel: str, at_us: int, number: int, events: Sequence[Json]) -> str:
    """`number` counts the messages of one connection, over all its channels."""
    body = {
        "channel": channel,
        "client_id": "",
        "timestamp": iso(at_us),
        "sequence_num": number,
        "events": events,
    }
    return json.dumps(body, separators=(",", ":"))


def error(message: str) -> str:
    """An error has no envelope, and no number."""
    return json.dumps({"type": "error", "message": message}, separators=(",", ":"))


def subscriptions(by_channel: Mapping[str, Sequence[str]]) -> Json:
    return {"subscriptions": {channel: list(names) for channel, names in by_channel.items()}}


def heartbeat(at_us: int, counter: int) -> Json:
    """The time is written as Go prints it: no T, and no zeros at the end of the fraction."""
    when = datetime.fromtimestamp(at_us // SECOND_US, UTC).strftime("%Y-%m-%d %H:%M:%S")
    fraction = f".{at_us % SECOND_US:06}".rstrip("0").rstrip(".")
    return {"current_time": f"{when}{fraction} +0000 UTC", "heartbeat_counter": str(counter)}


def status(product: Product) -> Json:
    return {
        "product_type": "SPOT",
        "id": product.product_id,
        "base_currency": product.base,
        "quote_currency": product.quote,
        "base_increment": plain(product.base_increment),
        "quote_increment": plain(product.quote_increment),
        "display_name": f"{product.base}/{product.quote}",
        "status": product.status,
        "status_message": "",
        "min_market_funds": plain(product.quote_min_size),
    }


def ticker(
    product: Product, quote: Quote, day: DayStatistics, day_range: Range, year_range: Range, best: tuple[Level, Level]
) -> Json:
    """`best` are the first levels of bids and asks."""
    bid, ask = best
    return {
        **ticker_batch(product, quote, day, day_range, year_range, best),
        "best_bid": plain(bid.price),
        "best_bid_quantity": plain(bid.size),
        "best_ask": plain(ask.price),
        "best_ask_quantity": plain(ask.size),
    }


def ticker_batch(
    product: Product, quote: Quote, day: DayStatistics, day_range: Range, year_range: Range, best: tuple[Level, Level]
) -> Json:
    """The same without the best prices."""
    return {"type": "ticker"} | _prices(product, quote, day, day_range, year_range)


def _prices(product: Product, quote: Quote, day: DayStatistics, day_range: Range, year_range: Range) -> Json:
    shown = views.product(product, quote, day, ())
    return {
        "product_id": product.product_id,
        "price": shown["price"],
        "volume_24_h": shown["volume_24h"],
        "low_24_h": plain(day_range.low),
        "high_24_h": plain(day_range.high),
        "low_52_w": plain(year_range.low),
        "high_52_w": plain(year_range.high),
        "price_percent_chg_24_h": shown["price_percentage_change_24h"],
    }


def candle(one: Candle, product_id: str) -> Json:
    return views.candle(one) | {"product_id": product_id}


def trade(one: Trade, product_id: str) -> Json:
    shown = views.trade(one, product_id)
    return {name: shown[name] for name in ("trade_id", "product_id", "price", "size", "side", "time")}


def level(side: str, price: Decimal, quantity: Decimal, at_us: int) -> Json:
    """One level of a book with what now stands there; 0 takes it away. The venue calls the asking side `offer`."""
    return {"side": side, "event_time": iso(at_us), "price_level": plain(price), "new_quantity": plain(quantity)}


def book(kind: str, product_id: str, levels: Sequence[Json]) -> Json:
    return {"type": kind, "product_id": product_id, "updates": levels}


def orders(kind: str, some: Sequence[Order]) -> Json:
    positions: Json = {"perpetual_futures_positions": [], "expiring_futures_positions": []}
    return {"type": kind, "orders": [order(one) for one in some], "positions": positions}


def order(one: Order) -> Json:
    """All that has happened to the order so far, not its last step; every value is text."""
    shown, terms = views.order(one, _NOT_STORED), json.loads(one.terms)
    same = (
        "order_id",
        "client_order_id",
        "product_id",
        "status",
        "order_type",
        "filled_value",
        "number_of_fills",
        "completion_percentage",
        "total_fees",
        "total_value_after_fees",
        "outstanding_hold_amount",
        "time_in_force",
        "trigger_status",
        "product_type",
        "retail_portfolio_id",
    )
    return {name: shown[name] for name in same} | {
        "order_side": one.side,
        "avg_price": shown["average_filled_price"],
        "cumulative_quantity": shown["filled_size"],
        "leaves_quantity": plain(_leaves(one)),
        "limit_price": str(terms.get("limit_price", "")),
        "stop_price": str(terms.get("stop_price") or terms.get("stop_trigger_price") or ""),
        "post_only": "true" if terms.get("post_only") is True else "false",
        "creation_time": shown["created_time"],
        "start_time": _NO_TIME,
        "end_time": _NO_TIME if one.end_us is None else iso(one.end_us),
        "cancel_reason": shown["cancel_message"],
        "reject_reason": "",
        "contract_expiry_type": "UNKNOWN_CONTRACT_EXPIRY_TYPE",
        "risk_managed_by": "UNKNOWN_RISK_MANAGEMENT_TYPE",
    }


def _leaves(one: Order) -> Decimal:
    """What is still to be traded, in the unit the order was placed in; an order that is done leaves nothing."""
    if one.done_wall_seconds is not None:
        return ZERO
    if one.quote_size is not None:
        return one.quote_size - one.filled_value
    return (one.base_size or ZERO) - one.filled_size
