"""What a WebSocket connection says, read frame by frame: events, or why it cannot be relied on any more.

Pure: no socket and no clock; `now` is monotonic seconds, handed in. A frame is hostile until it is read: nothing in it can
raise out of here. Messages of a connection are numbered over all its channels, and none is sent again: one that is missing,
or that cannot be read, ends the trust in the connection, and the next one begins anew. One that comes a second time or late
is left out. Before both subscriptions are confirmed nothing is told: it could not be known to be all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from exchange_client.coinbase import replies
from exchange_client.coinbase.bad_reply import BadReply
from exchange_client.coinbase.replies import Json
from exchange_client.feed import Alive, BestBid, FeedEvent, FeedFault, FeedLost, Ignored, OrderChanged, Synchronised
from exchange_client.models import TERMINAL_STATUSES
from tradekit.units import BaseSize, Price, ProductId

USER, TICKER, HEARTBEATS = "user", "ticker", "heartbeats"
_SUBSCRIPTIONS = "subscriptions"
_MOST = 2**63
# Markets in USDC share the prices of those in USD, and are told under that name.
_USDC, _USD = "-USDC", "-USD"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a frame told. After a loss there is nothing more to read."""

    events: tuple[FeedEvent, ...] = ()
    loss: FeedLost | None = None


class FeedReader:
    """One connection on which `channel` and heartbeats are subscribed. It is silent when no heartbeat came for
    `silent_seconds`, or when the exchange has not confirmed both subscriptions by then."""

    def __init__(self, channel: str, product_ids: Iterable[ProductId], silent_seconds: float, now: float) -> None:
        self._channel = channel
        self._told_as = _names(product_ids)
        self._silent_seconds = silent_seconds
        self._opened_at = self._beat_at = now
        self._synchronised = False
        # The number that the next message has; any before the first.
        self._next: int | None = None
        self._loss: FeedLost | None = None

    def read(self, frame: bytes, now: float) -> Reading:
        """The events of one frame, in order."""
        if self._loss is not None:
            return Reading(loss=self._loss)
        try:
            return Reading(tuple(self._events(replies.read_json(frame), now)))
        except BadReply as error:
            self._loss = FeedLost(FeedFault.MALFORMED, str(error))
        except FeedLost as loss:
            self._loss = loss
        return Reading(loss=self._loss)

    def left(self, now: float) -> float:
        """Seconds until it is silent unless something comes; 0 where it is."""
        since = self._beat_at if self._synchronised else self._opened_at
        return max(since + self._silent_seconds - now, 0.0)

    def silence(self, now: float) -> FeedLost | None:
        """Its loss, if it is silent."""
        if self._loss is None and self.left(now) <= 0:
            what = "no heartbeat" if self._synchronised else "no confirmation"
            self._loss = FeedLost(FeedFault.SILENT, f"{what} for {self._silent_seconds:g} s")
        return self._loss

    # ---- one message -------------------------------------------------------------------------------------------------

    def _events(self, message: Json, now: float) -> list[FeedEvent]:
        channel = message.get("channel")
        if channel is None and message.get("type") == "error":
            # The only message without a number.
            raise FeedLost(FeedFault.REFUSED, replies.text(message, "message")[:200] or "without a word")
        name = replies.identifier(message, "channel")
        if not self._in_turn(_number(message)):
            return [Ignored("repeated")]
        if name == HEARTBEATS:
            self._beat_at = now
            return [Alive()]
        if name == _SUBSCRIPTIONS:
            return list(self._confirmed(replies.rows(message, "events"), now))
        if name != self._channel:
            return [Ignored("channel")]
        if not self._synchronised:
            return []
        read = self._orders if name == USER else self._bids
        return [event for row in replies.rows(message, "events") for event in read(row)]

    def _in_turn(self, number: int) -> bool:
        """False for a message that came before. FeedLost where one did not come."""
        if self._next is not None and number > self._next:
            raise FeedLost(FeedFault.GAP, f"message {self._next} did not come, but {number}")
        if self._next is not None and number < self._next:
            return False
        self._next = number + 1
        return True

    def _confirmed(self, rows: Iterable[Json], now: float) -> Iterator[FeedEvent]:
        for row in rows:
            told = row.get(_SUBSCRIPTIONS)
            if not isinstance(told, Mapping):
                raise BadReply(f"{_SUBSCRIPTIONS} is no object")
            whole = {self._channel, HEARTBEATS} <= told.keys()
            if self._synchronised and not whole:
                raise FeedLost(FeedFault.REFUSED, f"only {', '.join(sorted(told))[:100]} is subscribed any more")
            if whole and not self._synchronised:
                self._synchronised, self._beat_at = True, now
                yield Synchronised()

    def _orders(self, event: Json) -> Iterator[FeedEvent]:
        """A snapshot tells nothing: it is as old as the subscription, after which all orders are asked for."""
        orders = replies.rows(event, "orders")
        if event.get("type") == "snapshot":
            return
        for row in orders:
            yield OrderChanged(
                exchange_order_id=replies.identifier(row, "order_id"),
                client_order_id=replies.text(row, "client_order_id"),
                filled_size=BaseSize(replies.decimal(row, "cumulative_quantity")),
                ended=replies.identifier(row, "status").upper() in TERMINAL_STATUSES,
            )

    def _bids(self, event: Json) -> Iterator[FeedEvent]:
        for row in replies.rows(event, "tickers"):
            price = replies.decimal(row, "best_bid")
            if price < 0:
                raise BadReply("best_bid is below zero")
            for product_id in self._told_as.get(replies.identifier(row, "product_id"), ()):
                yield BestBid(product_id, Price(price) if price else None)


def _number(message: Json) -> int:
    number = message.get("sequence_num")
    if not isinstance(number, Decimal) or not 0 <= number < _MOST or number != int(number):
        raise BadReply("sequence_num is no number of a message")
    return int(number)


def _names(product_ids: Iterable[ProductId]) -> dict[str, list[ProductId]]:
    """The products that are meant by a name in a message."""
    found: dict[str, list[ProductId]] = {}
    for product_id in product_ids:
        shared = product_id.removesuffix(_USDC) + _USD if product_id.endswith(_USDC) else product_id
        for name in {product_id, shared}:
            found.setdefault(name, []).append(product_id)
    return found
