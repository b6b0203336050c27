"""What answers prove, and how the exchange's JSON is read."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_client import Accepted, NotSent, Refused, Unknown
from exchange_client.coinbase import replies
from exchange_client.coinbase.bad_reply import BadReply
from exchange_client.coinbase.create_reply import create_outcome
from exchange_client.coinbase.transport import Reply
from tests.exchange_client.exchange_rows import FILL, ORDER

ACCEPTED = {
    "success": True,
    "success_response": {"order_id": "x-1", "product_id": "BTC-USD", "side": "BUY", "client_order_id": "c-1"},
    "order_configuration": {"market_market_ioc": {"quote_size": "10"}},
}
OLD_SHAPE = {**ACCEPTED, "order_id": "x-1", "failure_reason": "UNKNOWN_FAILURE_REASON"}


def answer(status: int, body: bytes, content_type: str = "application/json") -> Reply:
    return Reply(status, body, content_type)


def refused(**response: str) -> dict[str, Any]:
    return {"success": False, "error_response": response, "order_configuration": {}}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, ACCEPTED, Accepted("x-1", "c-1")),
        (200, OLD_SHAPE, Accepted("x-1", "c-1")),
        (200, {"success": True, "success_response": {}}, Unknown),
        (200, {"success": True}, Unknown),
        (200, {"success": "true"}, Unknown),
        (200, {}, Unknown),
        (200, [1], Unknown),
        (200, refused(new_order_failure_reason="A", error="B", message="m"), Refused("A", "m")),
        (
            200,
            refused(error="INSUFFICIENT_FUND", message="no", preview_failure_reason="PREVIEW_INSUFFICIENT_FUND"),
            Refused("INSUFFICIENT_FUND", "no"),
        ),
        (200, refused(preview_failure_reason="P"), Refused("P", "")),
        (200, refused(message="only words"), Refused("only words", "only words")),
        (200, {"success": False}, Unknown),
        (200, {"success": False, "error_response": {}}, Unknown),
        (200, {**refused(error="A"), "order_id": "x-1"}, Unknown),
        (200, {**refused(error="A"), "success_response": {"order_id": "x-1"}}, Unknown),
        (200, {**refused(error="A"), "order_id": "", "success_response": None}, Refused("A", "")),
        (200, {"success": True, "success_response": {"order_id": "x-1"}}, Unknown),
        (200, refused(error="SOMETHING_NEW_IN_2027"), Refused("SOMETHING_NEW_IN_2027", "")),
        (200, refused(error="A", message="a\x00b\ud800"), Refused("A", "a?b?")),
        (200, refused(error="DUPLICATE_CLIENT_ORDER_ID"), Unknown),
        (200, b"<html>ok</html>", Unknown),
        (200, json.dumps(ACCEPTED).encode()[:60], Unknown),
        (200, json.dumps(ACCEPTED).encode() + b"}", Unknown),
        (200, json.dumps(ACCEPTED).encode("utf-16"), Unknown),
        (200, b'{"success": true, "success": false, "error_response": {"error": "A"}}', Unknown),
        (200, b'{"success": false, "error_response": {"error": "A", "error": "B"}}', Unknown),
        (200, b'{"success": false, "error_response": {"error": "A"}, "n": NaN}', Unknown),
        (200, b"", Unknown),
        (201, ACCEPTED, Unknown),
        (302, b"", Unknown),
        (400, {"error": "unknown", "error_details": "proto: unknown field", "message": "m"}, ("unsent", True)),
        (400, {"error": "INVALID_ARGUMENT", "code": 3, "message": "", "details": []}, ("unsent", True)),
        (400, {"error": "unknown"}, Unknown),
        (400, {"message": "m"}, Unknown),
        (401, {"error": "UNAUTHENTICATED", "message": "m"}, ("unsent", False)),
        (401, b"Unauthorized\n", Unknown),
        (403, {"error": "PERMISSION_DENIED", "message": "Missing required scopes"}, ("unsent", False)),
        (429, {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}, ("unsent", False)),
        (429, {"errors": []}, Unknown),
        (429, {"errors": [{"message": "no"}]}, Unknown),
        *(
            (status, {"error": "A", "message": "m"}, Unknown)
            for status in (404, 408, 409, 413, 422, 425, 499, 500, 503)
        ),
        *((status, b"<html>no</html>", Unknown) for status in (400, 401, 403, 404, 413, 429, 500, 502, 504)),
    ],
)
def test_only_an_answer_that_says_so_decides(status: int, body: Any, outcome: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = create_outcome(answer(status, raw))
    # The same bytes without the word JSON, as a middlebox would send them, prove nothing.
    assert isinstance(create_outcome(answer(status, raw, "text/html")), Unknown)
    if isinstance(outcome, tuple):
        assert isinstance(found, NotSent)
        assert found.permanent is outcome[1]
    elif isinstance(outcome, type):
        assert isinstance(found, outcome)
    else:
        assert found == outcome


@given(status=st.integers(100, 599), body=st.binary(max_size=60))
def test_no_bytes_break_it_and_none_make_an_order_by_chance(status: int, body: bytes) -> None:
    assert isinstance(create_outcome(answer(status, body)), Unknown)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["success", "success_response", "error_response", "order_id", "error"]), x
            )
        ),
        max_leaves=8,
    )
)
def test_no_json_breaks_it(body: Any) -> None:
    create_outcome(answer(200, json.dumps(body).encode()))


def test_numbers_never_pass_through_float() -> None:
    reply = replies.read_json(b'{"fee_tier": {"maker_fee_rate": 0.1000000000000000055, "taker_fee_rate": "0.2"}}')
    assert replies.fee_rates(reply).maker == Decimal("0.1000000000000000055")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "--1", "0x10", "1_000", " 1"])
def test_a_number_that_is_none_is_refused_and_in_a_candle_is_nan(text: str) -> None:
    with pytest.raises(BadReply):
        replies.required({"x": text}, "x")
    row = {"start": "1735689600", "open": text, "high": "2", "low": "1", "close": "1.5", "volume": "3"}
    candle = replies.candle(row)
    assert candle.open.is_nan()
    assert candle.close == Decimal("1.5")


def test_an_order_that_never_filled_has_empty_numbers() -> None:
    order = replies.order(ORDER)
    assert (order.filled_size, order.settled, order.terminal) == (0, False, False)
    assert order.reject_reason == ""
    assert order.created_time.microsecond == 123456


@pytest.mark.parametrize("name", ["order_id", "product_id", "side", "status", "created_time", "filled_size", "settled"])
@pytest.mark.parametrize("value", ["absent", None])
def test_half_an_order_is_none(name: str, value: Any) -> None:
    """Without its filled size an order that filled would read as one that did not."""
    row: dict[str, Any] = {**ORDER, name: value}
    if value == "absent":
        del row[name]
    with pytest.raises(BadReply):
        replies.order(row)


@pytest.mark.parametrize("name", ["entry_id", "order_id", "product_id", "side", "price", "size", "commission"])
def test_half_a_fill_is_none(name: str) -> None:
    assert replies.fill(FILL).commission == 0
    with pytest.raises(BadReply):
        replies.fill({key: value for key, value in FILL.items() if key != name})


def test_a_key_that_says_nothing_is_taken_for_one_that_can_withdraw() -> None:
    found = replies.key_permissions({})
    assert (found.can_view, found.can_trade, found.can_transfer) == (False, False, True)


def test_a_preview_is_read_and_one_that_does_not_say_whether_it_would_be_taken_is_none() -> None:
    told = {
        "order_total": "100",
        "commission_total": "0.89",
        "errs": [],
        "warning": ["BIG_ORDER"],
        "base_size": "0.0022",
        "quote_size": "99.11",
        "best_bid": "44999.5",
        "best_ask": "45000.5",
        "slippage": "0.0001",
        "est_average_filled_price": "45001",
        "is_max": False,
    }
    found = replies.order_preview(told)
    assert (found.total, found.fee, found.average_price) == (Decimal(100), Decimal("0.89"), Decimal(45001))
    assert (found.errors, found.warnings) == ((), ("BIG_ORDER",))
    against = replies.order_preview(
        {**told, "errs": ["PREVIEW_INSUFFICIENT_FUND", "A\x1b[31m"], "best_bid": "", "warning": None}
    )
    assert against.errors == ("PREVIEW_INSUFFICIENT_FUND", "A?[31m") and against.best_bid == 0
    for bad in ({"errs": None}, {"errs": [1]}, {"errs": "none"}, {"order_total": "much"}):
        with pytest.raises(BadReply):
            replies.order_preview({**told, **bad})
