"""What a client may say on the WebSocket: subscribe to one channel, or unsubscribe from it. Everything else is a BadMessage.

Unknown fields pass, as they do on the venue: clients send `user_id`, `timestamp` and the like of older kinds of signing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from exchange_sim.order_request import BadBody, read_object

HEARTBEATS, STATUS, USER = "heartbeats", "status", "user"
TICKER, TICKER_BATCH, CANDLES = "ticker", "ticker_batch", "candles"
MARKET_TRADES, LEVEL2 = "market_trades", "level2"
CHANNELS = (HEARTBEATS, STATUS, USER, TICKER, TICKER_BATCH, CANDLES, MARKET_TRADES, LEVEL2)


class BadMessage(Exception):
    """The message cannot be followed. The text is for the client."""


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """`product_ids` without repetition: where none are named, all of the market, and none for `user`, which follows orders.
    `token` is None when the message has none."""

    subscribes: bool
    channel: str
    product_ids: tuple[str, ...]
    token: str | None


def parse_message(text: str, known_products: Sequence[str]) -> SocketRequest:
    fields = _object(text)
    kind, channel = fields.get("type"), fields.get("channel")
    if kind not in ("subscribe", "unsubscribe"):
        raise BadMessage("type must be subscribe or unsubscribe")
    if not isinstance(channel, str) or channel not in CHANNELS:
        raise BadMessage(f"channel must be one of {', '.join(CHANNELS)}")
    token = fields.get("jwt")
    if token is not None and not isinstance(token, str):
        raise BadMessage("jwt must be a string")
    named = _products(fields.get("product_ids", []), known_products)
    everything = () if channel == USER else tuple(known_products)
    return SocketRequest(kind == "subscribe", channel, named or everything, token)


def _object(text: str) -> dict[str, object]:
    try:
        return read_object(text.encode())
    except (BadBody, UnicodeEncodeError) as error:
        raise BadMessage("message is not a JSON object") from error


def _products(value: object, known: Collection[str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadMessage("product_ids must be a list of strings")
    for product_id in value:
        if not isinstance(product_id, str):
            raise BadMessage("product_ids must be a list of strings")
        if product_id not in known:
            raise BadMessage("product_ids names a product that this exchange does not have")
    return tuple(dict.fromkeys(value))
