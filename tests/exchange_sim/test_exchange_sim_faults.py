"""Faults on demand and the throttle, as the official client meets them: what they leave behind is the point."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from exchange_sim.fault_rules import OF_REQUESTS, REFUSALS, FaultKind, Rule
from exchange_sim.throttle import Bucket

AFTER = OF_REQUESTS - REFUSALS
FAILURES = {
    FaultKind.REFUSE_401: requests.HTTPError,
    FaultKind.REFUSE_429: requests.HTTPError,
    FaultKind.REFUSE_500: requests.HTTPError,
    FaultKind.REFUSE_502: requests.HTTPError,
    FaultKind.SILENCE: requests.ConnectionError,
    FaultKind.DROP: requests.ConnectionError,
    FaultKind.TRUNCATE: requests.exceptions.ChunkedEncodingError,
    FaultKind.GARBAGE: requests.exceptions.JSONDecodeError,
    FaultKind.ERROR_500: requests.HTTPError,
    FaultKind.ERROR_502: requests.HTTPError,
}


@pytest.fixture(scope="module")
def own(launch: Callable[..., Any]) -> Any:
    return launch(products="BTC-USD")


@pytest.fixture
def trouble(own: Any) -> Iterator[Callable[..., dict[str, Any]]]:
    """Sets a fault; all are gone after the test."""

    def add(**fields: Any) -> dict[str, Any]:
        answer = own.control("POST", "faults", fields)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    yield add
    assert own.control("DELETE", "faults").json()["rules"] == []


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.value)
def test_a_create_that_meets_a_fault_is_made_once_or_not_at_all(
    own: Any, trouble: Callable[..., Any], new_id: Callable[[], str], kind: FaultKind
) -> None:
    client, client_id = own.client(), new_id()
    trouble(kind=kind.value, method="POST", path="/orders", count=1, seconds=0.2)
    with pytest.raises(FAILURES[kind]):
        client.market_order_buy(client_id, "BTC-USD", quote_size="2")

    def made() -> list[str]:
        return [one.order_id for one in client.list_orders().orders if one.client_order_id == client_id]

    assert len(made()) == (1 if kind in AFTER else 0)
    again = client.market_order_buy(client_id, "BTC-USD", quote_size="2")
    assert made() == [again.success_response["order_id"]]
    state = own.control("GET", "faults").json()
    assert state["met"][-1] == {"kind": kind.value, "method": "POST", "path": "/api/v3/brokerage/orders"}
    assert state["rules"][0]["left"] == 0


def test_a_slow_answer_is_whole(own: Any, trouble: Callable[..., Any]) -> None:
    trouble(kind="slow", path="/accounts", seconds=0.3)
    assert own.client().get_accounts().accounts


def test_a_share_of_requests_is_the_same_by_seed(own: Any, trouble: Callable[..., Any]) -> None:
    client = own.client()

    def met() -> list[bool]:
        trouble(kind="refuse_500", method="GET", path="/accounts", share=0.5, seed=7)
        found = []
        for _ in range(12):
            try:
                client.get_accounts()
                found.append(False)
            except requests.HTTPError:
                found.append(True)
        own.control("DELETE", "faults")
        return found

    first = met()
    assert first == met() and 0 < sum(first) < 12


def test_other_paths_and_the_operators_meet_nothing(own: Any, trouble: Callable[..., Any]) -> None:
    trouble(kind="drop", path="")
    assert own.control("GET", "status").status_code == 200
    own.control("DELETE", "faults")
    trouble(kind="drop", method="POST", path="/orders")
    assert own.client().list_orders() is not None


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "kind"),
        ({"kind": "fire"}, "kind"),
        ({"kind": "drop", "colour": "red"}, "colour"),
        ({"kind": "drop", "method": "PUT"}, "method"),
        ({"kind": "drop", "path": 7}, "path"),
        ({"kind": "drop", "share": 2}, "share"),
        ({"kind": "drop", "share": "all"}, "share"),
        ({"kind": "drop", "count": 0}, "count"),
        ({"kind": "slow", "seconds": 1e9}, "seconds"),
        ({"kind": "drop", "seed": -1}, "seed"),
    ],
)
def test_what_is_no_fault_is_said_by_name(own: Any, fields: dict[str, Any], word: str) -> None:
    answer = own.control("POST", "faults", fields)
    assert answer.status_code == 400 and word in answer.json()["message"]
    assert own.control("GET", "faults").json()["rules"] == []


def test_a_rule_ends_with_its_count() -> None:
    rule = Rule(FaultKind.DROP, "", "/orders", "", 1.0, 1, 0.0, 2)
    assert [rule.takes("POST", "/x/orders") for _ in range(4)] == [True, True, False, False]
    assert not rule.takes("POST", "/x/orders/batch")


# ---- the throttle ----------------------------------------------------------------------------------------------------


def test_a_bucket_gives_back_at_its_rate() -> None:
    bucket = Bucket(10.0, 10.0, 0.0)
    assert [bucket.take(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert bucket.take(0.1) and not bucket.take(0.1)
    assert [bucket.take(100.0) for _ in range(11)] == [True] * 10 + [False]


def test_too_many_requests_do_nothing_and_say_so(launch: Callable[..., Any], new_id: Callable[[], str]) -> None:
    simulator = launch(products="BTC-USD", private_rate=3, public_rate=2)
    client = simulator.client()
    made, refused = [], []
    for _ in range(60):
        client_id = new_id()
        try:
            client.market_order_buy(client_id, "BTC-USD", quote_size="2")
            made.append(client_id)
        except requests.HTTPError as error:
            assert error.response.status_code == 429
            assert error.response.json() == {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
            assert error.response.headers["x-ratelimit-remaining"] == "0"
            refused.append(client_id)
    assert len(made) >= 3 and refused
    statuses = [simulator.session().get(f"https://{simulator.host}/v2/time", timeout=30).status_code for _ in range(40)]
    assert statuses[:2] == [200, 200] and 429 in statuses
    assert simulator.control("GET", "status").status_code == 200, "the operator is not throttled"
    listed = None
    while listed is None:
        try:
            listed = {one.client_order_id for one in client.list_orders().orders}
        except requests.HTTPError as error:
            assert error.response.status_code == 429
    assert listed == set(made)
