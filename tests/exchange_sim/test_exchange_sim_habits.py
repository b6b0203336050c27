"""What a venue does late or in part, as the official client meets it."""

import time
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any

import pytest
import requests


@pytest.fixture(scope="module")
def own(launch: Callable[..., Any]) -> Any:
    return launch(products="BTC-USD,ETH-USD", opening_usd="100000")


@pytest.fixture
def habits(own: Any) -> Iterator[Callable[..., None]]:
    """Sets habits; all are gone after the test."""
    usual = own.control("GET", "habits").json()

    def change(**given: float) -> None:
        answer = own.control("POST", "habits", given)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {**usual, **given}

    yield change
    own.control("POST", "habits", usual)


def until(holds: Callable[[], Any]) -> Any:
    while not (found := holds()):
        time.sleep(0.05)
    return found


def far(client: Any) -> str:
    return str((D(client.get_product("BTC-USD").price) * D("0.8")).quantize(D("0.01")))


def test_a_new_order_is_not_found_for_a_while(own: Any, habits: Callable[..., None], new_id: Callable[[], str]) -> None:
    client, client_id = own.client(), new_id()
    habits(hide_new_seconds=3600)
    order_id = client.market_order_buy(client_id, "BTC-USD", quote_size="10").success_response["order_id"]
    with pytest.raises(requests.HTTPError) as caught:
        client.get_order(order_id)
    assert caught.value.response.status_code == 404
    assert order_id not in {one.order_id for one in client.list_orders().orders}
    again = client.market_order_buy(client_id, "BTC-USD", quote_size="10")
    assert again.success_response["order_id"] == order_id, "it is there all the same"
    habits(hide_new_seconds=0)
    assert client.get_order(order_id).order.status == "FILLED"


def test_balances_stay_as_they_were_for_a_while(
    own: Any, habits: Callable[..., None], new_id: Callable[[], str]
) -> None:
    client = own.client()

    def cash() -> D:
        return D(client.get_accounts().accounts[0].available_balance["value"])

    before = cash()
    habits(stale_balance_seconds=3600)
    assert cash() == before
    client.market_order_buy(new_id(), "BTC-USD", quote_size="1000")
    assert (
        cash()
        == before
        == D(client.get_account(client.get_accounts().accounts[0].uuid).account.available_balance["value"])
    )
    habits(stale_balance_seconds=0)
    assert before - 1000 <= cash() < before - 999


def test_a_market_order_is_filled_late_at_the_price_of_then_or_cancelled_before(
    own: Any, habits: Callable[..., None], new_id: Callable[[], str]
) -> None:
    client = own.client()

    def cash() -> tuple[D, D]:
        account = client.get_accounts().accounts[0]
        return D(account.available_balance["value"]), D(account.hold["value"])

    def order(order_id: str) -> Any:
        return client.get_order(order_id).order

    habits(fill_seconds=3600)
    before = cash()
    kept = [
        client.market_order_buy(new_id(), "BTC-USD", quote_size="100").success_response["order_id"] for _ in range(2)
    ]
    assert [(order(one).status, D(order(one).filled_size)) for one in kept] == [("OPEN", 0), ("OPEN", 0)]
    assert cash() == (before[0] - 200, before[1] + 200)
    assert client.cancel_orders(order_ids=kept[:1]).results[0].success
    assert cash() == (before[0] - 100, before[1] + 100)
    habits(fill_seconds=0.1)
    late = client.market_order_buy(new_id(), "BTC-USD", quote_size="100").success_response["order_id"]
    until(lambda: order(late).status == "FILLED")
    fills = client.get_fills(order_ids=[late]).fills
    assert sum(D(one.size) for one in fills) == D(order(late).filled_size) > 0
    assert order(kept[1]).status == "OPEN" and cash()[1] == before[1] + 100
    client.cancel_orders(order_ids=kept[1:])
    assert cash()[1] == before[1] and before[0] - 100 <= cash()[0] < before[0] - 99


def test_a_queued_cancel_may_still_fill_and_else_ends(
    own: Any, habits: Callable[..., None], new_id: Callable[[], str]
) -> None:
    client = own.client()

    def resting() -> str:
        made = client.limit_order_gtc_buy(new_id(), "BTC-USD", "0.01", far(client))
        return str(made.success_response["order_id"])

    def order(order_id: str) -> Any:
        return client.get_order(order_id).order

    habits(cancel_seconds=3600)
    queued = resting()
    assert client.cancel_orders([queued]).results[0].success
    assert (order(queued).status, order(queued).pending_cancel) == ("CANCEL_QUEUED", True)
    assert client.cancel_orders([queued]).results[0].failure_reason == "DUPLICATE_CANCEL_REQUEST"
    assert queued in {one.order_id for one in client.list_orders(order_status=["CANCEL_QUEUED"]).orders}
    assert queued not in {one.order_id for one in client.list_orders(order_status=["OPEN"]).orders}
    price = str((D(client.get_product("BTC-USD").price) * D("1.05")).quantize(D("0.01")))
    assert client.edit_order(queued, "0.01", price).success
    assert order(queued).status == "FILLED", "a fill was faster"

    habits(cancel_seconds=0.3)
    ended = resting()
    client.cancel_orders([ended])
    until(lambda: order(ended).status == "CANCELLED")
    assert order(ended).outstanding_hold_amount == "0" and not order(ended).pending_cancel


def test_a_queued_cancel_outlives_a_restart(launch: Callable[..., Any], new_id: Callable[[], str]) -> None:
    simulator = launch(products="BTC-USD")
    client = simulator.client()
    assert simulator.control("POST", "habits", {"cancel_seconds": 2}).status_code == 200
    order_id = client.limit_order_gtc_buy(new_id(), "BTC-USD", "0.01", far(client)).success_response["order_id"]
    client.cancel_orders([order_id])
    simulator.kill()
    simulator.start()
    again = simulator.client()
    until(lambda: again.get_order(order_id).order.status == "CANCELLED")


def test_a_fill_is_settled_later(own: Any, habits: Callable[..., None], new_id: Callable[[], str]) -> None:
    client = own.client()
    habits(settle_seconds=3600)
    order_id = client.market_order_buy(new_id(), "BTC-USD", quote_size="10").success_response["order_id"]
    assert (client.get_order(order_id).order.status, client.get_order(order_id).order.settled) == ("FILLED", False)
    habits(settle_seconds=0)
    assert client.get_order(order_id).order.settled


def test_a_part_is_filled_and_the_rest_ends_or_rests(
    own: Any, habits: Callable[..., None], new_id: Callable[[], str]
) -> None:
    client = own.client()
    habits(fill_share=0.25)

    def made(reply: Any) -> Any:
        return client.get_order(reply.success_response["order_id"]).order

    market = made(client.market_order_buy(new_id(), "BTC-USD", base_size="0.04"))
    assert (market.status, market.filled_size, market.completion_percentage) == ("CANCELLED", "0.01", "25")
    for_money = made(client.market_order_buy(new_id(), "BTC-USD", quote_size="100"))
    assert for_money.status == "CANCELLED" and D(24) < D(for_money.filled_value) < D(25)
    assert D("24.9") < D(for_money.completion_percentage) <= D(25), "of 100 dollars, fee inside"
    above = str((D(client.get_product("BTC-USD").price) * D("1.01")).quantize(D("0.01")))
    limit = made(client.limit_order_gtc_buy(new_id(), "BTC-USD", "0.04", above))
    assert (limit.status, limit.filled_size, D(limit.outstanding_hold_amount) > 0) == ("OPEN", "0.01", True)
    assert client.cancel_orders([limit.order_id]).results[0].success
    kept = made(client.limit_order_fok_buy(new_id(), "BTC-USD", "0.04", above))
    assert (kept.status, kept.filled_size) == ("CANCELLED", "0")


def test_a_wrong_clock_refuses_who_is_right(own: Any, habits: Callable[..., None]) -> None:
    client = own.client()
    before = client.get_unix_time().epoch_seconds
    habits(clock_skew_seconds=-180)
    assert int(client.get_unix_time().epoch_seconds) == int(before) - 180
    with pytest.raises(requests.HTTPError) as caught:
        client.get_accounts()
    assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    "given",
    [{"mood": 1}, {"settle_seconds": -1}, {"settle_seconds": "long"}, {"fill_share": 0}, {"cancel_seconds": True}],
)
def test_what_is_no_habit_is_said_by_name_and_changes_nothing(own: Any, given: dict[str, Any]) -> None:
    before = own.control("GET", "habits").json()
    answer = own.control("POST", "habits", {"hide_new_seconds": 7, **given})
    assert answer.status_code == 400 and next(iter(given)) in answer.json()["message"]
    assert own.control("GET", "habits").json() == before


def test_a_new_order_is_on_its_way_before_it_is_open(
    own: Any, habits: Callable[..., None], new_id: Callable[[], str]
) -> None:
    client = own.client()
    habits(pending_seconds=3600)
    rests = client.limit_order_gtc_buy(new_id(), "BTC-USD", base_size="0.001", limit_price=far(client))
    rests_id = rests.success_response["order_id"]
    assert client.market_order_buy(new_id(), "BTC-USD", quote_size="100").success
    price, size = D(client.get_product("BTC-USD").price), "0.001"
    stop, limit = (str((price * D(share)).quantize(D("0.01"))) for share in ("0.9", "0.89"))
    stops = client.stop_limit_order_gtc_sell(new_id(), "BTC-USD", size, limit, stop, "STOP_DIRECTION_STOP_DOWN")
    stops_id = stops.success_response["order_id"]
    told = {rests_id: "PENDING", stops_id: "QUEUED"}
    for order_id, status in told.items():
        assert client.get_order(order_id).order.status == status
        assert order_id in {one.order_id for one in client.list_orders(order_status=[status]).orders}
        assert order_id not in {one.order_id for one in client.list_orders(order_status=["OPEN"]).orders}
    answers = client.cancel_orders([rests_id]).results
    assert [one.success for one in answers] == [True], "it may be cancelled all the same"
    habits(pending_seconds=0)
    assert client.get_order(rests_id).order.status == "CANCELLED"
    assert client.get_order(stops_id).order.status == "OPEN"
    client.cancel_orders([stops_id])


def test_a_share_of_orders_fails_after_it_was_accepted(
    own: Any, habits: Callable[..., None], new_id: Callable[[], str]
) -> None:
    client, client_id = own.client(), new_id()
    cash = client.get_accounts().accounts
    habits(fail_share=1.0)
    made = client.market_order_buy(client_id, "BTC-USD", quote_size="10")
    assert made.success
    habits(fail_share=0)
    failed = client.get_order(made.success_response["order_id"]).order
    assert (failed.status, failed.filled_size, failed.reject_reason) == ("FAILED", "0", "COMMANDER_REJECTED_NEW_ORDER")
    assert failed.settled and failed.reject_message
    assert [one.available_balance for one in client.get_accounts().accounts] == [
        one.available_balance for one in cash
    ], "nothing is held"
    again = client.market_order_buy(client_id, "BTC-USD", quote_size="10")
    assert again.success_response["order_id"] == failed.order_id, "its id stays taken"


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_fills_may_be_off_the_grid(own: Any, habits: Callable[..., None], new_id: Callable[[], str], side: str) -> None:
    client = own.client()
    bought = client.market_order_buy(new_id(), "BTC-USD", base_size="0.002").success_response["order_id"]
    assert D(client.get_fills(order_ids=[bought]).fills[0].price) % D("0.01") == 0
    habits(off_grid_share=1.0)
    trade = client.market_order_buy if side == "BUY" else client.market_order_sell
    order_id = trade(new_id(), "BTC-USD", base_size="0.001").success_response["order_id"]
    prices = [D(one.price) for one in client.get_fills(order_ids=[order_id]).fills]
    assert all(price % D("0.01") for price in prices)
    order = client.get_order(order_id).order
    assert D(order.filled_value) == sum(
        D(one.price) * D(one.size) for one in client.get_fills(order_ids=[order_id]).fills
    )


def test_a_candle_without_a_trade_is_left_out_and_stays_so(own: Any, habits: Callable[..., None]) -> None:
    client = own.client()
    now = int(client.get_unix_time().epoch_seconds)

    def starts() -> list[str]:
        found = client.get_candles("BTC-USD", str(now - 200 * 3600), str(now), "ONE_HOUR").candles
        return [one.start for one in found]

    whole = starts()
    habits(quiet_share=0.3)
    told = starts()
    assert 0.5 * len(whole) < len(told) < 0.9 * len(whole)
    assert told == starts() == [start for start in whole if start in set(told)]
    habits(quiet_share=1.0)
    assert starts() == []


def test_trades_of_a_window(own: Any) -> None:
    client = own.client()
    newest = client.get_market_trades("BTC-USD", 20).trades
    times = [one.time for one in newest]
    assert times == sorted(times, reverse=True)
    now = int(client.get_unix_time().epoch_seconds)
    window = client.get_market_trades("BTC-USD", 100, start=str(now - 300), end=str(now - 200)).trades
    assert window, "a trade every ten seconds"
    assert all(one.time < times[0] for one in window)
    with pytest.raises(requests.HTTPError):
        client.get_market_trades("BTC-USD", 10, start=str(now), end=str(now - 1))
