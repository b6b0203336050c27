"""The kinds of faults a drill puts between the mesh and the exchange, and what each does to a reply's bytes.

A fault says whether and when the exchange gets the request, and what the client gets in place of the answer. `theme` is
the word of the report's table. Pure: what is chosen follows from a seed and the number of the request.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Delivery(Enum):
    """What the exchange gets of a request."""

    ONCE = auto()
    TWICE = auto()
    NEVER = auto()
    # After the client has given up, while its token still lives.
    LATE = auto()
    # After the token's life: the exchange must refuse it.
    STALE = auto()


class Answer(Enum):
    """What the client gets."""

    REPLY = auto()
    # The reply after `Fault.change`, as a complete and well-formed HTTP message.
    CHANGED = auto()
    # HTML with the fault's status.
    HTML = auto()
    # Half of the body, then the end of the connection.
    CUT = auto()
    # The connection ends without an answer.
    CLOSED = auto()
    # The same, by RST.
    RESET = auto()
    # Silence for longer than the client waits.
    SILENCE = auto()
    # One byte at a time.
    DRIP = auto()


Change = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault."""

    name: str
    theme: str
    delivery: Delivery
    answer: Answer
    status: int = 200
    change: Change | None = None

    @property
    def after_acceptance(self) -> bool:
        """Whether the exchange may have taken the order while the client's answer does not say so."""
        return self.delivery not in (Delivery.NEVER, Delivery.STALE) and self.answer is not Answer.REPLY


PASS = Fault("pass", "none", Delivery.ONCE, Answer.REPLY)


# ---- what is done to bodies ------------------------------------------------------------------------------------------


def half(body: bytes) -> bytes:
    """The first half, whole as HTTP and broken as JSON."""
    return body[: len(body) // 2]


def twice(body: bytes) -> bytes:
    """The same object written two times."""
    return body + body


def contradicted(body: bytes) -> bytes:
    """Every telling key once more at the end with the opposite value: valid JSON to a parser that takes the last."""
    reply = _object(body)
    if reply is None:
        return body
    if "success" in reply:
        added = '"success":false,"error_response":{"error":"INSUFFICIENT_FUND","message":"Insufficient balance"}'
        return body.rstrip()[:-1] + f",{added}}}".encode()
    text = body.decode()
    for row in _orders(reply):
        inner = json.dumps(row, separators=(",", ":"))
        if inner in text:
            added = '"status":"FAILED","filled_size":"0","number_of_fills":"0","settled":true'
            text = text.replace(inner, f"{inner[:-1]},{added}}}")
    return text.encode()


def without_configuration(body: bytes) -> bytes:
    """Orders that do not tell their terms."""
    return _each_order(body, lambda order: order.pop("order_configuration", None))


def with_zero_size(body: bytes) -> bytes:
    """The size that is not set told as "0"; Coinbase tells unset numbers so."""

    def change(order: dict[str, Any]) -> None:
        for terms in order.get("order_configuration", {}).values():
            terms.setdefault("base_size", "0")
            terms.setdefault("quote_size", "0")

    return _each_order(body, change)


def with_null_variant(body: bytes) -> bytes:
    """A second variant of the terms that is null."""
    return _each_order(body, lambda order: order.get("order_configuration", {}).setdefault("limit_limit_gtc", None))


def without_settled(body: bytes) -> bytes:
    """Orders that do not say whether they have settled."""
    return _each_order(body, lambda order: order.pop("settled", None))


def without_order_id(body: bytes) -> bytes:
    """A create reply that says success and not of what."""
    reply = _object(body)
    if reply is None or "success_response" not in reply:
        return body
    del reply["success_response"]
    return _bytes(reply)


def without_success(body: bytes) -> bytes:
    """A create reply that does not say how it went."""
    reply = _object(body)
    if reply is None or "success" not in reply:
        return body
    del reply["success"]
    return _bytes(reply)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _orders(reply: dict[str, Any]) -> list[dict[str, Any]]:
    one, many = reply.get("order"), reply.get("orders")
    return [one] if isinstance(one, dict) else [row for row in many if isinstance(row, dict)] if many else []


def _each_order(body: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    reply = _object(body)
    if reply is None or not _orders(reply):
        return body
    for order in _orders(reply):
        change(order)
    return _bytes(reply)


def _bytes(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply, separators=(",", ":")).encode()


# ---- the catalogue ---------------------------------------------------------------------------------------------------


def _html(status: int, delivery: Delivery = Delivery.ONCE) -> Fault:
    before = delivery is Delivery.NEVER
    return Fault(f"html_{status}{'_before' if before else ''}", "html", delivery, Answer.HTML, status)


def _changed(name: str, theme: str, change: Change) -> Fault:
    return Fault(name, theme, Delivery.ONCE, Answer.CHANGED, change=change)


_BROKEN = (
    Fault("dropped", "drop", Delivery.NEVER, Answer.CLOSED),
    Fault("lost", "drop", Delivery.NEVER, Answer.SILENCE),
    Fault("cut", "cut", Delivery.ONCE, Answer.CUT),
    Fault("unanswered", "cut", Delivery.ONCE, Answer.SILENCE),
    Fault("reset", "reset", Delivery.ONCE, Answer.RESET),
    Fault("reset_before", "reset", Delivery.NEVER, Answer.RESET),
    _changed("half_json", "json", half),
    _changed("doubled_body", "json", twice),
    _changed("doubled_keys", "json", contradicted),
    Fault("drip", "drip", Delivery.ONCE, Answer.DRIP),
)
_ACCEPTED_AS_HTML = tuple(_html(status) for status in (400, 401, 403, 404, 429, 502, 503))
_REFUSED_AS_HTML = tuple(_html(status, Delivery.NEVER) for status in (403, 429, 503))

SENDS = (
    *_BROKEN,
    *_ACCEPTED_AS_HTML,
    *_REFUSED_AS_HTML,
    Fault("late", "late", Delivery.LATE, Answer.SILENCE),
    Fault("stale", "late", Delivery.STALE, Answer.SILENCE),
    _changed("no_order_id", "fields", without_order_id),
    _changed("no_success", "fields", without_success),
    Fault("twice", "twice", Delivery.TWICE, Answer.REPLY),
    Fault("twice_cut", "twice", Delivery.TWICE, Answer.CLOSED),
)
READS = (
    *_BROKEN,
    *_ACCEPTED_AS_HTML,
    _changed("no_configuration", "fields", without_configuration),
    _changed("zero_size", "fields", with_zero_size),
    _changed("null_variant", "fields", with_null_variant),
    _changed("no_settled", "fields", without_settled),
)
THEMES = ("drop", "late", "cut", "reset", "html", "json", "fields", "twice", "drip")
BY_NAME = {fault.name: fault for fault in (PASS, *SENDS, *READS)}


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The faults of one run: mostly of one theme, so that the report can tell what each does."""

    seed: int
    theme: str
    send_share: float
    read_share: float
    # Whether requests are held back beyond the life of their token, or for most of it, which takes as long; otherwise for
    # little longer than their client waits.
    stale: bool = True

    def of_send(self, number: int) -> Fault:
        """The fault of the run's nth order request; the first one always meets one."""
        found = self._chosen(f"send/{number}", SENDS, self.send_share if number > 1 else float(self.send_share > 0))
        return found if self.stale or found.delivery is not Delivery.STALE else BY_NAME["late"]

    def of_read(self, number: int) -> Fault:
        """The fault of the run's nth signed read."""
        return self._chosen(f"read/{number}", READS, self.read_share)

    def _chosen(self, stream: str, kinds: tuple[Fault, ...], share: float) -> Fault:
        source = random.Random(f"drill/{self.seed}/{stream}")
        if source.random() >= share:
            return PASS
        themed = [kind for kind in kinds if kind.theme == self.theme]
        return source.choice(themed if themed and source.random() < 0.8 else list(kinds))


NO_FAULTS = FaultPlan(0, "none", 0.0, 0.0)
