"""Faults on demand: the operator's rules for what goes wrong, and which of them were met. What they do lies elsewhere.

A rule takes requests by method and the end of their path, or messages of the WebSocket by channel and the end of their
connection's path: all or a share of them by its seed, until its count is used up. Each one that is met is noted and logged.
"""

import logging
import random
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiohttp import web

from exchange_sim.socket_request import CHANNELS
from exchange_sim.web import HttpError, invalid_argument

_MOST_RULES, _MOST_NOTED = 100, 1000
_LONGEST_SECONDS = 600.0

log = logging.getLogger(__name__)


class FaultKind(StrEnum):
    """What happens: before the exchange has a request, after it has answered one, to a subscription, or to a message that the
    WebSocket sends."""

    REFUSE_401 = "refuse_401"
    REFUSE_429 = "refuse_429"
    REFUSE_500 = "refuse_500"
    REFUSE_502 = "refuse_502"
    SLOW = "slow"
    SILENCE = "silence"
    DROP = "drop"
    TRUNCATE = "truncate"
    GARBAGE = "garbage"
    ERROR_500 = "error_500"
    ERROR_502 = "error_502"
    WS_REFUSE = "ws_refuse"
    WS_STALE = "ws_stale"
    WS_DROP = "ws_drop"
    WS_CLOSE = "ws_close"
    WS_SILENCE = "ws_silence"
    WS_GAP = "ws_gap"
    WS_REPEAT = "ws_repeat"
    WS_SWAP = "ws_swap"
    WS_LATE = "ws_late"
    WS_TRUNCATE = "ws_truncate"
    WS_GARBAGE = "ws_garbage"


REFUSALS = frozenset({FaultKind.REFUSE_401, FaultKind.REFUSE_429, FaultKind.REFUSE_500, FaultKind.REFUSE_502})
OF_SUBSCRIPTIONS = frozenset({FaultKind.WS_REFUSE, FaultKind.WS_STALE})
_OF_SOCKETS = frozenset(kind for kind in FaultKind if kind.value.startswith("ws_"))
OF_MESSAGES = _OF_SOCKETS - OF_SUBSCRIPTIONS
OF_REQUESTS = frozenset(FaultKind) - _OF_SOCKETS
# What messages are called by: the channels, and what only is sent.
_MESSAGES = frozenset({*CHANNELS, "l2_data", "subscriptions"})


@dataclass(slots=True)
class Rule:
    """`left` None has no end; `seconds` is how long SLOW, the silences and WS_LATE take."""

    kind: FaultKind
    method: str
    path: str
    channel: str
    share: float
    seed: int
    seconds: float
    left: int | None
    source: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.source = random.Random(self.seed)

    def takes(self, method: str, path: str, channel: str = "") -> bool:
        """Whether this request or message meets it; its turn at chance is used up by every one that it could meet."""
        named = self.method in ("", method) and self.channel in ("", channel) and path.endswith(self.path)
        if self.left == 0 or not named or self.source.random() >= self.share:
            return False
        if self.left is not None:
            self.left -= 1
        return True

    def as_json(self) -> dict[str, object]:
        return {
            "kind": self.kind.value,
            "method": self.method,
            "path": self.path,
            "channel": self.channel,
            "share": self.share,
            "seed": self.seed,
            "seconds": self.seconds,
            "left": self.left,
        }


class Faults:
    """The rules in force, and the faults that were met."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._met: deque[dict[str, str]] = deque(maxlen=_MOST_NOTED)

    def add(self, fields: Mapping[str, object]) -> None:
        """One more rule; 400 for what is none."""
        if len(self._rules) >= _MOST_RULES:
            raise HttpError(409, "FAILED_PRECONDITION", f"there are {_MOST_RULES} rules; take them away first")
        self._rules.append(_rule(fields))

    def clear(self) -> None:
        """No more faults; what was met stays noted."""
        self._rules.clear()

    def as_json(self) -> dict[str, object]:
        return {"rules": [rule.as_json() for rule in self._rules], "met": list(self._met)}

    def of_request(self, request: web.Request) -> Rule | None:
        """The first rule that takes the request. A WebSocket's is only refused: what would come after its answer comes after
        the last message."""
        opens_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        kinds = REFUSALS if opens_socket else OF_REQUESTS
        return self._first(kinds, {"method": request.method, "path": request.path})

    def of_socket(self, kinds: Collection[FaultKind], path: str, channel: str) -> Rule | None:
        """The first rule of these kinds that takes a subscription or a message of a connection to `path`."""
        return self._first(kinds, {"path": path, "channel": channel})

    def _first(self, kinds: Collection[FaultKind], told: Mapping[str, str]) -> Rule | None:
        for rule in self._rules:
            if rule.kind in kinds and rule.takes(told.get("method", ""), told["path"], told.get("channel", "")):
                self._met.append({"kind": rule.kind.value, **told})
                log.info("fault %s: %s", rule.kind.value, " ".join(told.values()))
                return rule
        return None


def _rule(fields: Mapping[str, object]) -> Rule:
    known = {"kind", "method", "path", "channel", "share", "seed", "seconds", "count"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise invalid_argument(f"{unknown[0]} is unknown; a fault has {', '.join(sorted(known))}")
    kinds = [kind.value for kind in FaultKind]
    if fields.get("kind") not in kinds:
        raise invalid_argument(f"kind must be one of {', '.join(kinds)}")
    method, path = fields.get("method", ""), fields.get("path", "")
    if not isinstance(method, str) or method not in ("", "GET", "POST"):
        raise invalid_argument("method must be GET or POST, or left out for both")
    if not isinstance(path, str) or len(path) > 200:
        raise invalid_argument("path must be the end of a path, such as /orders")
    kind, channel = FaultKind(str(fields["kind"])), fields.get("channel", "")
    if not isinstance(channel, str) or channel not in ("", *_MESSAGES):
        raise invalid_argument(f"channel must be one of {', '.join(sorted(_MESSAGES))}, or left out for all")
    of_other = "method" if kind in _OF_SOCKETS else "channel"
    if of_other in fields:
        raise invalid_argument(f"{of_other} does nothing for {kind.value}; leave it out")
    return Rule(
        kind=kind,
        method=method,
        path=path,
        channel=channel,
        share=_number(fields, "share", 1.0, 0.0, 1.0),
        seed=int(_number(fields, "seed", 1, 0, 2**62)),
        seconds=_number(fields, "seconds", 30.0, 0.0, _LONGEST_SECONDS),
        left=int(_number(fields, "count", 0, 1, 2**31)) if "count" in fields else None,
    )


def _number(fields: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or (name in fields and not least <= value <= most):
        raise invalid_argument(f"{name} must be a number from {least:g} to {most:g}")
    return value
