"""The reader of a WebSocket connection: whatever comes, it gives exactly the events that were sent, in order, or says that it
cannot be relied on; and nothing raises."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_client import (
    Alive,
    BestBid,
    FeedEvent,
    FeedFault,
    FeedLost,
    Ignored,
    OrderChanged,
    Synchronised,
)
from exchange_client.coinbase.feed_reader import TICKER, USER, FeedReader

D = Decimal
SILENT = 5.0


def frame(number: int, channel: str, *events: object, **more: object) -> bytes:
    told = {"channel": channel, "client_id": "", "timestamp": "-", "sequence_num": number, "events": events}
    return json.dumps(told | more).encode()


def subscriptions(number: int, *channels: str) -> bytes:
    return frame(number, "subscriptions", {"subscriptions": {name: [name] for name in channels}})


def order(name: str, filled: str, status: str = "OPEN", **more: object) -> dict[str, object]:
    return {"order_id": name, "client_order_id": f"c-{name}", "cumulative_quantity": filled, "status": status} | more


def orders(number: int, *told: dict[str, object], kind: str = "update") -> bytes:
    return frame(number, "user", {"type": kind, "orders": told, "positions": {}})


def ticker(number: int, product_id: str, bid: object) -> bytes:
    return frame(number, "ticker", {"type": "update", "tickers": [{"product_id": product_id, "best_bid": bid}]})


def beat(number: int) -> bytes:
    return frame(number, "heartbeats", {"current_time": "2026-01-01 00:00:00 +0000 UTC", "heartbeat_counter": "7"})


OPENING = [
    subscriptions(0, "user"),
    orders(1, order("old", "1"), kind="snapshot"),
    subscriptions(2, "user", "heartbeats"),
]


def reader(channel: str = USER, *product_ids: str, now: float = 0.0) -> FeedReader:
    return FeedReader(channel, product_ids, SILENT, now)


def read(made: FeedReader, *frames: bytes, now: float = 0.0) -> tuple[list[FeedEvent], FeedFault | None]:
    """Everything up to the first loss."""
    events: list[FeedEvent] = []
    for one in frames:
        reading = made.read(one, now)
        events += reading.events
        if reading.loss is not None:
            return events, reading.loss.fault
    return events, None


def test_orders_that_change_are_told_after_the_subscription_is_confirmed() -> None:
    told = orders(3, order("a", "0.5"), order("b", "", "Filled"), order("c", "2", "CANCELLED", client_order_id=None))
    events, lost = read(reader(), *OPENING, told, beat(4))
    assert lost is None
    assert events == [
        Synchronised(),
        OrderChanged("a", "c-a", D("0.5"), ended=False),
        OrderChanged("b", "c-b", D(0), ended=True),
        OrderChanged("c", "", D(2), ended=True),
        Alive(),
    ]


def test_bids_are_told_of_the_products_that_are_wanted_by_whatever_name() -> None:
    opening = subscriptions(5, "ticker", "heartbeats")
    told = [
        ticker(6, "BTC-USD", "45000.5"),
        ticker(7, "ETH-USD", "1"),
        ticker(8, "BTC-USD", ""),
        ticker(9, "SOL-USD", "0"),
    ]
    events, lost = read(reader(TICKER, "BTC-USDC", "SOL-USD"), opening, *told)
    assert lost is None
    assert events == [
        Synchronised(),
        BestBid("BTC-USDC", D("45000.5")),
        BestBid("BTC-USDC", None),
        BestBid("SOL-USD", None),
    ]


def test_a_missing_message_ends_the_trust_and_a_repeated_or_late_one_does_not() -> None:
    assert read(reader(), *OPENING, beat(4)) == ([Synchronised()], FeedFault.GAP)
    again = [*OPENING, orders(3, order("a", "1")), orders(3, order("a", "1")), beat(2), beat(4)]
    found = [
        Synchronised(),
        OrderChanged("a", "c-a", D(1), ended=False),
        Ignored("repeated"),
        Ignored("repeated"),
        Alive(),
    ]
    assert read(reader(), *again) == (found, None)
    made = reader()
    read(made, *OPENING, beat(9))
    assert read(made, beat(3)) == ([], FeedFault.GAP), "what is lost stays lost"


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (b'{"type":"error","message":"authentication failure"}', FeedFault.REFUSED),
        (b'{"type":"error"}', FeedFault.REFUSED),
        (subscriptions(3, "heartbeats"), FeedFault.REFUSED),
        (b"", FeedFault.MALFORMED),
        (b"[]", FeedFault.MALFORMED),
        (b"\xff\xfe", FeedFault.MALFORMED),
        (orders(3, order("a", "1"))[:40], FeedFault.MALFORMED),
        (b"[" * 100_000, FeedFault.MALFORMED),
        (b'{"channel":"user","sequence_num":1e99999999999999999999,"events":[]}', FeedFault.MALFORMED),
        (frame(-1, "user"), FeedFault.MALFORMED),
        (frame(3, "user", sequence_num="3"), FeedFault.MALFORMED),
        (frame(3, "user", sequence_num=True), FeedFault.MALFORMED),
        (frame(3, "user", sequence_num=3.5), FeedFault.MALFORMED),
        (frame(3, "user", sequence_num=float("nan")), FeedFault.MALFORMED),
        (frame(2**63, "user"), FeedFault.MALFORMED),
        (frame(3, "user", "no object"), FeedFault.MALFORMED),
        (frame(3, "user", {"type": "update"}), FeedFault.MALFORMED),
        (frame(3, "subscriptions", {"subscriptions": ["user"]}), FeedFault.MALFORMED),
        (orders(3, order("a", "NaN")), FeedFault.MALFORMED),
        (orders(3, order("a", "1", "")), FeedFault.MALFORMED),
        (orders(3, {"order_id": "a\nb", "status": "OPEN"}), FeedFault.MALFORMED),
    ],
)
def test_what_cannot_be_read_ends_the_trust(told: bytes, fault: FeedFault) -> None:
    assert read(reader(), *OPENING, told) == ([Synchronised()], fault)


def test_a_bid_that_is_no_price_ends_the_trust() -> None:
    for bid in ("-1", "NaN", "Infinity", [], {}, True):
        made = reader(TICKER, "BTC-USD")
        assert read(made, subscriptions(0, "ticker", "heartbeats"), ticker(1, "BTC-USD", bid))[1] is FeedFault.MALFORMED


def test_messages_of_other_channels_are_counted_and_told_as_such() -> None:
    events, lost = read(reader(), *OPENING, frame(3, "status"), frame(4, "news-of-2031", "?"), beat(5))
    assert (events[1:], lost) == ([Ignored("channel"), Ignored("channel"), Alive()], None)


def test_a_feed_without_heartbeats_or_confirmation_is_silent() -> None:
    made = reader(now=10.0)
    assert (made.left(12.0), made.silence(14.9)) == (3.0, None)
    # Heartbeats alone confirm nothing.
    read(made, beat(0), now=14.0)
    assert isinstance(made.silence(15.0), FeedLost)
    made = reader(now=10.0)
    read(made, *OPENING, now=11.0)
    read(made, orders(3, order("a", "1")), now=15.0)
    assert made.left(15.5) == 0.5
    read(made, beat(4), now=15.5)
    assert (made.left(15.5), made.silence(20.4)) == (SILENT, None)
    lost = made.silence(20.5)
    assert lost is not None and lost.fault is FeedFault.SILENT and "no heartbeat for 5 s" in lost.why


# ---- properties ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """What was sent, and what arrives of it."""

    sent: list[bytes]
    arrives: list[bytes]


KINDS = ("kept", "dropped", "repeated", "swapped", "truncated", "garbage")


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Orders and heartbeats after the opening, each of which may meet a fault on its way."""
    sent = list(OPENING)
    for at in range(draw(st.integers(0, 12))):
        number = len(sent)
        sent.append(beat(number) if draw(st.booleans()) else orders(number, order(f"o{at}", str(at))))
    arrives: list[bytes] = []
    held: list[bytes] = []
    for one in sent:
        met = draw(st.sampled_from(KINDS)) if draw(st.integers(0, 5)) == 0 else "kept"
        if met == "swapped":
            held.append(one)
            continue
        arrives += {
            "kept": [one],
            "dropped": [],
            "repeated": [one, one],
            "truncated": [one[: len(one) // 2]],
            "garbage": [b"<html>502</html>"],
        }[met]
        arrives += held
        held = []
    return Story(sent, [*arrives, *held])


def news(events: list[FeedEvent]) -> list[FeedEvent]:
    return [event for event in events if isinstance(event, OrderChanged)]


@given(stories())
def test_whatever_happens_on_the_way_it_is_all_in_order_or_known_to_be_lost(story: Story) -> None:
    whole, lost = read(reader(), *story.sent)
    assert lost is None
    told, fault = read(made := reader(), *story.arrives)
    assert news(told) == news(whole)[: len(news(told))], "in order, each once, from the first"
    if fault is None and Synchronised() in told and story.sent[-1] in story.arrives:
        # The newest message came and no loss was told, so nothing that was sent is missing.
        assert news(told) == news(whole)
    if fault is None and Synchronised() not in told:
        assert made.silence(SILENT) is not None, "it is not relied on, and does not wait for ever"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["user", "update", "OPEN", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
rows = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("order_id", "client_order_id", "cumulative_quantity", "status", "product_id", "best_bid"), json_values
    ),
)
event_bodies = st.fixed_dictionaries(
    {},
    optional={
        "type": json_values,
        "orders": st.lists(rows),
        "tickers": st.lists(rows),
        "subscriptions": st.just({"user": [], "ticker": [], "heartbeats": []}) | json_values,
    },
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "channel": st.sampled_from(["user", "ticker", "heartbeats", "subscriptions"]) | json_values,
        "type": st.just("error") | json_values,
        "sequence_num": st.integers(0, 3) | json_values,
        "events": st.lists(event_bodies, max_size=3) | json_values,
    },
)


@given(
    st.sampled_from([USER, TICKER]),
    st.lists(
        st.binary(max_size=60) | envelopes.map(lambda told: json.dumps(told).encode("utf-8", "surrogatepass")),
        max_size=6,
    ),
)
def test_no_frame_raises_and_nothing_is_told_after_a_loss(channel: str, frames: list[bytes]) -> None:
    made, lost = reader(channel, "BTC-USD", "ETH-USDC"), False
    for one in frames:
        reading = made.read(one, 1.0)
        assert not (lost and reading.events)
        lost = lost or reading.loss is not None
        assert lost is (reading.loss is not None)
        for event in reading.events:
            check(event)


def check(event: Any) -> None:
    """Everything that is told is well-formed."""
    if isinstance(event, BestBid):
        assert event.price is None or (event.price.is_finite() and event.price > 0)
        assert event.product_id in ("BTC-USD", "ETH-USDC")
    if isinstance(event, OrderChanged):
        assert event.filled_size.is_finite() and event.exchange_order_id.isascii()
