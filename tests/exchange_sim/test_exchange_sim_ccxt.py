"""ccxt as it comes, pointed at the exchange: it signs in, loads its markets and trades."""

from collections.abc import Callable
from typing import Any

import ccxt
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

HOUR_MS = 3_600_000


@pytest.fixture
def foreign(launch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client with the key in the form that Coinbase hands it out in."""
    simulator = launch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", simulator.ca)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    key = simulator.keys["trader"]
    private = load_pem_private_key(key.secret.encode(), None)
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    client = ccxt.coinbase({"apiKey": key.name, "secret": secret, "timeout": 30_000, "enableRateLimit": False})
    client.urls["api"]["rest"] = f"https://{simulator.host}"
    client.requests_trust_env = client.session.trust_env = True
    yield client
    client.session.close()


def test_market_data(foreign: Any) -> None:
    now = foreign.fetch_time()
    markets = foreign.load_markets()
    market = markets["BTC/USD"]
    assert market["spot"] and market["active"] and market["taker"] == 0.009
    assert {"USD", "BTC"} <= set(foreign.currencies)
    ticker = foreign.fetch_ticker("BTC/USD")
    assert ticker["bid"] < ticker["last"] < ticker["ask"]
    assert set(foreign.fetch_tickers(["BTC/USD", "ETH/USD"])) == set(foreign.fetch_bids_asks(["BTC/USD", "ETH/USD"]))
    assert foreign.fetch_order_book("BTC/USD")["bids"][0][0] == ticker["bid"]
    assert foreign.fetch_trades("BTC/USD")[-1]["price"] == pytest.approx(ticker["last"])
    hours = foreign.fetch_ohlcv("BTC/USD", "1h", since=now - 3 * HOUR_MS, limit=3)
    minutes = foreign.fetch_ohlcv("BTC/USD", "1m", since=now - HOUR_MS, limit=60)
    assert [row[0] for row in hours] == [now - HOUR_MS * back for back in (3, 2, 1)]
    assert len(minutes) == 60 and max(row[2] for row in minutes) == hours[-1][2]


def test_account_and_orders(foreign: Any) -> None:
    assert foreign.fetch_balance()["total"]["USD"] == 10_000
    assert {one["code"] for one in foreign.fetch_accounts()} >= {"USD", "BTC"}
    assert foreign.fetch_trading_fees()["BTC/USD"]["maker"] == 0.005
    assert foreign.fetch_portfolios()[0]["type"] == "DEFAULT"

    bought = foreign.create_market_buy_order_with_cost("BTC/USD", 500)
    order = foreign.fetch_order(bought["id"])
    assert (order["status"], order["type"]) == ("closed", "market") and order["filled"] > 0
    price = foreign.fetch_ticker("BTC/USD")["last"]

    def at(factor: float) -> float:
        return float(foreign.price_to_precision("BTC/USD", price * factor))

    limit = foreign.create_limit_buy_order("BTC/USD", 0.001, at(0.9))
    post = foreign.create_post_only_order("BTC/USD", "limit", "buy", 0.001, at(0.8))
    loss = foreign.create_order("BTC/USD", "limit", "sell", 0.001, at(0.85), {"stopLossPrice": at(0.9)})
    profit = foreign.create_order("BTC/USD", "limit", "sell", 0.001, at(1.2), {"takeProfitPrice": at(1.1)})
    waiting = {one["id"] for one in foreign.fetch_open_orders("BTC/USD")}
    assert waiting == {one["id"] for one in (limit, post, loss, profit)}
    assert foreign.fetch_order(loss["id"])["triggerPrice"] == at(0.9)
    foreign.edit_order(limit["id"], "BTC/USD", "limit", "buy", 0.002, at(0.95))
    edited = foreign.fetch_order(limit["id"])
    assert (edited["amount"], edited["price"]) == (0.002, at(0.95))
    foreign.cancel_order(post["id"])
    foreign.cancel_orders([limit["id"], loss["id"], profit["id"]], "BTC/USD")
    assert not foreign.fetch_open_orders("BTC/USD")
    assert len(foreign.fetch_canceled_orders("BTC/USD")) == 4
    sold = foreign.create_market_sell_order("BTC/USD", 0.001)
    assert {one["order"] for one in foreign.fetch_my_trades("BTC/USD")} == {bought["id"], sold["id"]}
    with pytest.raises(ccxt.InsufficientFunds):
        foreign.create_market_buy_order_with_cost("BTC/USD", 50_000)
    with pytest.raises(ccxt.ExchangeError, match="order with this orderID was not found"):
        foreign.fetch_order("unknown")


def test_what_moved_an_account(foreign: Any) -> None:
    begun = foreign.fetch_balance()["total"]
    foreign.create_market_buy_order_with_cost("BTC/USD", 500)
    foreign.create_market_sell_order("BTC/USD", 0.001)
    held = foreign.fetch_balance()["total"]
    coins = foreign.fetch_ledger("BTC")
    signed = [float(one["info"]["amount"]["amount"]) for one in coins]
    assert sum(signed) == pytest.approx(held["BTC"]) and min(signed) == -0.001
    fees = sum(float(one["info"]["advanced_trade_fill"]["commission"]) for one in coins)
    money = sum(float(one["info"]["amount"]["amount"]) for one in foreign.fetch_ledger("USD"))
    assert money - fees == pytest.approx(held["USD"] - begun["USD"])
    # A page of one, and the next one after it; ccxt sorts by time what the exchange gives newest first.
    first = foreign.fetch_ledger("BTC", limit=1)[0]["info"]
    second = foreign.fetch_ledger("BTC", limit=1, params={"starting_after": first["next_starting_after"]})[0]["info"]
    assert float(first["amount"]["amount"]) == -0.001 and float(second["amount"]["amount"]) > 0
    assert foreign.fetch_deposits("USD") == foreign.fetch_withdrawals("USD") == []
    with pytest.raises(ccxt.ExchangeError, match="names no transaction"):
        foreign.fetch_ledger("BTC", params={"starting_after": "unknown"})
    with pytest.raises(ccxt.ExchangeError, match="account not found"):
        foreign.v2PrivateGetAccountsAccountIdTransactions({"account_id": "unknown"})
