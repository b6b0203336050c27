"""What faults do to requests: what a network, an edge or a venue in trouble does.

What happens before the exchange has the request leaves nothing behind; what happens to the answer leaves what was done.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Middleware

from exchange_sim.access import CONTROL_PREFIX
from exchange_sim.fault_rules import FaultKind, Faults, Rule
from exchange_sim.web import Handler, HttpError, reply, too_many_requests

_HTML = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


def faults_of(faults: Faults) -> Middleware:
    """Wraps the whole exchange but the operator's own paths."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        rule = None if request.path.startswith(CONTROL_PREFIX) else faults.of_request(request)
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
