"""A market whose exchange tells its time and no candles: when it is late, what its health says, what others find."""

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from exchange_client import ExchangeUnavailable, RawCandle
from schema.streams import MARKET_DUE
from svc_market.build import assemble
from svc_market.lateness import Lateness
from tests.market.conftest import FakeExchange, running
from tests.market.following import until_mark
from tests.market.market_calls import table

NOW = datetime(2025, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENTRIES = "trading.market.v1.MarketService/entries"


def looks(*polls: tuple[float, int, int | None]) -> list[bool]:
    """Whether it is late at each poll, 60 s allowed: machine seconds, newest close and watermark in hours."""
    lateness, late = Lateness(3600, 60.0), []
    for monotonic, close, mark in polls:
        lateness.observe(monotonic, NOW + close * HOUR, None if mark is None else NOW + mark * HOUR)
        late.append(lateness.late_for(monotonic) is not None)
    return late


@pytest.mark.parametrize(
    ("polls", "late"),
    [
        # One bar behind is late after a minute, and not before; with it the watermark is well again.
        ([(0, 0, 0), (10, 1, 0), (69, 1, 0), (70, 1, 0), (71, 1, 1)], [False, False, False, True, False]),
        # Bars of a second: behind at every look, and the watermark moves.
        ([(0, 0, 0), *((n, 3 * n, 3 * n - 2) for n in range(1, 200))], [False] * 200),
        # Bars of a second, and the watermark stands still.
        ([(0, 0, 0), (1, 1, 0), (30, 30, 0), (61, 61, 0)], [False, False, False, True]),
        # A first start fetches its history for as long as it takes: there is no watermark, which is another check's matter.
        ([(0, 0, None), (500, 1, None), (501, 1, 1)], [False, False, False]),
        # A start after a break is late until it has caught up; after a bar it has its minute.
        ([(0, 30, 0), (1, 30, 30)], [True, False]),
        ([(0, 1, 0), (1, 1, 1)], [False, False]),
        # A market started over runs before its watermark.
        ([(0, 0, 5), (500, 0, 5)], [False, False]),
    ],
)
def test_it_is_late_by_bars_of_the_exchange_and_seconds_of_the_machine(polls, late) -> None:
    assert looks(*polls) == late


def test_time_alone_makes_it_late_while_a_poll_hangs() -> None:
    lateness = Lateness(3600, 60.0)
    lateness.observe(0.0, NOW, NOW)
    lateness.observe(1.0, NOW + HOUR, NOW)
    assert (lateness.late_for(60.9), lateness.late_for(61.5)) == (None, 60.5)


class Partial(FakeExchange):
    """Tells its time always, and the candles of products that are not mute."""

    mute: frozenset[str] = frozenset()

    async def candles(self, product_id: str, granularity: int, start: datetime, end: datetime) -> tuple[RawCandle, ...]:
        if product_id in self.mute:
            raise ExchangeUnavailable(f"/market/products/{product_id}/candles", "status 503")
        return await super().candles(product_id, granularity, start, end)


async def test_a_product_without_candles_closes_entries_by_name_until_they_come(database):
    exchange = Partial(NOW, ["BTC-USD", "ETH-USD"])
    exchange.fill(NOW - 30 * HOUR, NOW + 30 * HOUR)

    def build(settings, kit):
        return assemble(settings, kit, exchange, late_seconds=0.3)

    async with running(database, build, products="ETH-USD", market_history_bars=20) as market:
        await until_mark(database, NOW)
        async with (
            asyncio.timeout(60),
            grpc.aio.insecure_channel(f"127.0.0.1:{market.service.port}") as channel,
        ):
            call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=ENTRIES))
            while (await call.read()).status != health_pb2.HealthCheckResponse.SERVING:
                pass
            with capture_logs() as logs:
                exchange.mute, exchange.now = frozenset({"ETH-USD"}), NOW + HOUR
                assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            marks = {row.stage: row.as_of for row in await table(database, "watermarks")}
            assert (marks["market"], marks[MARKET_DUE]) == (NOW, NOW + HOUR)
            [words] = {one["failing"]["candles"].split(". ")[1] for one in logs if "candles" in one.get("failing", ())}
            assert words.startswith("None come of ETH-USD: ") and "503" in words and "BTC-USD" not in words
            exchange.mute = frozenset()
            await until_mark(database, NOW + HOUR)
            assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
            call.cancel()
