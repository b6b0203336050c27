"""How every reply of the exchange leaves: compact JSON, the venue's error bodies, no redirects.

Handlers raise HttpError; the middleware here turns it and the market's own failures into replies.
Further middlewares (drop, delay, duplicate a reply) can be set around this one when the
application is built.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from exchange_sim.market import MarketUnavailable, UnsupportedGranularity
from exchange_sim.order_request import BadBody

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


class HttpError(Exception):
    """An answer other than 200, with the venue's error body."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": error, "error_details": message, "message": message}


def invalid_argument(message: str) -> HttpError:
    return HttpError(400, "INVALID_ARGUMENT", message)


def not_found(message: str) -> HttpError:
    return HttpError(404, "NOT_FOUND", message)


def too_many_requests() -> web.Response:
    """What was refused for its pace has done nothing."""
    return reply({"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}, 429)


def reply(body: Any, status: int = 200) -> web.Response:
    # The official client searches 403 bodies for text without a space after the colon.
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HttpError as error:
        return reply(error.body, error.status)
    except BadBody as error:
        return reply(HttpError(400, "unknown", str(error)).body, 400)
    except UnsupportedGranularity as error:
        return reply(invalid_argument(str(error)).body, 400)
    except MarketUnavailable as error:
        log.warning("market source unavailable: %s", error)
        return reply(HttpError(503, "UNAVAILABLE", "market data is not available").body, 503)
    except web.HTTPException as error:
        return reply(HttpError(error.status, error.reason.upper().replace(" ", "_"), error.reason).body, error.status)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return reply(HttpError(500, "INTERNAL", "internal error").body, 500)
