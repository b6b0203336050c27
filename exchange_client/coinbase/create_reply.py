"""What an answer to a new order proves. The one table where a status code and a body become an outcome.

Only the exchange's own complete and well-formed word decides an order's outcome: JSON of a documented form, said to be JSON.
A page of a middlebox proves nothing with any status, and whatever leaves room for "it may exist" is Unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from exchange_client.coinbase.bad_reply import BadReply
from exchange_client.coinbase.replies import Json, read_reply, text
from exchange_client.coinbase.transport import Reply
from exchange_client.models import Accepted, CreateOutcome, NotSent, Refused, Unknown

_REASON_FIELDS = ("new_order_failure_reason", "error", "preview_failure_reason", "message")
# Names an id that is taken: the order exists, whatever `success` says.
DUPLICATE = "DUPLICATE_CLIENT_ORDER_ID"


def _error_form(reply: Json) -> bool:
    """The documented body of an error: a name and words."""
    return bool(text(reply, "error")) and isinstance(reply.get("message"), str)


def _throttle_form(reply: Json) -> bool:
    """The body of a throttle's answer: a list of named errors."""
    found = reply.get("errors")
    return isinstance(found, list) and bool(found) and all(isinstance(one, dict) and text(one, "id") for one in found)


@dataclass(frozen=True, slots=True)
class _TurnedAway:
    """A status by which the exchange turns a request away before it looks at the order, and the bodies it does it with.
    `permanent` where neither another moment nor an operator can change it without changing the bytes."""

    forms: tuple[Callable[[Json], bool], ...]
    permanent: bool = False


# Documented for this request; every other status says nothing about what happened behind the door. A 401 without the
# exchange's own words is in nobody's documentation, so it does not count either.
_TURNED_AWAY = {
    400: _TurnedAway((_error_form,), permanent=True),
    401: _TurnedAway((_error_form,)),
    403: _TurnedAway((_error_form,)),
    429: _TurnedAway((_error_form, _throttle_form)),
}


def create_outcome(answer: Reply) -> CreateOutcome:
    """The outcome that a complete HTTP answer to POST /orders proves."""
    turned_away = _TURNED_AWAY.get(answer.status)
    if answer.status != 200 and turned_away is None:
        return Unknown(f"HTTP {answer.status}")
    try:
        reply = read_reply(answer)
    except BadReply as error:
        return Unknown(f"HTTP {answer.status} with a body that is {error}")
    if turned_away is not None:
        if not any(form(reply) for form in turned_away.forms):
            return Unknown(f"HTTP {answer.status} with a body of no documented form")
        return NotSent(f"HTTP {answer.status}: {_excerpt(answer.body)}", permanent=turned_away.permanent)
    if reply.get("success") is True:
        return _accepted(reply)
    if reply.get("success") is False:
        return _refused(reply)
    return Unknown("HTTP 200 that says neither success nor failure")


def _accepted(reply: Json) -> CreateOutcome:
    response = _object(reply, "success_response")
    order_id, client_order_id = text(response, "order_id"), text(response, "client_order_id")
    if not order_id or not client_order_id:
        return Unknown("success without the order's ids")
    return Accepted(order_id, client_order_id)


def _refused(reply: Json) -> CreateOutcome:
    if text(_object(reply, "success_response"), "order_id") or text(reply, "order_id"):
        return Unknown("failure that names an order")
    response = _object(reply, "error_response")
    named = [text(response, field) for field in _REASON_FIELDS]
    if DUPLICATE in named:
        return Unknown("the client_order_id is taken; the order exists")
    reason = next((name for name in named if name), "")
    if not reason:
        return Unknown("failure without a reason")
    return Refused(reason[:100], text(response, "message") or text(response, "error_details"))


def _object(reply: Json, name: str) -> dict[str, Any]:
    value = reply.get(name)
    return value if isinstance(value, dict) else {}


def _excerpt(body: bytes) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in body[:200].decode("utf-8", "replace")).split())
