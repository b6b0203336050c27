"""Puts the service together: exchange, feed, poller, servicer and health."""

import random

from exchange_client import MarketData, open_exchange
from meshkit.background import after
from meshkit.errors import Unavailable
from meshkit.kit import Kit
from meshkit.spec import Check, Registration, ServiceSpec, Task
from schema.presence import schema_check
from schema.streams import read_watermark
from svc_market.candle_poller import CandlePoller
from svc_market.feed import STAGE, Feed
from svc_market.lateness import LATE_SECONDS, Lateness
from svc_market.service import MarketServicer
from svc_market.settings import MarketSettings
from tradekit import services
from trading.market.v1 import market_service_pb2_grpc as rpc

ANSWER_SECONDS = 30.0


async def build(settings: MarketSettings, kit: Kit[MarketSettings]) -> ServiceSpec:
    return assemble(settings, kit, await open_exchange(settings.exchange_config()))


def assemble(
    settings: MarketSettings, kit: Kit[MarketSettings], exchange: MarketData, late_seconds: float = LATE_SECONDS
) -> ServiceSpec:
    """The service over any exchange; it closes it at its end."""
    feed = Feed(exchange, kit.engine, settings, kit.clock, kit.metrics)
    lateness = Lateness(settings.granularity_seconds, late_seconds)
    poller = CandlePoller(feed, lateness, kit.log, random.Random())

    async def database() -> None:
        await kit.check_database()

    async def exchange_answers() -> None:
        if feed.last_answer is None or kit.clock.monotonic() - feed.last_answer > ANSWER_SECONDS:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", f"no answer of the exchange for {ANSWER_SECONDS:g} s")

    async def watermark() -> None:
        async with kit.autocommit.connect() as connection:
            if await read_watermark(connection, STAGE) is None:
                raise Unavailable("STALE_DATA", "no bar is complete yet")

    async def candles() -> None:
        seconds = lateness.late_for(kit.clock.monotonic())
        if seconds is not None:
            raise Unavailable("STALE_DATA", what_is_missing(lateness, seconds, feed))

    schema = schema_check(kit)
    return ServiceSpec(
        servicers=[
            Registration(rpc.add_MarketServiceServicer_to_server, MarketServicer(kit, feed), services.MARKET.full_name)
        ],
        background=after(schema, [Task("poll-candles", poller.run)], kit),
        ready=[Check("database", database), schema],
        entries=[Check("exchange", exchange_answers), Check("watermark", watermark), Check("candles", candles)],
        on_stop=exchange.close,
    )


def what_is_missing(lateness: Lateness, seconds: float, feed: Feed) -> str:
    """How far candles are behind, for how long, and of which products the exchange gives none."""
    failures = feed.failures()
    if failures:
        why = f". None come of {', '.join(failures)}: {next(iter(failures.values())).message}"
    elif not feed.followed:
        why = f". The exchange lists none of {', '.join(feed.settings.followed_products)}"
    else:
        why = ""
    return (
        f"candles end at {lateness.watermark}, {lateness.bars_behind} bars before the newest that has closed, for "
        f"{seconds:.0f} s{why}"
    )
