"""The whole exchange as one web application, put together from parts that are handed in."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware

from exchange_sim.access import SOCKET_PATHS, private_paths
from exchange_sim.account_routes import AccountRoutes
from exchange_sim.auth import ApiKey
from exchange_sim.control import ControlRoutes
from exchange_sim.exchange import Exchange
from exchange_sim.fault_plan import follow
from exchange_sim.fault_rules import Faults
from exchange_sim.http_faults import faults_of
from exchange_sim.market_routes import MarketRoutes
from exchange_sim.older_routes import OPEN_PATHS, OlderRoutes
from exchange_sim.pacer import Pacer
from exchange_sim.settings import Settings
from exchange_sim.socket import Sockets
from exchange_sim.throttle import throttle
from exchange_sim.times import SECOND_US
from exchange_sim.web import errors

PREFIX = "/api/v3/brokerage"
_LARGEST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    exchange: Exchange
    pacer: Pacer
    keys: Mapping[str, ApiKey]


def build_app(parts: Parts, around: Sequence[Middleware] = ()) -> web.Application:
    """Faults wrap everything else: they drop, delay or replace what the exchange answers; `around` wraps them too."""
    exchange, settings = parts.exchange, parts.settings
    wall_clock = exchange.wall_clock

    def clocks() -> tuple[float, ...]:
        skew = exchange.habits.clock_skew_seconds
        return exchange.now_us / SECOND_US + skew, wall_clock() + skew

    faults = Faults()
    open_paths = (f"{PREFIX}/time", *OPEN_PATHS)
    app = web.Application(
        middlewares=[
            *around,
            faults_of(faults),
            errors,
            private_paths(PREFIX, open_paths, parts.keys, clocks),
            throttle(settings.private_rate, settings.public_rate, time.monotonic),
        ],
        client_max_size=_LARGEST_BODY,
    )
    market = MarketRoutes(exchange)
    exchange.habits.settle_seconds = settings.settle_delay_seconds
    if settings.plan_file is not None:
        follow(settings.plan_file, faults, exchange.habits)
    account = AccountRoutes(exchange, wall_clock)
    control = ControlRoutes(exchange, parts.pacer, faults, settings.control_token.get_secret_value(), settings.market)
    app.add_routes([*market.public(PREFIX), *market.authenticated(PREFIX), *account.routes(PREFIX)])
    app.add_routes([*OlderRoutes(exchange).routes(), *control.routes()])
    sockets = Sockets(exchange, parts.keys, clocks, faults)
    exchange.state.on_orders = sockets.orders_changed
    app.add_routes([web.get(path, sockets.serve, allow_head=False) for path in SOCKET_PATHS])
    app.on_shutdown.append(sockets.close)
    return app
