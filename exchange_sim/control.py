"""The operator's side of the simulator: what it is, where its clock goes, what is paid in and out, what it charges,
and what goes wrong.

It is no part of the venue: another path, another token, refused altogether when no token is set.
"""

import math
import re
from decimal import Decimal
from hmac import compare_digest

from aiohttp import web

from exchange_sim.access import CONTROL_PREFIX
from exchange_sim.exchange import CannotMove, Exchange
from exchange_sim.fault_rules import Faults
from exchange_sim.numbers import ZERO, parse_number, plain
from exchange_sim.order_checks import Fees
from exchange_sim.order_request import read_object
from exchange_sim.pacer import Pacer
from exchange_sim.times import iso, parse_iso
from exchange_sim.web import Handler, HttpError, invalid_argument, reply

_FASTEST = 1_000_000
_CURRENCY = re.compile(r"[A-Z0-9]{1,12}")


class ControlRoutes:
    def __init__(self, exchange: Exchange, pacer: Pacer, faults: Faults, token: str, market: str) -> None:
        self._exchange = exchange
        self._faults = faults
        self._pacer = pacer
        self._token = token.encode()
        self._market = market

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{CONTROL_PREFIX}status", self._guarded(self.status)),
            web.post(f"{CONTROL_PREFIX}advance", self._guarded(self.advance)),
            web.post(f"{CONTROL_PREFIX}speed", self._guarded(self.speed)),
            web.post(f"{CONTROL_PREFIX}transfer", self._guarded(self.transfer)),
            web.post(f"{CONTROL_PREFIX}fees", self._guarded(self.fees)),
            web.get(f"{CONTROL_PREFIX}habits", self._guarded(self.habits)),
            web.post(f"{CONTROL_PREFIX}habits", self._guarded(self.set_habits)),
            web.get(f"{CONTROL_PREFIX}faults", self._guarded(self.faults)),
            web.post(f"{CONTROL_PREFIX}faults", self._guarded(self.add_fault)),
            web.delete(f"{CONTROL_PREFIX}faults", self._guarded(self.clear_faults)),
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

    async def transfer(self, request: web.Request) -> web.StreamResponse:
        """Money or coins that come in from outside or, below zero, go out; only what is not on hold can go."""
        body = read_object(await request.read())
        currency, amount = body.get("currency"), _signed(body.get("amount"))
        if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
            raise invalid_argument("currency must be a code such as USD")
        known = sorted({one for product in self._exchange.market.products() for one in (product.base, product.quote)})
        if currency not in known:
            raise invalid_argument(f"no product here has {currency}: currency must be one of {', '.join(known)}")
        if amount is None:
            raise invalid_argument("amount must be a decimal as text, not 0, such as 25 or -0.5")
        try:
            balance = self._exchange.transfer(currency, amount)
        except CannotMove as error:
            raise HttpError(409, "FAILED_PRECONDITION", str(error)) from error
        return reply({"currency": currency, "available": plain(balance.available), "hold": plain(balance.hold)})

    async def fees(self, request: web.Request) -> web.StreamResponse:
        """Another fee tier, from the next fill on; a restart goes back to the settings."""
        body = read_object(await request.read())
        taker, maker = _signed(body.get("taker"), least=ZERO), _signed(body.get("maker"), least=ZERO)
        if taker is None or maker is None or max(taker, maker) >= 1:
            raise invalid_argument("taker and maker must be decimals as text, 0 or more and below 1")
        self._exchange.fees = Fees(taker, maker)
        return reply({"taker": plain(taker), "maker": plain(maker)})

    async def habits(self, _: web.Request) -> web.StreamResponse:
        return reply(self._exchange.habits.as_json())

    async def set_habits(self, request: web.Request) -> web.StreamResponse:
        """How late it shows, settles and cancels, how wrong its clock is, and how much of an order it fills at once."""
        try:
            self._exchange.habits.change(read_object(await request.read()))
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        return reply(self._exchange.habits.as_json())

    async def faults(self, _: web.Request) -> web.StreamResponse:
        """The rules in force, and what requests and messages met of them."""
        return reply(self._faults.as_json())

    async def add_fault(self, request: web.Request) -> web.StreamResponse:
        self._faults.add(read_object(await request.read()))
        return reply(self._faults.as_json())

    async def clear_faults(self, _: web.Request) -> web.StreamResponse:
        self._faults.clear()
        return reply(self._faults.as_json())

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


def _signed(value: object, least: Decimal | None = None) -> Decimal | None:
    """The number in a text that may begin with a minus; None for anything else, below `least`, or for 0 without one."""
    number = parse_number(value.removeprefix("-")) if isinstance(value, str) else None
    if number is None or not isinstance(value, str):
        return None
    signed = -number if value.startswith("-") else number
    if least is None:
        return signed or None
    return signed if signed >= least else None
