"""Faults on demand: what a network, an edge or a venue in trouble does to requests, by the operator's rules, each one noted.

A rule takes requests by method and the end of their path, all or a share of them by its seed, until its count is used up. What
happens before the exchange has the request leaves nothing behind; what happens to the answer leaves what was done.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from exchange_sim.access import CONTROL_PREFIX
from exchange_sim.web import Handler, HttpError, invalid_argument, reply, too_many_requests

_HTML = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
_MOST_RULES, _MOST_NOTED = 100, 1000
_LONGEST_SECONDS = 600.0


class FaultKind(StrEnum):
    """What happens. The first four come before the exchange has the request, the others after it has answered."""

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


@dataclass(slots=True)
class Rule:
    """`left` None has no end; `seconds` is how long SLOW and SILENCE take."""

    kind: FaultKind
    method: str
    path: str
    share: float
    seed: int
    seconds: float
    left: int | None
    source: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.source = random.Random(self.seed)

    def takes(self, method: str, path: str) -> bool:
        """Whether this request meets it; its turn at chance is used up by every request that it could meet."""
        if self.left == 0 or self.method not in ("", method) or not path.endswith(self.path):
            return False
        if self.source.random() >= self.share:
            return False
        if self.left is not None:
            self.left -= 1
        return True

    def as_json(self) -> dict[str, object]:
        return {
            "kind": self.kind.value,
            "method": self.method,
            "path": self.path,
            "share": self.share,
            "seed": self.seed,
            "seconds": self.seconds,
            "left": self.left,
        }


class Faults:
    """The rules in force, and the faults that requests met."""

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

    def of(self, request: web.Request) -> Rule | None:
        """The first rule that takes the request."""
        for rule in self._rules:
            if rule.takes(request.method, request.path):
                self._met.append({"kind": rule.kind.value, "method": request.method, "path": request.path})
                return rule
        return None


def faults_of(faults: Faults) -> Middleware:
    """Wraps the whole exchange but the operator's own paths."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        rule = None if request.path.startswith(CONTROL_PREFIX) else faults.of(request)
        if rule is None:
            return await handler(request)
        refusal = _refusal(rule.kind)
        if refusal is not None:
            return refusal
        return await _changed(rule, request, await handler(request))

    return middleware


def _refusal(kind: FaultKind) -> web.StreamResponse | None:
    match kind:
        case FaultKind.REFUSE_401:
            return web.Response(text="Unauthorized\n", status=401)
        case FaultKind.REFUSE_429:
            return too_many_requests()
        case FaultKind.REFUSE_500:
            return _internal()
        case FaultKind.REFUSE_502:
            return _bad_gateway()
    return None


def _internal() -> web.Response:
    return reply(HttpError(500, "INTERNAL", "internal error").body, 500)


def _bad_gateway() -> web.Response:
    """As an edge says it, which is no JSON."""
    return web.Response(text=_HTML, status=502, content_type="text/html")


async def _changed(rule: Rule, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """What the client gets in place of the answer."""
    match rule.kind:
        case FaultKind.SLOW:
            await asyncio.sleep(rule.seconds)
            return answer
        case FaultKind.SILENCE:
            await asyncio.sleep(rule.seconds)
            return _ended(request)
        case FaultKind.DROP:
            return _ended(request)
        case FaultKind.GARBAGE:
            return web.Response(text='{"success":tru', status=200, content_type="application/json")
        case FaultKind.ERROR_500:
            return _internal()
        case FaultKind.ERROR_502:
            return _bad_gateway()
    return await _truncated(request, answer)


def _ended(request: web.Request) -> web.StreamResponse:
    """The connection ends without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _truncated(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Half of what the header promises, then the end."""
    body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b"{}"
    part = web.StreamResponse(status=answer.status)
    part.content_type, part.content_length = "application/json", len(body)
    try:
        await part.prepare(request)
        await part.write(body[: len(body) // 2])
    except ConnectionError:
        pass  # the client has gone, which is what it would have been told
    _ended(request)
    return part


def _rule(fields: Mapping[str, object]) -> Rule:
    known = {"kind", "method", "path", "share", "seed", "seconds", "count"}
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
    return Rule(
        kind=FaultKind(str(fields["kind"])),
        method=method,
        path=path,
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
