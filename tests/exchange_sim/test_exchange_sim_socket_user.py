"""Every change of an order reaches its owner as it was stored, with the numbers that REST tells."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from exchange_feed import Feed, Message, feed

from exchange_sim.times import SECOND_US, iso

D = Decimal


@pytest.fixture(scope="module")
def own(launch: Callable[..., Any]) -> Any:
    return launch(opening_usd=1_000_000)


def states(opened: Feed, order_id: str) -> list[Message]:
    return [one for event in opened.events("user", "update") for one in event["orders"] if one["order_id"] == order_id]


def wait_until(opened: Feed, order_id: str, status: str) -> Message:
    opened.wait(lambda _: any(one["status"] == status for one in states(opened, order_id)))
    return states(opened, order_id)[-1]


def far_below(client: Any, product_id: str) -> str:
    """A price at which a buy rests for as long as time stands still."""
    return str((D(client.get_product(product_id).price) * D("0.8")).quantize(D("0.01")))


def agrees(told: Message, stored: Any) -> None:
    assert set(map(type, told.values())) == {str}
    pairs = {
        "order_id": "order_id",
        "client_order_id": "client_order_id",
        "product_id": "product_id",
        "order_side": "side",
        "status": "status",
        "order_type": "order_type",
        "time_in_force": "time_in_force",
        "avg_price": "average_filled_price",
        "cumulative_quantity": "filled_size",
        "filled_value": "filled_value",
        "number_of_fills": "number_of_fills",
        "completion_percentage": "completion_percentage",
        "total_fees": "total_fees",
        "total_value_after_fees": "total_value_after_fees",
        "outstanding_hold_amount": "outstanding_hold_amount",
        "trigger_status": "trigger_status",
        "creation_time": "created_time",
        "cancel_reason": "cancel_message",
    }
    assert {name: told[name] for name in pairs} == {name: getattr(stored, there) for name, there in pairs.items()}


def test_a_market_order_is_told_once_as_filled(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    with feed(own, path="/ws/user", user=True) as opened:
        opened.client.user(product_ids=["ETH-USD"])
        opened.wait_for("user", "snapshot")
        order_id = client.market_order_buy(new_id(), "ETH-USD", quote_size="100").success_response["order_id"]
        told = wait_until(opened, order_id, "FILLED")
        agrees(told, client.get_order(order_id).order)
        assert [one["status"] for one in states(opened, order_id)] == ["FILLED"]
    assert (told["leaves_quantity"], told["limit_price"], told["post_only"]) == ("0", "", "false")
    assert told["end_time"] == "0001-01-01T00:00:00Z"
    assert D(told["cumulative_quantity"]) > 0 and D(told["total_value_after_fees"]) <= 100


def test_a_resting_order_is_told_open_and_then_cancelled(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    with feed(own, user=True) as opened:
        opened.client.user(product_ids=[])
        opened.wait_for("user", "snapshot")
        price = far_below(client, "ETH-USD")
        made = client.limit_order_gtc_buy(new_id(), "ETH-USD", "0.5", price, post_only=True)
        order_id = made.success_response["order_id"]
        told = wait_until(opened, order_id, "OPEN")
        agrees(told, client.get_order(order_id).order)
        assert (told["leaves_quantity"], D(told["limit_price"]), told["post_only"]) == ("0.5", D(price), "true")
        assert D(told["outstanding_hold_amount"]) > 0
        assert client.cancel_orders([order_id]).results[0].success
        told = wait_until(opened, order_id, "CANCELLED")
        agrees(told, client.get_order(order_id).order)
        assert (told["leaves_quantity"], told["cancel_reason"]) == ("0", "User requested cancel")
        assert [one["status"] for one in states(opened, order_id)] == ["OPEN", "CANCELLED"]
        numbers = opened.numbers()
        assert numbers == list(range(len(numbers)))


def test_what_happens_to_resting_orders_as_time_moves_is_told(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    now = client.get_unix_time()
    later = int(now.epoch_seconds) + 4 * 3600
    price = D(client.get_product("SOL-USD").price)
    with feed(own, user=True) as opened:
        opened.client.user(product_ids=["SOL-USD"])
        opened.wait_for("user", "snapshot")
        near = str((price * D("0.999")).quantize(D("0.01")))
        filled = client.limit_order_gtc_buy(new_id(), "SOL-USD", "2", near).success_response["order_id"]
        ends = iso((later - 3600) * SECOND_US)
        far = far_below(client, "SOL-USD")
        expired = client.limit_order_gtd_buy(new_id(), "SOL-USD", "2", far, ends).success_response["order_id"]
        assert wait_until(opened, expired, "OPEN")["end_time"] == ends
        told_at_open = len(opened.messages)
        own.advance(iso(later * SECOND_US))
        agrees(wait_until(opened, filled, "FILLED"), client.get_order(filled).order)
        agrees(wait_until(opened, expired, "EXPIRED"), client.get_order(expired).order)
        for message in opened.messages[told_at_open:]:
            told = [client.get_order(one["order_id"]).order.last_update_time for one in message["events"][0]["orders"]]
            assert message["timestamp"] >= max(told), "no message is older than what it tells"


def test_other_products_are_not_told(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    with feed(own, user=True) as opened:
        opened.client.user(product_ids=["BTC-USD"])
        opened.wait_for("user", "snapshot")
        client.market_order_buy(new_id(), "LTC-USD", quote_size="10")
        bought = client.market_order_buy(new_id(), "BTC-USD", quote_size="10").success_response["order_id"]
        wait_until(opened, bought, "FILLED")
        assert {one["product_id"] for event in opened.events("user") for one in event["orders"]} == {"BTC-USD"}
        opened.client.user_unsubscribe(product_ids=["BTC-USD"])
        after = opened.wait(lambda one: one.get("channel") == "subscriptions" and one["sequence_num"] > 1)
        assert after["events"] == [{"subscriptions": {}}]
        opened.client.heartbeats()
        client.market_order_buy(new_id(), "BTC-USD", quote_size="10")
        opened.beats(2)
        assert len(opened.events("user", "update")) == 1


def blocks(own: Any, product_ids: list[str]) -> list[list[str]]:
    """The order ids of each message of the snapshot."""
    with feed(own, user=True) as opened:
        opened.client.user(product_ids=product_ids)
        opened.wait(lambda one: one.get("channel") == "user" and len(one["events"][0]["orders"]) < 50)
        return [[one["order_id"] for one in event["orders"]] for event in opened.events("user", "snapshot")]


def test_the_snapshot_comes_in_blocks_of_fifty(own: Any, new_id: Callable[[], str]) -> None:
    client = own.client()
    price = far_below(client, "LTC-USD")

    def rest(count: int) -> list[str]:
        made = [client.limit_order_gtc_buy(new_id(), "LTC-USD", "0.1", price) for _ in range(count)]
        return [one.success_response["order_id"] for one in made]

    assert blocks(own, ["LTC-USD"]) == [[]], "an empty block tells that nothing is open"
    ids = rest(50)
    assert blocks(own, ["LTC-USD"]) == [ids, []], "a full block is never the last"
    ids += rest(70)
    assert blocks(own, ["LTC-USD"]) == [ids[:50], ids[50:100], ids[100:]]
    assert [one for block in blocks(own, []) for one in block] == ids
    assert blocks(own, ["BTC-USD"]) == [[]]
    with feed(own, user=True) as opened:
        opened.client.user(product_ids=["LTC-USD"])
        opened.wait(lambda one: one.get("channel") == "user" and len(one["events"][0]["orders"]) == 20)
        for start in range(0, 120, 60):
            client.cancel_orders(ids[start : start + 60])
        opened.wait(lambda _: sum(len(event["orders"]) for event in opened.events("user", "update")) == 120)
        told = [one for event in opened.events("user", "update") for one in event["orders"]]
        assert [one["order_id"] for one in told] == ids and {one["status"] for one in told} == {"CANCELLED"}
        assert max(len(event["orders"]) for event in opened.events("user", "update")) == 50


def test_open_orders_and_numbers_after_a_restart(launch: Callable[..., Any], new_id: Callable[[], str]) -> None:
    own = launch()
    client = own.client()
    price = far_below(client, "BTC-USD")
    resting = client.limit_order_gtc_buy(new_id(), "BTC-USD", "0.01", price).success_response["order_id"]
    with feed(own, user=True) as opened:
        opened.client.user(product_ids=[])
        opened.wait_for("user", "snapshot")
        assert own.stop() == 0
        assert "Traceback" not in (own.folder / "log").read_text()
    own.start()
    with feed(own, user=True) as opened:
        opened.client.user(product_ids=[])
        found = opened.wait_for("user", "snapshot")["events"][0]["orders"]
        assert [one["order_id"] for one in found] == [resting]
        assert own.client().cancel_orders([resting]).results[0].success
        wait_until(opened, resting, "CANCELLED")
        numbers = opened.numbers()
        assert numbers == list(range(len(numbers)))
