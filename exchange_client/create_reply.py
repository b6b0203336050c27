"""What an answer to a new order proves. The one table where a status code and a body become an outcome.

Only a body that says so decides an order's fate; whatever leaves room for "it may exist" is Doubt.
"""

from __future__ import annotations

from typing import Any

from exchange_client.errors import BadReply
from exchange_client.models import Accepted, CreateOutcome, Doubt, Refused, Unsent
from exchange_client.replies import Json, read_json, text

# Turned away at the door. 408, 409 and 425 are not here: they say nothing about what happened behind it.
_TURNED_AWAY = frozenset({400, 401, 403, 404, 405, 411, 413, 414, 415, 422, 429, 431})
# Of these, the ones that another moment or an operator can change without changing the bytes.
_PASSING = frozenset({401, 403, 429})
_REASON_FIELDS = ("new_order_failure_reason", "error", "preview_failure_reason", "message")
# Names an id that is taken: the order exists, whatever `success` says.
DUPLICATE = "DUPLICATE_CLIENT_ORDER_ID"


def create_outcome(status: int, body: bytes) -> CreateOutcome:
    """The outcome that a complete HTTP answer to POST /orders proves."""
    if status in _TURNED_AWAY:
        return Unsent(f"HTTP {status}: {_excerpt(body)}", permanent=status not in _PASSING)
    if status != 200:
        return Doubt(f"HTTP {status}")
    try:
        reply = read_json(body)
    except BadReply as error:
        return Doubt(f"HTTP 200 with a body that is {error}")
    if reply.get("success") is True:
        return _accepted(reply)
    if reply.get("success") is False:
        return _refused(reply)
    return Doubt("HTTP 200 that says neither success nor failure")


def _accepted(reply: Json) -> CreateOutcome:
    response = _object(reply, "success_response")
    order_id = text(response, "order_id")
    if not order_id:
        return Doubt("success without an order id")
    return Accepted(order_id, text(response, "client_order_id"))


def _refused(reply: Json) -> CreateOutcome:
    response = _object(reply, "error_response")
    named = [text(response, field) for field in _REASON_FIELDS]
    if DUPLICATE in named:
        return Doubt("the client_order_id is taken; the order exists")
    reason = next((name for name in named if name), "UNKNOWN_FAILURE_REASON")
    return Refused(reason, text(response, "message") or text(response, "error_details"))


def _object(reply: Json, name: str) -> dict[str, Any]:
    value = reply.get(name)
    return value if isinstance(value, dict) else {}


def _excerpt(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())
