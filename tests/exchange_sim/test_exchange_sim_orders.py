"""Order rules over the wire: rejections, idempotency through concurrency and kill -9, resting orders."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import requests

D = Decimal
ORDERS = "/api/v3/brokerage/orders"


def market(**terms: Any) -> dict[str, Any]:
    return {"market_market_ioc": terms}


def gtc(size: str, price: str, **terms: Any) -> dict[str, Any]:
    return {"limit_limit_gtc": {"base_size": size, "limit_price": price, **terms}}


# (product, side, configuration, the code a client reads first); prices relative to the market as ~0.9
REJECTIONS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "unknown product": ("NOPE-USD", "BUY", market(quote_size="10"), "INVALID_PRODUCT_ID"),
    "unknown side": ("BTC-USD", "HOLD", market(quote_size="10"), "INVALID_SIDE"),
    "two sizes": ("BTC-USD", "BUY", market(quote_size="10", base_size="1"), "UNSUPPORTED_ORDER_CONFIGURATION"),
    "no size": ("BTC-USD", "BUY", market(), "UNSUPPORTED_ORDER_CONFIGURATION"),
    "sell by quote": ("BTC-USD", "SELL", market(quote_size="10"), "UNSUPPORTED_ORDER_CONFIGURATION"),
    "market fok": ("BTC-USD", "BUY", {"market_market_fok": {"quote_size": "10"}}, "UNSUPPORTED_ORDER_CONFIGURATION"),
    "not a number": ("BTC-USD", "BUY", market(quote_size="1e1"), "PREVIEW_NON_NUMERIC_ORDER_SIZE"),
    "infinite": ("BTC-USD", "BUY", market(quote_size="Infinity"), "PREVIEW_NON_NUMERIC_ORDER_SIZE"),
    "negative": ("BTC-USD", "SELL", market(base_size="-1"), "PREVIEW_NON_NUMERIC_ORDER_SIZE"),
    "third decimal of a dollar": ("BTC-USD", "BUY", market(quote_size="10.001"), "INVALID_SIZE_PRECISION"),
    "too fine a size": ("DOGE-USD", "BUY", market(base_size="100.05"), "INVALID_SIZE_PRECISION"),
    "too fine a price": ("BTC-USD", "BUY", gtc("0.001", "~0.9", _tail="5"), "INVALID_PRICE_PRECISION"),
    "nothing": ("BTC-USD", "SELL", market(base_size="0"), "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"),
    "too much": ("BTC-USD", "SELL", market(base_size="3401"), "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE"),
    "under a dollar": ("BTC-USD", "BUY", market(quote_size="0.99"), "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"),
    "above the maximum": ("BTC-USD", "BUY", market(quote_size="150000001"), "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE"),
    "no money": ("BTC-USD", "BUY", market(quote_size="10000.01"), "INSUFFICIENT_FUND"),
    "no coins": ("BTC-USD", "SELL", market(base_size="1"), "INSUFFICIENT_FUND"),
    "no money for the fee": ("ETH-USD", "BUY", gtc("3.9", "~0.9", _spend="10000"), "INSUFFICIENT_FUND"),
    "post-only crossing": ("BTC-USD", "BUY", gtc("0.001", "~1.1", post_only=True), "INVALID_LIMIT_PRICE_POST_ONLY"),
    "price zero": ("BTC-USD", "BUY", gtc("0.001", "0"), "INVALID_LIMIT_PRICE"),
    "half the price": ("BTC-USD", "BUY", gtc("0.001", "~0.49"), "LIMIT_PRICE_TOO_FAR_FROM_MARKET"),
    "no end": (
        "BTC-USD",
        "BUY",
        {"limit_limit_gtd": {"base_size": "0.001", "limit_price": "~0.9"}},
        "PREVIEW_GTD_ORDERS_MUST_HAVE_END_TIME",
    ),
    "ended": (
        "BTC-USD",
        "BUY",
        {"limit_limit_gtd": {"base_size": "0.001", "limit_price": "~0.9", "end_time": "2025-01-01T00:00:00Z"}},
        "PREVIEW_END_TIME_IS_IN_THE_PAST",
    ),
}


def near(client: Any, product: str, factor: str) -> str:
    price = D(client.get_product(product).price) * D(factor)
    return str(price.quantize(D("0.01")))


def resolved(client: Any, product: str, configuration: dict[str, Any]) -> dict[str, Any]:
    [(variant, terms)] = configuration.items()
    terms = dict(terms)
    if str(terms.get("limit_price", "")).startswith("~"):
        terms["limit_price"] = near(client, product, terms["limit_price"][1:]) + terms.pop("_tail", "")
    if "_spend" in terms:
        terms["base_size"] = str((D(terms.pop("_spend")) / D(terms["limit_price"])).quantize(D("0.00000001")))
    return {variant: terms}


@pytest.mark.parametrize("case", REJECTIONS)
def test_rejections(sim: Any, new_id: Callable[[], str], case: str) -> None:
    product, side, configuration, code = REJECTIONS[case]
    client = sim.client()
    wanted = resolved(client, product if product != "NOPE-USD" else "BTC-USD", configuration)
    client_id = new_id()
    answer = client.create_order(client_id, product, side, wanted).to_dict()
    assert answer["success"] is False and answer["order_configuration"]
    error = answer["error_response"]
    assert error.get("new_order_failure_reason", error["error"]) == error["error"] == code
    assert error["preview_failure_reason"].startswith("PREVIEW_")
    assert error["preview_failure_reason"] in client.preview_order(product, side, wanted).errs
    assert client_id not in {order.client_order_id for order in client.list_orders().orders}
    assert D(client.get_accounts().accounts[0].hold["value"]) == 0


def raw(sim: Any, body: Any, path: str = ORDERS) -> requests.Response:
    client = sim.client()
    headers = client.set_headers("POST", path)
    data = body if isinstance(body, bytes) else None
    return client.session.post(
        f"https://{sim.host}{path}", json=None if data else body, data=data, headers=headers, timeout=30
    )


def test_malformed_bodies_are_400_and_create_nothing(sim: Any) -> None:
    good = {
        "client_order_id": "malformed",
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": market(quote_size="10"),
    }
    bad: list[Any] = [
        good | {"surprise": 1},
        good | {"order_configuration": market(quote_size="10", surprise="1")},
        good | {"order_configuration": market(quote_size=10)},
        good | {"order_configuration": market(quote_size="10") | gtc("1", "1")},
        good | {"order_configuration": {"market_surprise": {}}},
        good | {"order_configuration": None},
        good | {"order_configuration": {}},
        good | {"order_configuration": gtc("1", "1", post_only="true")},
        good | {"client_order_id": ""},
        good | {"client_order_id": "x" * 129},
        good | {"client_order_id": "\ud83d"},
        good | {"side": 1},
        [good],
        b"{",
        b"[" * 30000,
        b"\xff\xfe",
    ]
    for body in bad:
        answer = raw(sim, body)
        assert answer.status_code == 400 and set(answer.json()) == {"error", "error_details", "message"}, body
    assert 'unknown field "surprise"' in raw(sim, bad[0]).json()["message"]
    assert raw(sim, b'{"a":"' + b"x" * 70_000 + b'"}').status_code == 413
    assert raw(sim, {"order_ids": "one"}, f"{ORDERS}/batch_cancel").status_code == 400
    known = {order.client_order_id for order in sim.client().list_orders().orders}
    assert not known & {"malformed", "", "x" * 129}


def test_same_client_id_is_one_order_whatever_happens(launch: Callable[..., Any]) -> None:
    sim = launch(products="BTC-USD,ETH-USD", speed=600)
    clients = [sim.client() for _ in range(8)]

    def send(client: Any) -> str:
        return client.market_order_buy("one-intent", "BTC-USD", quote_size="100").success_response["order_id"]

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(send, clients))
    assert len(ids) == 1
    client = clients[0]
    other = client.market_order_sell("one-intent", "ETH-USD", base_size="5")
    assert other.success and other.success_response["order_id"] in ids
    assert other.success_response["product_id"] == "BTC-USD", "the order that is there, not the one that was asked for"
    assert (other.success_response["side"], other.order_configuration.market_market_ioc.base_size) == ("SELL", "5")

    resting = client.limit_order_gtc_buy("resting", "ETH-USD", "0.5", near(client, "ETH-USD", "0.6")).success_response
    before = [a.to_dict() for a in client.get_accounts().accounts]
    orders = [o.to_dict() for o in client.list_orders().orders]
    shown = client.get_unix_time().iso
    tls_key = sim.folder / "state" / "tls" / "server.key"
    assert tls_key.stat().st_mode & 0o777 == 0o600
    made = tls_key.read_bytes()
    sim.kill()
    sim.env["SIM_SPEED"] = "0"
    sim.start()
    client = sim.client()
    again = client.get_unix_time().iso
    assert again >= shown, "time never goes back"
    assert tls_key.read_bytes() == made
    assert [a.to_dict() for a in client.get_accounts().accounts] == before
    assert [o.to_dict() for o in client.list_orders().orders] == orders
    assert send(client) in ids
    assert (
        client.limit_order_gtc_buy("resting", "ETH-USD", "9", "1").success_response["order_id"] == resting["order_id"]
    )
    assert len(client.list_orders().orders) == len(client.get_fills().fills) + 1 == 2


@pytest.fixture(scope="module")
def steered(launch: Callable[..., Any]) -> Any:
    return launch(products="BTC-USD,ETH-USD", settle_delay_seconds=1.5)


def test_clock_control(steered: Any) -> None:
    sim = steered
    status = sim.advance("2025-01-01T00:07:30Z")
    assert status["now"] == "2025-01-01T00:07:30.000000Z" and status["speed"] == 0
    assert (status["label"], status["products"], status["first_bar"]) == (
        "SIMULATED",
        ["BTC-USD", "ETH-USD"],
        "2024-12-12T00:00:00.000000Z",
    )
    client = sim.client()
    unfinished, whole = client.get_candles("BTC-USD", "1735689600", "1735689900", "FIVE_MINUTE").candles
    assert (unfinished.start, whole.start) == ("1735689900", "1735689600")
    sim.advance("2025-01-01T00:10:00Z")
    done = client.get_candles("BTC-USD", "1735689900", "1735689900", "FIVE_MINUTE").candles[0]
    assert 0 < D(unfinished.volume) < D(done.volume) and unfinished.open == done.open
    assert D(done.low) <= D(unfinished.low) and D(unfinished.high) <= D(done.high)

    assert sim.control("POST", "advance", {"to": "2025-01-01T00:00:00Z"}).status_code == 409
    for body in ({}, {"to": 5}, {"to": "2025-01-01T00:00:00"}, {"to": "tomorrow"}):
        assert sim.control("POST", "advance", body).status_code == 400
    for speed in (-1, "fast", True, 1e300, None):
        assert sim.control("POST", "speed", {"speed": speed}).status_code == 400
    for body in ({"currency": "XXX", "amount": "7"}, {"currency": "xxx", "amount": "7"}, {"amount": "7"}):
        assert sim.control("POST", "transfer", body).status_code == 400
    assert "one of BTC, ETH, USD" in sim.control("POST", "transfer", {"currency": "XXX", "amount": "7"}).text
    assert sim.control("POST", "transfer", {"currency": "ETH", "amount": "7"}).json()["available"] == "7"
    assert sim.control("POST", "speed", {"speed": 3600}).json()["speed"] == 3600
    before = client.get_unix_time().iso
    while client.get_unix_time().iso < "2025-01-01T00:30:00":
        assert client.get_unix_time().iso >= before
    assert sim.control("POST", "speed", {"speed": 0}).json()["speed"] == 0
    assert client.get_unix_time().iso == client.get_unix_time().iso


def test_limit_orders_rest_fill_expire_and_cancel(steered: Any, new_id: Callable[[], str]) -> None:
    sim = steered
    client = sim.client()

    def order(reply: Any) -> Any:
        return client.get_order(reply.success_response["order_id"]).order

    ioc = order(client.limit_order_ioc_buy(new_id(), "BTC-USD", "0.01", near(client, "BTC-USD", "0.99")))
    assert (ioc.status, ioc.filled_size, ioc.time_in_force) == ("CANCELLED", "0", "IMMEDIATE_OR_CANCEL")
    fok = order(client.limit_order_fok_buy(new_id(), "BTC-USD", "0.01", near(client, "BTC-USD", "1.01")))
    assert (fok.status, fok.settled) == ("FILLED", False), "settled comes later"
    assert D(fok.average_filled_price) < D(near(client, "BTC-USD", "1.01"))

    limit = near(client, "ETH-USD", "0.99")
    buy = order(client.limit_order_gtc_buy(new_id(), "ETH-USD", "1", limit, post_only=True))
    gone = order(
        client.limit_order_gtd_buy(new_id(), "ETH-USD", "1", near(client, "ETH-USD", "0.6"), "2025-01-02T12:00:00Z")
    )
    sell = order(client.limit_order_gtc_sell(new_id(), "BTC-USD", "0.004", near(client, "BTC-USD", "1.4")))
    held = {a.currency: D(a.hold["value"]) for a in client.get_accounts().accounts}
    assert held == {
        "USD": D(buy.outstanding_hold_amount) + D(gone.outstanding_hold_amount),
        "BTC": D("0.004"),
        "ETH": D(0),
    }
    assert D(buy.outstanding_hold_amount) == D(limit) * D("1.009")
    assert [o.status for o in (buy, gone, sell)] == ["OPEN"] * 3

    for day in range(3, 30):
        sim.advance(f"2025-01-{day:02}T00:00:00Z")
        if client.get_order(buy.order_id).order.status == "FILLED":
            break
    filled = client.get_order(buy.order_id).order
    [fill] = client.get_fills(order_ids=[buy.order_id]).fills
    assert (filled.status, D(fill.price), fill.liquidity_indicator) == ("FILLED", D(limit), "MAKER")
    assert D(fill.commission) == D(limit) * D("0.005") and filled.outstanding_hold_amount == "0"
    hour = client.get_candles("ETH-USD", *[str(t) for t in _hour_of(fill.trade_time)], "ONE_HOUR").candles[-1]
    assert D(hour.low) <= D(limit), "the market really was there"
    expired = client.get_order(gone.order_id).order
    assert (expired.status, expired.last_update_time) == ("EXPIRED", "2025-01-02T12:00:00.000000Z")

    results = client.cancel_orders([sell.order_id, sell.order_id, buy.order_id, gone.order_id, "unknown"]).results
    assert [(r.success, r.failure_reason) for r in results] == [
        (True, "UNKNOWN_CANCEL_FAILURE_REASON"),
        (False, "DUPLICATE_CANCEL_REQUEST"),
        (False, "ORDER_IS_FULLY_FILLED"),
        (False, "NOT_ALLOWED_TO_CANCEL"),
        (False, "UNKNOWN_CANCEL_ORDER"),
    ]
    assert all(D(a.hold["value"]) == 0 for a in client.get_accounts().accounts)
    while not client.get_order(fok.order_id).order.settled:
        time.sleep(0.2)


def _hour_of(iso: str) -> tuple[int, int]:
    start = int(datetime.fromisoformat(iso).timestamp()) // 3600 * 3600
    return start, start + 1
