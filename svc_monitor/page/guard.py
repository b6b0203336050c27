"""What stands between a browser and the page: callers, what a page may load, and the form of errors.

A page of another site must neither read the ledger (a host name that resolves to this machine) nor press a button (a
forged form), so the host name is checked on every request and the origin on every change.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from aiohttp import web

from meshkit.hosts import is_loopback
from meshkit.identity import AUTHORIZATION, Caller, IdentitySource
from meshkit.interceptors.identity import admit
from meshkit.policy import policies
from meshkit.translate import translate
from svc_monitor.page.encode import dumps

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC = Path(__file__).with_name("static")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer carries the rules of what a browser may do with it."""
    response.headers.update(_HEADERS)


def only_own_host(bind: str) -> Any:
    """On a loopback address only a loopback host name is answered."""
    local = is_loopback(bind)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = urlsplit(f"//{request.host}").hostname or ""
        if local and not is_loopback(name):
            raise web.HTTPMisdirectedRequest(text="This page answers on this machine's own names only.")
        return await handler(request)

    return check


def tell_errors(log: Any) -> Any:
    """An error of the mesh becomes an HTTP status with its reason; a defect stays in the log under its id."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:
            found = translate(error, log, path=request.path)
            body = dumps({"reason": found.reason, "message": found.message})
            status = _HTTP_STATUS.get(found.code, 500)
            return web.Response(text=body, status=status, content_type="application/json")

    return check


def require_caller(request: web.Request, source: IdentitySource, method: str) -> Caller:
    """Who asks for what an RPC does: the page is no way round the RPC's policy. Unauthenticated, PermissionDenied."""
    given = request.headers.getall(AUTHORIZATION, [])
    metadata = {AUTHORIZATION: given[0]} if len(given) == 1 else {}
    return admit(source, policies(method.split("/")[1]), method, metadata)


def refuse_foreign(request: web.Request) -> None:
    """A change must come from this page itself, or from a program that is no browser."""
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.host
    # A form of another site cannot send this type without being asked for leave first.
    if foreign or site != "same-origin" or request.content_type != "application/json":
        raise web.HTTPForbidden(text="Only this page itself may do that.")
