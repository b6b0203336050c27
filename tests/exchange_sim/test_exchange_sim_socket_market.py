"""Each channel of the market agrees with REST at the same instant, and says nothing while time stands still."""

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from exchange_feed import Feed, Message, feed

from exchange_sim.times import SECOND_US, iso

D = Decimal
ALL = ["BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD", "DOGE-USD", "LINK-USD"]


@pytest.fixture(scope="module")
def own(launch: Callable[..., Any]) -> Any:
    """Its clock moves only when a test moves it."""
    return launch()


def wait_on(own: Any, seconds: int) -> None:
    now = int(own.client().get_unix_time().epoch_seconds)
    own.advance(iso((now + seconds) * SECOND_US))


def entries(opened: Feed, channel: str, what: str, kind: str | None = None) -> list[Message]:
    return [one for event in opened.events(channel, kind) for one in event[what]]


def test_ticker(own: Any) -> None:
    client = own.client()
    with feed(own, key=None) as opened:
        opened.client.ticker(product_ids=["BTC-USD", "ETH-USD"])
        snapshot = opened.wait_for("ticker", "snapshot")
        assert [one["product_id"] for one in snapshot["events"][0]["tickers"]] == ["BTC-USD", "ETH-USD"]
        check_ticker(client, snapshot["events"][0]["tickers"][0])
        wait_on(own, 3600)
        opened.wait_for("ticker", "update")
        highest, lowest = day_range(client, "BTC-USD")

        def latest() -> Message:
            return [one for one in entries(opened, "ticker", "tickers") if one["product_id"] == "BTC-USD"][-1]

        opened.wait(lambda _: (D(latest()["high_24_h"]), D(latest()["low_24_h"])) == (highest, lowest))
        check_ticker(client, latest())


def day_range(client: Any, product_id: str) -> tuple[Decimal, Decimal]:
    now = int(client.get_unix_time().epoch_seconds)
    candles = client.get_candles(product_id, str(now - 86_400), str(now), "FIVE_MINUTE").candles
    return max(D(one.high) for one in candles), min(D(one.low) for one in candles)


def check_ticker(client: Any, told: Message) -> None:
    product = client.get_product(told["product_id"])
    book = client.get_product_book(told["product_id"]).pricebook
    assert told["type"] == "ticker"
    assert (told["price"], told["volume_24_h"]) == (product.price, product.volume_24h)
    assert told["price_percent_chg_24_h"] == product.price_percentage_change_24h
    assert (told["best_bid"], told["best_bid_quantity"]) == (book.bids[0].price, book.bids[0].size)
    assert (told["best_ask"], told["best_ask_quantity"]) == (book.asks[0].price, book.asks[0].size)
    assert (D(told["high_24_h"]), D(told["low_24_h"])) == day_range(client, told["product_id"])
    now = int(client.get_unix_time().epoch_seconds)
    days = client.get_candles(told["product_id"], str(now - 340 * 86_400), str(now), "ONE_DAY").candles
    assert len(days) > 19, "the market's whole past"
    assert D(told["high_52_w"]) == max(D(one.high) for one in days)
    assert D(told["low_52_w"]) == min(D(one.low) for one in days)


def test_ticker_batch_has_no_bid_and_comes_every_five_seconds(launch: Callable[..., Any]) -> None:
    moving = launch(speed=60)
    with feed(moving, key=None) as opened:
        opened.client.heartbeats()
        opened.client.ticker_batch(product_ids=["BTC-USD"])
        opened.wait(lambda _: len(opened.events("ticker_batch", "update")) >= 3)
    assert not [name for one in entries(opened, "ticker_batch", "tickers") for name in one if name.startswith("best_")]
    channels = [one["channel"] for one in opened.messages]
    batches = [place for place, name in enumerate(channels) if name == "ticker_batch"][1:]
    for before, after in pairwise(batches):
        assert channels[before:after].count("heartbeats") == 5
    assert len(batches) >= 3


def test_candles(own: Any) -> None:
    client = own.client()

    def stored(count: int) -> list[Message]:
        now = int(client.get_unix_time().epoch_seconds)
        found = client.get_candles("SOL-USD", str(now - 300 * count), str(now), "FIVE_MINUTE").candles
        names = ("start", "high", "low", "open", "close", "volume")
        return [{name: getattr(one, name) for name in names} | {"product_id": "SOL-USD"} for one in found[:count]]

    with feed(own, key=None) as opened:
        opened.client.candles(product_ids=["SOL-USD"])
        opened.wait_for("candles", "snapshot")
        assert entries(opened, "candles", "candles", "snapshot") == stored(100)[::-1]
        wait_on(own, 450)
        opened.wait_for("candles", "update")
        opened.wait(lambda _: entries(opened, "candles", "candles", "update")[-1] == stored(1)[0])
        wait_on(own, 30)
        opened.wait(lambda _: entries(opened, "candles", "candles", "update")[-1] == stored(1)[0])
        latest = {one["start"]: one for one in entries(opened, "candles", "candles", "update")}
        for one in stored(len(latest)):
            assert latest[one["start"]] == one, "the last word on a bucket is what it became"
        starts = [int(one["start"]) for one in entries(opened, "candles", "candles", "update")]
        assert starts == sorted(starts) and len(set(starts)) >= 2


def test_market_trades(own: Any) -> None:
    client = own.client()

    def stored(count: int) -> list[Message]:
        names = ("trade_id", "product_id", "price", "size", "time", "side")
        found = client.get_market_trades("ETH-USD", count).trades
        return [{name: getattr(one, name) for name in names} for one in found[::-1]]

    with feed(own, key=None) as opened:
        opened.client.market_trades(product_ids=["ETH-USD"])
        opened.wait_for("market_trades", "snapshot")
        before = stored(100)
        assert entries(opened, "market_trades", "trades") == before
        wait_on(own, 170)
        new = [one for one in stored(100) if one["time"] > before[-1]["time"]]
        assert len(new) == 17
        opened.wait(lambda _: len(entries(opened, "market_trades", "trades", "update")) >= len(new))
        assert entries(opened, "market_trades", "trades", "update") == new


def test_level2(own: Any) -> None:
    client = own.client()
    book: dict[tuple[str, str, str], str] = {}

    def replay(opened: Feed) -> dict[tuple[str, str, str], str]:
        """What a client's book is after all it was told; every removal must hit a level that is there."""
        book.clear()
        for event in opened.events("l2_data"):
            for one in event["updates"]:
                key = event["product_id"], one["side"], one["price_level"]
                if one["new_quantity"] == "0":
                    del book[key]
                else:
                    book[key] = one["new_quantity"]
        return book

    def stored() -> dict[tuple[str, str, str], str]:
        found = {}
        for product_id in ("BTC-USD", "DOGE-USD"):
            shown = client.get_product_book(product_id).pricebook
            found |= {(product_id, "bid", one.price): one.size for one in shown.bids}
            found |= {(product_id, "offer", one.price): one.size for one in shown.asks}
        return found

    with feed(own, key=None) as opened:
        opened.client.level2(product_ids=["BTC-USD", "DOGE-USD"])
        opened.wait(lambda _: len(opened.events("l2_data", "snapshot")) == 2)
        assert replay(opened) == stored()
        first = stored()
        wait_on(own, 7200)
        assert stored() != first
        opened.wait(lambda _: replay(opened) == stored())
        assert len(opened.events("l2_data", "snapshot")) == 2 and opened.events("l2_data", "update")


def test_status_names_what_rest_names(own: Any) -> None:
    client = own.client()
    with feed(own, key=None) as opened:
        opened.client.status(product_ids=[])
        products = opened.wait_for("status", "snapshot")["events"][0]["products"]
    assert [one["id"] for one in products] == ALL
    for told in products:
        product = client.get_product(told["id"])
        assert (told["base_increment"], told["quote_increment"]) == (product.base_increment, product.quote_increment)
        assert (told["base_currency"], told["quote_currency"]) == (product.base_currency_id, product.quote_currency_id)
        assert (told["status"], told["min_market_funds"]) == (product.status, product.quote_min_size)
        assert (told["product_type"], told["status_message"]) == ("SPOT", "")


def test_a_market_that_stands_still_sends_snapshots_and_heartbeats_only(own: Any) -> None:
    client = own.client()
    with feed(own) as opened:
        channels = ["ticker", "ticker_batch", "candles", "market_trades", "level2", "status"]
        opened.client.subscribe(product_ids=["BTC-USD"], channels=channels)
        opened.client.subscribe(product_ids=[], channels=["heartbeats"])
        opened.beats(6)
        kinds = [(one["channel"], event.get("type")) for one in opened.messages for event in one["events"]]
        assert [one for one in kinds if one[1] == "update"] == []
        assert sorted(channel for channel, kind in kinds if kind == "snapshot") == sorted(
            name.replace("level2", "l2_data") for name in channels
        )
        counters = [int(event["heartbeat_counter"]) for event in opened.events("heartbeats")]
        assert counters == list(range(1, len(counters) + 1))
        now = client.get_unix_time().iso
        assert {one["timestamp"] for one in opened.messages} == {now}
        assert opened.events("heartbeats")[0]["current_time"] == f"{now[:10]} {now[11:19]} +0000 UTC"
        assert opened.numbers() == list(range(len(opened.messages)))
