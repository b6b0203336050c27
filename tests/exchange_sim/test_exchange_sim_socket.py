"""The WebSocket's manners: answers, numbers, tokens, the first five seconds, strangers, slow readers, the end."""

import asyncio
import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from exchange_feed import PATIENCE_SECONDS, ask, farewell, feed, plain_socket, receive, token

D = Decimal
HEARTBEATS = {"type": "subscribe", "channel": "heartbeats"}


def test_every_subscription_is_answered_with_all_there_are(sim: Any) -> None:
    with feed(sim) as opened:
        client = opened.client

        def answer(number: int) -> dict[str, list[str]]:
            opened.wait(lambda _: len(opened.events("subscriptions")) == number)
            return opened.events("subscriptions")[-1]["subscriptions"]

        client.ticker(product_ids=["BTC-USD"])
        assert answer(1) == {"ticker": ["BTC-USD"]}
        client.ticker(product_ids=["ETH-USD", "BTC-USD"])
        assert answer(2) == {"ticker": ["BTC-USD", "ETH-USD"]}
        client.level2(product_ids=["SOL-USD"])
        assert answer(3) == {"ticker": ["BTC-USD", "ETH-USD"], "level2": ["SOL-USD"]}
        client.user(product_ids=[])
        assert len(answer(4)["user"]) == 1
        client.user_unsubscribe(product_ids=[])
        assert "user" not in answer(5)
        client.heartbeats()
        assert answer(6)["heartbeats"] == ["heartbeats"]
        client.ticker_unsubscribe(product_ids=["BTC-USD"])
        assert answer(7) == {"heartbeats": ["heartbeats"], "ticker": ["ETH-USD"], "level2": ["SOL-USD"]}
        client.unsubscribe(product_ids=[], channels=["ticker", "level2", "heartbeats", "candles"])
        assert answer(11) == {}


def test_numbers_have_no_gap_over_all_channels(launch: Callable[..., Any]) -> None:
    moving = launch(speed=600)
    channels = ["ticker", "ticker_batch", "candles", "market_trades", "level2", "status", "user"]
    with feed(moving) as opened, feed(moving) as other:
        opened.client.subscribe(product_ids=[], channels=["heartbeats"])
        opened.client.subscribe(product_ids=["BTC-USD", "ETH-USD"], channels=channels)
        other.client.heartbeats()
        for channel in ("ticker", "ticker_batch", "candles", "market_trades", "l2_data"):
            opened.wait_for(channel, "update")
        moving.client().market_order_buy("numbered", "BTC-USD", quote_size="100")
        opened.wait_for("user", "update")
        opened.beats(2)
        other.beats(2)
        assert opened.numbers() == list(range(len(opened.messages)))
        assert other.numbers() == list(range(len(other.messages))), "each connection counts for itself"
        for message in opened.messages:
            assert list(message) == ["channel", "client_id", "timestamp", "sequence_num", "events"]
            assert message["client_id"] == "" and message["events"]
        times = [message["timestamp"] for message in opened.messages]
        assert times == sorted(times)


def test_who_names_no_products_gets_them_all(sim: Any) -> None:
    with feed(sim, key=None) as opened:
        opened.client.ticker(product_ids=[])
        told = opened.wait_for("ticker", "snapshot")["events"][0]["tickers"]
        assert [one["product_id"] for one in told] == [one.product_id for one in sim.client().get_products().products]


@pytest.mark.parametrize(
    "first", [None, "{", '{"type":"subscribe","channel":"user"}', '{"type":"unsubscribe","channel":"ticker"}']
)
async def test_who_does_not_subscribe_in_five_seconds_is_hung_up_on(sim: Any, first: str | None) -> None:
    async with plain_socket(sim) as patient, plain_socket(sim) as idle:
        assert (await ask(patient, HEARTBEATS))["channel"] == "subscriptions"
        if first is not None:
            await idle.send_str(first)
        assert await farewell(idle) == (1008, "no subscription")
        told = [await receive(patient) for _ in range(7)]
        assert [one["channel"] for one in told] == ["heartbeats"] * 7, "who has subscribed stays"


BAD_TOKENS: dict[str, Callable[[Any], Any]] = {
    "none": lambda sim: None,
    "empty": lambda sim: "",
    "nonsense": lambda sim: "nonsense",
    "a header nested without end": lambda sim: "W" + "1tb" * 15_000 + ".e30.e30",
    "of a request": lambda sim: token(sim, uri=f"GET {sim.host}/api/v3/brokerage/accounts"),
    "of several requests": lambda sim: token(sim, uris=[f"GET {sim.host}/"]),
    "expired": lambda sim: token(sim, nbf=int(time.time()) - 121, exp=int(time.time()) - 1),
    "not yet valid": lambda sim: token(sim, nbf=int(time.time()) + 180, exp=int(time.time()) + 300),
    "living too long": lambda sim: token(sim, exp=int(time.time()) + 600),
    "of nobody": lambda sim: token(sim, headers={"kid": "nobody"}),
    "of another": lambda sim: token(sim, headers={"kid": sim.keys["viewer"].name}, sub=sim.keys["viewer"].name),
}


@pytest.mark.parametrize("case", BAD_TOKENS)
async def test_a_bad_token_is_refused_wherever_it_is_sent(sim: Any, case: str) -> None:
    bad = BAD_TOKENS[case](sim)
    refused = {"type": "error", "message": "authentication failure"}
    async with plain_socket(sim, "/ws/user") as opened:
        assert await ask(opened, {"type": "subscribe", "channel": "user", "jwt": bad}) == refused
        ticker = await ask(opened, {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"], "jwt": bad})
        if bad is None:
            assert ticker["channel"] == "subscriptions", "the market is open to everybody"
        else:
            assert ticker == refused
    async with plain_socket(sim, "/ws/user") as opened:
        good = await ask(opened, {"type": "subscribe", "channel": "user", "jwt": token(sim)})
        assert (good["channel"], good["sequence_num"]) == ("subscriptions", 0), "errors are not numbered"
        assert await ask(opened, {"type": "unsubscribe", "channel": "user", "jwt": bad}) != refused or bad is not None


async def test_either_clock_may_have_stamped_a_token(sim: Any) -> None:
    now = int(sim.client().get_unix_time().epoch_seconds)
    assert abs(now - time.time()) > 86_400
    async with plain_socket(sim) as opened:
        stamped = token(sim, nbf=now, exp=now + 120)
        assert (await ask(opened, {"type": "subscribe", "channel": "user", "jwt": stamped}))[
            "channel"
        ] == "subscriptions"


def test_a_token_of_a_message_opens_no_path(sim: Any) -> None:
    headers = {"Authorization": f"Bearer {token(sim)}"}
    answer = sim.session().get(f"https://{sim.host}/api/v3/brokerage/accounts", headers=headers, timeout=30)
    assert answer.status_code == 401


async def test_orders_are_told_only_to_keys_that_may_view(launch: Callable[..., Any]) -> None:
    own = launch()
    own.stop()
    rows = json.loads((own.folder / "keys.json").read_text())
    for row in rows:
        row["can_view"] = row["name"] != own.keys["trader"].name
    (own.folder / "keys.json").write_text(json.dumps(rows))
    own.start()
    async with plain_socket(own) as opened:
        blind = {"type": "subscribe", "channel": "user", "jwt": token(own, "trader")}
        assert await ask(opened, blind) == {"type": "error", "message": "Missing required scopes"}
        seeing = {"type": "subscribe", "channel": "user", "jwt": token(own, "viewer")}
        assert (await ask(opened, seeing))["channel"] == "subscriptions"


async def test_the_paths_are_open_to_sockets_only(sim: Any) -> None:
    for path in ("/", "/ws/user"):
        assert sim.session().get(f"https://{sim.host}{path}", timeout=30).status_code == 401
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        answer = sim.session().get(f"https://{sim.host}{path}", headers=upgrade, timeout=30)
        assert answer.status_code == 400, "a handshake without a key"
        assert sim.session().post(f"https://{sim.host}{path}", headers=upgrade, timeout=30).status_code == 405
    for path in ("/ws", "/ws/user/", "/api/v3/brokerage/accounts"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with plain_socket(sim, path):
                pass
        assert caught.value.status == 401


DEEP = 30_000
GARBAGE: list[str | bytes] = [
    "",
    "x",
    "null",
    "[]",
    "7",
    '"subscribe"',
    "{}",
    '{"type":"subscribe"}',
    '{"type":"subscribe","channel":"ticker"',
    '{"type":["subscribe"],"channel":"ticker"}',
    '{"type":"subscribe","channel":["ticker"]}',
    '{"type":"subscribe","channel":{"a":1}}',
    '{"type":"subscribe","channel":"l2_data"}',
    '{"type":"subscribe","channel":"full"}',
    '{"type":"explode","channel":"ticker"}',
    '{"type":"subscribe","channel":"ticker","product_ids":"BTC-USD"}',
    '{"type":"subscribe","channel":"ticker","product_ids":{"BTC-USD":1}}',
    '{"type":"subscribe","channel":"ticker","product_ids":[["BTC-USD"]]}',
    '{"type":"subscribe","channel":"ticker","product_ids":[null]}',
    '{"type":"subscribe","channel":"ticker","product_ids":["NOPE-USD"]}',
    '{"type":"subscribe","channel":"user","product_ids":["NOPE-USD"]}',
    '{"type":"subscribe","channel":"ticker","product_ids":["\\ud800"]}',
    '{"type":"subscribe","channel":"ticker","jwt":7}',
    '{"type":"subscribe","channel":"ticker","jwt":["a"]}',
    '{"type":"subscribe","channel":"\\ud800"}',
    '{"\\udfff":1}',
    "[" * DEEP,
    "[" * DEEP + "]" * DEEP,
    '{"type":"subscribe","channel":' + "[" * DEEP + "]" * DEEP + "}",
    '{"a":' * (DEEP // 5) + "1" + "}" * (DEEP // 5),
    '{"type":' + "9" * 60_000 + "}",
    '{"type":NaN,"channel":Infinity}',
    "\x00",
    b"",
    b"\xff\xfe",
    b'{"type":"subscribe","channel":"heartbeats"}',
]


async def test_garbage_is_answered_with_an_error(sim: Any) -> None:
    log = (sim.folder / "log").read_text()
    async with plain_socket(sim) as opened:
        assert (await ask(opened, {"type": "subscribe", "channel": "status"}))["channel"] == "subscriptions"
        await receive(opened)
        for message in GARBAGE:
            answer = await ask(opened, message)
            assert set(answer) == {"type", "message"} and answer["type"] == "error", message[:80]
        assert (await ask(opened, HEARTBEATS))["sequence_num"] == 2
    assert "Traceback" not in (sim.folder / "log").read_text().removeprefix(log)


@pytest.mark.parametrize("message", ["x" * 65_537, b"x" * 65_537])
async def test_a_message_too_long_ends_the_connection(sim: Any, message: str | bytes) -> None:
    log = (sim.folder / "log").read_text()
    async with plain_socket(sim) as opened:
        await ask(opened, HEARTBEATS)
        await (opened.send_str(message) if isinstance(message, str) else opened.send_bytes(message))
        assert (await farewell(opened))[0] == 1009
    async with plain_socket(sim) as opened:
        assert (await ask(opened, HEARTBEATS))["channel"] == "subscriptions"
    assert "Traceback" not in (sim.folder / "log").read_text().removeprefix(log)


async def test_a_slow_reader_is_hung_up_on_and_nobody_else_notices(launch: Callable[..., Any]) -> None:
    own = launch(opening_usd=1_000_000)
    client = own.client()
    price = str((D(client.get_product("BTC-USD").price) * D("0.8")).quantize(D("0.01")))
    for number in range(120):
        client.limit_order_gtc_buy(f"resting-{number}", "BTC-USD", "0.0001", price)
    with feed(own) as healthy:
        healthy.client.user(product_ids=["ETH-USD"])
        healthy.client.heartbeats()
        healthy.wait_for("user", "snapshot")
        again = json.dumps({"type": "subscribe", "channel": "user", "jwt": token(own)})
        filled: list[str] = []
        async with plain_socket(own) as slow, asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(ConnectionError):
                while True:  # each asks for 120 orders, and nothing is read
                    await slow.send_str(again)
                    await asyncio.sleep(0)  # lets the loop notice the end
                    made = client.market_order_buy(f"unhindered-{len(filled)}", "ETH-USD", quote_size="10")
                    filled.append(made.success_response["order_id"])
        healthy.wait(lambda _: len(healthy.events("user", "update")) == len(filled))
        told = [one for event in healthy.events("user", "update") for one in event["orders"]]
        assert [(one["order_id"], one["status"]) for one in told] == [(one, "FILLED") for one in filled]
        healthy.beats(2)
        assert healthy.numbers() == list(range(len(healthy.messages)))
    assert len(filled) > 50, "orders were taken while the queue filled up"
    log = (own.folder / "log").read_text()
    assert log.count("reads too slowly") == 1 and "Traceback" not in log


async def test_all_clients_hear_of_the_end(launch: Callable[..., Any]) -> None:
    own = launch()
    async with plain_socket(own) as silent, plain_socket(own) as opened:
        await ask(opened, HEARTBEATS)
        assert own.stop() == 0
        for one in (silent, opened):
            assert await farewell(one) == (1001, "shutting down")
    assert "Traceback" not in (own.folder / "log").read_text()
