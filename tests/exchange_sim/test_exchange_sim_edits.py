"""Edits, closing a position, previews, sorted lists and the portfolio, by the official client."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest
import requests


@pytest.fixture(scope="module")
def own(launch: Callable[..., Any]) -> Any:
    """An exchange whose clock stands still, with nothing of other tests in it."""
    return launch()


def near(client: Any, factor: str) -> str:
    return str((D(client.get_product("BTC-USD").price) * D(factor)).quantize(D("0.01")))


def hold(client: Any, currency: str) -> D:
    return next(D(one.hold["value"]) for one in client.get_accounts().accounts if one.currency == currency)


def test_an_edit_moves_the_hold_and_keeps_its_history(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    order_id = client.limit_order_gtc_buy(new_id(), "BTC-USD", "0.01", near(client, "0.9")).success_response["order_id"]
    seen = client.preview_edit_order(order_id, "0.02", near(client, "0.8"))
    assert not seen.errors and (D(seen.base_size), D(seen.average_filled_price)) == (D("0.02"), D(near(client, "0.8")))
    assert client.edit_order(order_id, "0.02", near(client, "0.8")).success
    edited = client.get_order(order_id).order
    assert edited.order_configuration.limit_limit_gtc.base_size == "0.02"
    assert (edited.status, len(edited.edit_history), edited.edit_history[0].size) == ("OPEN", 1, "0.02")
    assert hold(client, "USD") == D("0.02") * D(near(client, "0.8")) * D("1.009")
    for size, price, reason in (
        ("0.02", "0", "INVALID_EDITED_PRICE"),
        ("0.02", near(client, "0.1"), "INVALID_EDITED_PRICE"),
        ("0", near(client, "0.8"), "CANNOT_EDIT_TO_BELOW_FILLED_SIZE"),
        ("0.000000001", near(client, "0.8"), "INVALID_EDITED_SIZE"),
        ("5", near(client, "0.8"), "INSUFFICIENT_FUND"),
        ("much", near(client, "0.8"), "INVALID_EDITED_SIZE"),
    ):
        for answer in (client.edit_order(order_id, size, price), client.preview_edit_order(order_id, size, price)):
            assert reason in {one.edit_failure_reason for one in answer.errors}
    assert client.edit_order("unknown", "0.02", near(client, "0.8")).errors[0].edit_failure_reason == "ORDER_NOT_FOUND"
    assert client.get_order(order_id).order.to_dict() == edited.to_dict(), "what is refused changes nothing"
    assert client.edit_order(order_id, "0.01", near(client, "1.1")).success
    filled = client.get_order(order_id).order
    assert (filled.status, filled.filled_size, hold(client, "USD")) == ("FILLED", "0.01", 0)
    assert client.get_fills(order_ids=[order_id]).fills[0].liquidity_indicator == "TAKER"
    assert client.edit_order(order_id, "0.02", near(client, "0.8")).errors[0].edit_failure_reason == (
        "COMMANDER_REJECTED_EDIT_ORDER"
    )


def test_a_position_is_closed_whole_or_in_part(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    assert client.market_order_buy(new_id(), "SOL-USD", base_size="3").success
    part = client.close_position(new_id(), "SOL-USD", "1")
    assert client.get_order(part.success_response["order_id"]).order.filled_size == "1"
    rest = client.close_position(new_id(), "SOL-USD")
    assert client.get_order(rest.success_response["order_id"]).order.filled_size == "2"
    nothing = client.close_position(new_id(), "SOL-USD").to_dict()
    assert nothing["success"] is False and nothing["error_response"]["error"]


def test_an_order_names_its_own_preview_or_none(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    configuration = {"market_market_ioc": {"quote_size": "10"}}
    preview = client.preview_order("BTC-USD", "BUY", configuration).preview_id
    other = {"market_market_ioc": {"quote_size": "11"}}
    refused = client.create_order(new_id(), "BTC-USD", "BUY", other, preview_id=preview).to_dict()
    assert refused["success"] is False and refused["error_response"]["error"] == "INVALID_REQUEST"
    assert client.create_order(new_id(), "BTC-USD", "BUY", configuration, preview_id=preview).success


def test_lists_are_sorted_as_asked(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    factors = ("0.7", "0.9", "0.8", "0.6")
    made = [client.limit_order_gtc_buy(new_id(), "LINK-USD", "1", _link(client, one)) for one in factors]
    ids = [one.success_response["order_id"] for one in made]
    listed, cursor = [], None
    while True:
        page = client.list_orders(product_ids=["LINK-USD"], sort_by="LIMIT_PRICE", limit=3, cursor=cursor)
        listed += [one.order_id for one in page.orders]
        if not page.has_next:
            break
        cursor = page.cursor
    assert listed == [ids[place] for place in (1, 2, 0, 3)]
    client.cancel_orders(ids)
    for size in ("5", "3", "4"):
        client.market_order_buy(new_id(), "DOGE-USD", quote_size=size)
    fills = client.get_fills(sort_by="PRICE").fills
    assert [D(one.price) for one in fills] == sorted((D(one.price) for one in fills), reverse=True)
    with pytest.raises(requests.exceptions.HTTPError):
        client.get_fills(sort_by="LIMIT_PRICE")


def _link(client: Any, factor: str) -> str:
    return str((D(client.get_product("LINK-USD").price) * D(factor)).quantize(D("0.001")))


def test_the_summary_adds_up_all_fills(own: Any) -> None:
    client = own.client()
    fills = client.get_fills(limit=1000).fills
    summary = client.get_transaction_summary()
    assert summary["total_volume"] == pytest.approx(float(sum(D(one.price) * D(one.size) for one in fills)))
    assert summary["total_fees"] == pytest.approx(float(sum(D(one.commission) for one in fills)))


def test_the_portfolio_is_what_the_accounts_are_worth(own: Any) -> None:
    client = own.client()
    [portfolio] = client.get_portfolios().portfolios
    found = client.get_portfolio_breakdown(portfolio.uuid).breakdown
    worth = sum(
        (D(one.available_balance["value"]) + D(one.hold["value"])) * _price(client, one.currency)
        for one in client.get_accounts().accounts
    )
    assert D(found.portfolio_balances["total_balance"]["value"]) == worth
    assert sum(one["allocation"] for one in found.spot_positions) == pytest.approx(1, abs=1e-4)
    with pytest.raises(requests.exceptions.HTTPError):
        client.get_portfolio_breakdown("unknown")


def _price(client: Any, currency: str) -> D:
    return D(1) if currency == "USD" else D(client.get_product(f"{currency}-USD").price)


def test_a_bracket_comes_with_its_entry_over_the_wire(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    attached = {"trigger_bracket_gtc": {"limit_price": near(client, "1.2"), "stop_trigger_price": near(client, "0.9")}}
    made = client.create_order(
        new_id(), "BTC-USD", "BUY", {"market_market_ioc": {"base_size": "0.001"}}, attached_order_configuration=attached
    )
    child = client.get_order(made.success_response["attached_order_id"]).order
    assert (child.order_type, child.trigger_status, child.side) == ("BRACKET", "STOP_PENDING", "SELL")
    assert child.originating_order_id == made.success_response["order_id"]
    assert child.order_configuration.trigger_bracket_gtc.base_size == "0.001"
    assert hold(client, "BTC") == D("0.001")
    stop = client.stop_limit_order_gtc_sell(
        new_id(), "BTC-USD", "0.001", near(client, "0.8"), near(client, "0.85"), "STOP_DIRECTION_STOP_DOWN"
    )
    order = client.get_order(stop.success_response["order_id"]).order
    assert (order.order_type, order.trigger_status, order.status) == ("STOP_LIMIT", "STOP_PENDING", "OPEN")
    cancelled = client.cancel_orders([child.order_id, order.order_id]).results
    assert all(one.success for one in cancelled) and hold(client, "BTC") == 0
