"""The unmodified official client trades on the simulator, and every number agrees to the last digit."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import requests

D = Decimal
TAKER = D("0.009")


def totals(client: Any) -> dict[str, Decimal]:
    accounts = client.get_accounts(limit=250).accounts
    return {a.currency: D(a.available_balance["value"]) + D(a.hold["value"]) for a in accounts}


def test_products_and_time(sim: Any) -> None:
    client = sim.client()
    products = client.get_products().products
    assert [p.product_id for p in products] == ["BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD", "DOGE-USD", "LINK-USD"]
    for product in products:
        assert D(product.price) % D(product.price_increment) == 0
        assert (product.status, product.trading_disabled, product.product_type) == ("online", False, "SPOT")
    public = client.get_public_products(product_ids=["ETH-USD", "BTC-USD"]).products
    assert {p.product_id for p in public} == {"ETH-USD", "BTC-USD"}
    time = client.get_unix_time()
    assert (time.iso, time.epoch_seconds) == ("2025-01-01T00:00:00.000000Z", "1735689600")
    with pytest.raises(requests.exceptions.HTTPError) as caught:
        client.get_product("NOPE-USD")
    assert caught.value.response.status_code == 404


def test_candles_are_strings_newest_first_and_bounded(sim: Any) -> None:
    client, now = sim.client(), 1735689600
    candles = client.get_candles("BTC-USD", str(now - 100 * 3600), str(now), "ONE_HOUR").candles
    starts = [int(c.start) for c in candles]
    assert starts == [now - i * 3600 for i in range(1, 101)]
    for candle in candles:
        low, opened, close, high = (D(getattr(candle, n)) for n in ("low", "open", "close", "high"))
        assert low <= min(opened, close) <= max(opened, close) <= high and D(candle.volume) > 0
    full = client.get_public_candles("BTC-USD", str(now - 350 * 3600), str(now), "ONE_HOUR").candles
    assert len(full) == 350
    shifted = client.get_public_candles("BTC-USD", str(now - 351 * 3600), str(now - 3600), "ONE_HOUR").candles
    assert [int(c.start) for c in (shifted[0], shifted[-1])] == [now - 3600, now - 351 * 3600], "both ends are bars"
    minutes = client.get_public_candles("BTC-USD", str(now - 3600), str(now), "ONE_MINUTE").candles
    assert [int(c.start) for c in minutes] == [now - i * 60 for i in range(1, 61)]
    assert (D(minutes[-1].open), D(minutes[0].close)) == (D(candles[0].open), D(candles[0].close))
    assert sum(D(c.volume) for c in minutes) == D(candles[0].volume)
    for start, granularity in ((now - 351 * 3600, "ONE_HOUR"), (now - 3600, "HOUR")):
        with pytest.raises(requests.exceptions.HTTPError) as caught:
            client.get_candles("BTC-USD", str(start), str(now), granularity)
        assert caught.value.response.status_code == 400
        assert caught.value.response.json()["error"] == "INVALID_ARGUMENT"


def test_what_is_quoted_in_usdc_trades_in_the_dollars_book_out_of_its_own_wallet(launch: Any, new_id: Any) -> None:
    client = launch(products="BTC-USD,BTC-USDC").client()
    dollar, coin = (client.get_product(f"BTC-{quote}") for quote in ("USD", "USDC"))
    assert dollar.price == coin.price and dollar.volume_24h == coin.volume_24h
    assert (dollar.alias, dollar.alias_to, coin.alias, coin.alias_to) == ("", ["BTC-USDC"], "BTC-USD", [])
    before = totals(client)
    assert client.market_order_buy(new_id(), "BTC-USDC", quote_size="100").success
    after = totals(client)
    assert after["USD"] == before["USD"] and after["USDC"] < before["USDC"] and after["BTC"] > 0


def test_buy_by_quote_then_sell_by_base(sim: Any, new_id: Callable[[], str]) -> None:
    client = sim.client()
    before = totals(client)
    book = client.get_best_bid_ask(product_ids=["ETH-USD"]).pricebooks[0]
    ask, bid = D(book.asks[0].price), D(book.bids[0].price)
    made = client.market_order_buy(new_id(), "ETH-USD", quote_size="100")
    assert made.success and made.order_configuration.market_market_ioc.quote_size == "100"
    bought = client.get_order(made.success_response["order_id"]).order
    size, value, fees = D(bought.filled_size), D(bought.filled_value), D(bought.total_fees)
    assert (bought.status, bought.settled, bought.size_in_quote, bought.size_inclusive_of_fees) == (
        "FILLED",
        *[True] * 3,
    )
    assert value == size * ask and fees == value * TAKER and D(bought.total_value_after_fees) == value + fees
    step = D("0.00000001")
    assert value + fees <= 100 < (size + step) * ask * (1 + TAKER), "the fee is inside, and no more fits"
    fills = client.get_fills(order_ids=[bought.order_id]).fills
    assert [(D(f.price), D(f.size), D(f.commission), f.liquidity_indicator) for f in fills] == [
        (ask, size, fees, "TAKER")
    ]

    sold = client.get_order(
        client.market_order_sell(new_id(), "ETH-USD", base_size=bought.filled_size).success_response["order_id"]
    ).order
    assert D(sold.filled_value) == size * bid and D(sold.average_filled_price) == bid
    after = totals(client)
    spent = value + fees
    earned = D(sold.filled_value) - D(sold.total_fees)
    assert after == {**before, "USD": before["USD"] - spent + earned}


def test_buy_by_base_puts_the_fee_on_top(sim: Any, new_id: Callable[[], str]) -> None:
    client = sim.client()
    before = totals(client)
    made = client.market_order_buy(new_id(), "DOGE-USD", base_size="1000.5")
    order = client.get_order(made.success_response["order_id"]).order
    assert D(order.filled_size) == D("1000.5") and not order.size_in_quote
    after = totals(client)
    assert before["USD"] - after["USD"] == D(order.filled_value) + D(order.total_fees)
    assert after["DOGE"] - before["DOGE"] == D("1000.5")


def test_preview_says_what_the_order_will_do(sim: Any, new_id: Callable[[], str]) -> None:
    client = sim.client()
    preview = client.preview_market_order_buy("LTC-USD", quote_size="50")
    order_id = client.market_order_buy(new_id(), "LTC-USD", quote_size="50").success_response["order_id"]
    order = client.get_order(order_id).order
    assert (preview.errs, preview.base_size) == ([], order.filled_size)
    assert (preview.order_total, preview.commission_total) == (order.total_value_after_fees, order.total_fees)
    refused = client.preview_market_order_buy("LTC-USD", quote_size="0.001")
    assert refused.errs == ["PREVIEW_INVALID_QUOTE_SIZE_PRECISION", "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"]


def test_accounts_page(sim: Any) -> None:
    client = sim.client()
    seen, cursor = [], None
    while True:
        page = client.get_accounts(limit=2, cursor=cursor)
        seen += [a.currency for a in page.accounts]
        assert page.size == len(page.accounts) <= 2
        if not page.has_next:
            break
        cursor = page.cursor
    assert seen == ["USD", "BTC", "ETH", "SOL", "LTC", "DOGE", "LINK"]
    one = client.get_accounts().accounts[0]
    assert client.get_account(one.uuid).account.currency == "USD"


def test_orders_and_fills_page_without_loss(sim: Any, new_id: Callable[[], str]) -> None:
    client = sim.client()
    made = [client.market_order_buy(new_id(), "SOL-USD", quote_size="2").success_response["order_id"] for _ in range(7)]
    listed, cursor = [], None
    while True:
        page = client.list_orders(product_ids=["SOL-USD"], limit=3, cursor=cursor)
        listed += [o.order_id for o in page.orders]
        if not page.has_next:
            break
        cursor = page.cursor
    assert listed == made[::-1]
    filled, cursor = [], None
    while True:
        fills = client.get_fills(product_ids=["SOL-USD"], limit=3, cursor=cursor)
        filled += [f.order_id for f in fills.fills]
        cursor = fills.cursor
        if not cursor:
            break
    assert filled == made[::-1]


def test_order_filters(sim: Any, new_id: Callable[[], str]) -> None:
    client = sim.client()
    price = D(client.get_product("LINK-USD").price)
    limit = str((price * D("0.9")).quantize(D("0.001")))
    resting = client.limit_order_gtc_buy(new_id(), "LINK-USD", "1", limit).success_response["order_id"]
    bought = client.market_order_buy(new_id(), "LINK-USD", quote_size="20").success_response["order_id"]

    def ids(**filters: Any) -> set[str]:
        return {o.order_id for o in client.list_orders(asset_filters=["LINK"], **filters).orders}

    assert ids() == {resting, bought}
    assert ids(order_status=["OPEN"]) == ids(order_types="LIMIT") == {resting}
    assert ids(time_in_forces="GOOD_UNTIL_CANCELLED") == {resting}
    assert ids(order_status=["FILLED"]) == ids(order_types="MARKET") == {bought}
    assert ids(order_side="SELL") == ids(product_type="FUTURE") == set()
    now = client.get_unix_time().iso
    assert ids(start_date=now) == {resting, bought} and ids(end_date=now) == set()
    for bad in ({"order_status": ["OPEN", "FILLED"]}, {"sort_by": "NAME"}, {"cursor": "x"}):
        with pytest.raises(requests.exceptions.HTTPError) as caught:
            client.list_orders(**bad)
        assert caught.value.response.status_code == 400
    assert client.cancel_orders([resting]).results[0].success


def test_order_books_and_trades_agree_with_the_price(sim: Any) -> None:
    client = sim.client()
    book = client.get_product_book("BTC-USD")
    trades = client.get_market_trades("BTC-USD", 5)
    bid, ask = D(book.pricebook.bids[0].price), D(book.pricebook.asks[0].price)
    last = D(book.last)
    assert bid < last < ask and D(book.spread_bps) == pytest.approx(D(2), abs=D("0.01"))
    assert (D(trades.best_bid), D(trades.best_ask)) == (bid, ask)
    assert len(trades.trades) == 5 and D(trades.trades[0].price) == last


def test_fees_and_permissions(sim: Any) -> None:
    summary = sim.client().get_transaction_summary()
    assert (summary.fee_tier["taker_fee_rate"], summary.fee_tier["maker_fee_rate"]) == ("0.009", "0.005")
    permissions = sim.client().get_api_key_permissions()
    assert (permissions.can_view, permissions.can_trade, permissions.can_transfer) == (True, True, False)
    assert sim.client("viewer").get_api_key_permissions().can_trade is False
