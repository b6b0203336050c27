"""What answers prove, and how the exchange's JSON is read."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_client import Accepted, Doubt, Refused, Unsent, replies
from exchange_client.create_reply import create_outcome
from exchange_client.errors import BadReply

ACCEPTED = {
    "success": True,
    "success_response": {"order_id": "x-1", "product_id": "BTC-USD", "side": "BUY", "client_order_id": "c-1"},
    "order_configuration": {"market_market_ioc": {"quote_size": "10"}},
}
OLD_SHAPE = {**ACCEPTED, "order_id": "x-1", "failure_reason": "UNKNOWN_FAILURE_REASON"}


def refused(**response: str) -> dict[str, Any]:
    return {"success": False, "error_response": response, "order_configuration": {}}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, ACCEPTED, Accepted("x-1", "c-1")),
        (200, OLD_SHAPE, Accepted("x-1", "c-1")),
        (200, {"success": True, "success_response": {}}, Doubt),
        (200, {"success": True}, Doubt),
        (200, {"success": "true"}, Doubt),
        (200, {}, Doubt),
        (200, [1], Doubt),
        (200, refused(new_order_failure_reason="A", error="B", message="m"), Refused("A", "m")),
        (
            200,
            refused(error="INSUFFICIENT_FUND", message="no", preview_failure_reason="PREVIEW_INSUFFICIENT_FUND"),
            Refused("INSUFFICIENT_FUND", "no"),
        ),
        (200, refused(preview_failure_reason="P"), Refused("P", "")),
        (200, refused(message="only words"), Refused("only words", "only words")),
        (200, {"success": False}, Refused("UNKNOWN_FAILURE_REASON", "")),
        (200, refused(error="SOMETHING_NEW_IN_2027"), Refused("SOMETHING_NEW_IN_2027", "")),
        (200, refused(error="DUPLICATE_CLIENT_ORDER_ID"), Doubt),
        (200, b"<html>ok</html>", Doubt),
        (200, json.dumps(ACCEPTED).encode()[:60], Doubt),
        (200, b"", Doubt),
        (201, ACCEPTED, Doubt),
        (302, b"", Doubt),
        (400, {"error": "unknown", "error_details": "proto: unknown field"}, ("unsent", True)),
        (401, b"Unauthorized\n", ("unsent", False)),
        (403, {"error": "PERMISSION_DENIED"}, ("unsent", False)),
        (404, b"", ("unsent", True)),
        (408, b"", Doubt),
        (409, b"", Doubt),
        (429, {"errors": [{"id": "rate_limit_exceeded"}]}, ("unsent", False)),
        (499, b"", Doubt),
        (500, {"error": "INTERNAL"}, Doubt),
        (502, b"<html>Bad gateway</html>", Doubt),
        (503, b"", Doubt),
        (504, b"", Doubt),
    ],
)
def test_only_an_answer_that_says_so_decides(status: int, body: Any, outcome: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = create_outcome(status, raw)
    if isinstance(outcome, tuple):
        assert isinstance(found, Unsent)
        assert found.permanent is outcome[1]
    elif isinstance(outcome, type):
        assert isinstance(found, outcome)
    else:
        assert found == outcome


@given(status=st.integers(100, 599), body=st.binary(max_size=60))
def test_no_bytes_break_it_and_none_make_an_order_by_chance(status: int, body: bytes) -> None:
    assert isinstance(create_outcome(status, body), Doubt | Unsent)


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
    create_outcome(200, json.dumps(body).encode())


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
    row = {
        "order_id": "x",
        "client_order_id": "c",
        "product_id": "BTC-USD",
        "side": "BUY",
        "status": "PENDING",
        "created_time": "2026-04-07T12:00:00.123456789Z",
        "filled_size": "",
        "filled_value": "",
        "fee": "",
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "last_fill_time": None,
    }
    order = replies.order(row)
    assert (order.filled_size, order.number_of_fills, order.settled, order.terminal) == (0, 0, False, False)
    assert order.reject_reason == ""
    assert order.created_time.microsecond == 123456


def test_a_key_that_says_nothing_is_taken_for_one_that_can_withdraw() -> None:
    found = replies.key_permissions({})
    assert (found.can_view, found.can_trade, found.can_transfer) == (False, False, True)
