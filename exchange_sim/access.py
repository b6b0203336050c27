"""The door to private paths: a proven key, with the scope the method needs.

Public market data and the time need no key, the operator's paths have their own token, and a
WebSocket asks for one in its messages; every other path is closed, known or not. A key without the
view or trade scope is refused with the one text the official client recognises.
"""

import logging
from collections.abc import Callable, Collection, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from exchange_sim.auth import ApiKey, Refused, authenticate
from exchange_sim.web import Handler, HttpError

API_KEY: web.RequestKey[ApiKey] = web.RequestKey("api_key", ApiKey)

CONTROL_PREFIX = "/sim/v1/"
SOCKET_PATHS = ("/", "/ws/user")

Clocks = Callable[[], tuple[float, ...]]

log = logging.getLogger(__name__)


def private_paths(prefix: str, open_paths: Collection[str], keys: Mapping[str, ApiKey], clocks: Clocks) -> Middleware:
    """`open_paths` need no key, nor does what lies under the public market's path; by `clocks` tokens are judged."""
    open_prefixes = (f"{prefix}/market/", CONTROL_PREFIX)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in open_paths or path.startswith(open_prefixes) or _is_socket(request, path):
            return await handler(request)
        uri = f"{request.method} {request.headers.get('Host', '')}{path}"
        try:
            key = authenticate(keys, request.headers.get("Authorization"), uri, clocks())
        except Refused as refusal:
            log.info("401 %s: %s", uri, refusal)
            return web.Response(text="Unauthorized\n", status=401)
        permitted = key.can_view if request.method in ("GET", "HEAD") else key.can_trade
        if not permitted and path != f"{prefix}/key_permissions":
            raise HttpError(403, "PERMISSION_DENIED", "Missing required scopes")
        request[API_KEY] = key
        return await handler(request)

    return middleware


def _is_socket(request: web.Request, path: str) -> bool:
    return path in SOCKET_PATHS and request.headers.get("Upgrade", "").lower() == "websocket"
