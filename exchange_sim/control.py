"""The operator's side of the simulator: what it is, and where its clock goes.

It is no part of the venue: another path, another token, refused altogether when no token is set.
"""

import math
from hmac import compare_digest

from aiohttp import web

from exchange_sim.access import CONTROL_PREFIX
from exchange_sim.exchange import CannotMove, Exchange
from exchange_sim.order_request import read_object
from exchange_sim.pacer import Pacer
from exchange_sim.times import iso, parse_iso
from exchange_sim.web import Handler, HttpError, invalid_argument, reply

_FASTEST = 1_000_000


class ControlRoutes:
    def __init__(self, exchange: Exchange, pacer: Pacer, token: str, market: str) -> None:
        self._exchange = exchange
        self._pacer = pacer
        self._token = token.encode()
        self._market = market

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{CONTROL_PREFIX}status", self._guarded(self.status)),
            web.post(f"{CONTROL_PREFIX}advance", self._guarded(self.advance)),
            web.post(f"{CONTROL_PREFIX}speed", self._guarded(self.speed)),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").encode()
            if not self._token or not compare_digest(given, b"Bearer " + self._token):
                raise HttpError(401, "UNAUTHENTICATED", "control token is missing or wrong")
            return await handler(request)

        return guarded

    async def status(self, _: web.Request) -> web.StreamResponse:
        return reply(self._status())

    async def advance(self, request: web.Request) -> web.StreamResponse:
        to = read_object(await request.read()).get("to")
        try:
            to_us = parse_iso(to if isinstance(to, str) else "")
        except (ValueError, OverflowError) as error:
            raise invalid_argument("to must be an RFC 3339 time") from error
        try:
            await self._pacer.advance(to_us)
        except CannotMove as error:
            raise HttpError(409, "FAILED_PRECONDITION", str(error)) from error
        return reply(self._status())

    async def speed(self, request: web.Request) -> web.StreamResponse:
        speed = read_object(await request.read()).get("speed")
        if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not math.isfinite(speed):
            raise invalid_argument("speed must be a number")
        if not 0 <= speed <= _FASTEST:
            raise invalid_argument(f"speed must be 0 to {_FASTEST}")
        try:
            self._pacer.set_speed(float(speed))
        except CannotMove as error:
            raise HttpError(409, "FAILED_PRECONDITION", str(error)) from error
        return reply(self._status())

    def _status(self) -> dict[str, object]:
        market = self._exchange.market
        first, last = market.first_bar_us, market.last_bar_us
        return {
            "market": self._market,
            "label": market.label,
            "now": iso(self._exchange.now_us),
            "speed": self._pacer.speed,
            "products": [product.product_id for product in market.products()],
            "first_bar": None if first is None else iso(first),
            "last_bar": None if last is None else iso(last),
        }
