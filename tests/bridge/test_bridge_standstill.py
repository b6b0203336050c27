"""An operator's BUY while the market's candles stand still: refused, whatever the cause. A SELL never is."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from refusals import refused
from sqlalchemy import text

from schema.clocks import Clocks
from schema.streams import MARKET_DUE
from svc_bridge.settings import BridgeSettings
from svc_bridge.standstill import MarketProgress, standstill
from tests.bridge.asking import BUY, NOWHERE, recommendation
from tests.bridge.bridge_world import AS_OF, HOUR, World

MACHINE = datetime(2026, 1, 5, tzinfo=UTC)
LONGEST = timedelta(seconds=3720)


@pytest.mark.parametrize(
    ("due", "still", "longest", "words"),
    [
        (None, timedelta(0), LONGEST, ""),
        (AS_OF + HOUR, timedelta(0), None, "they should reach 2025-06-15T16:00"),
        # It has caught up with what was due when it stood still.
        (AS_OF, timedelta(0), LONGEST, ""),
        (None, LONGEST, LONGEST, ""),
        (None, 2 * LONGEST, LONGEST, "nothing has come for 7440 s"),
        # Simulated and replayed markets have a pace of their own.
        (None, 1000 * LONGEST, None, ""),
    ],
)
def test_what_a_standstill_is(due: datetime | None, still: timedelta, longest: timedelta | None, words: str) -> None:
    found = standstill(Clocks(MACHINE, AS_OF), MarketProgress(due, MACHINE - still), longest)
    assert words in found and bool(words) == bool(found)


def test_only_real_prices_come_at_the_machines_pace() -> None:
    longest = {venue: BridgeSettings(venue=venue).longest_standstill for venue in ("SIMULATED", "REPLAY", "PAPER")}
    assert longest == {"SIMULATED": None, "REPLAY": None, "PAPER": LONGEST}


async def ready(world: World) -> None:
    await world.list_product()
    await world.hold("ETH-USD", "2")
    await world.candle("ETH-USD", "2500.25")
    await world.watermark("market", AS_OF)


async def test_a_buy_is_refused_until_the_market_has_caught_up_and_a_sell_is_not(world: World) -> None:
    await ready(world)
    await world.watermark(MARKET_DUE, AS_OF + 2 * HOUR)
    asked = recommendation(BUY)
    async with world.bridge(signal_address=NOWHERE) as stub:
        error = await refused(stub.CreateRecommendation(asked))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STALE_DATA")
        assert "health_checks" in error.message and "selling goes on" in error.message
        assert (await stub.CreateRecommendation(recommendation())).record.state == 1
        await world.watermark("market", AS_OF + 2 * HOUR)
        assert (await stub.CreateRecommendation(asked)).record.state == 1


async def test_with_real_prices_a_watermark_that_does_not_move_is_enough(world: World) -> None:
    """The market service does not run, so nobody says what is due."""
    await ready(world)
    async with world.bridge(signal_address=NOWHERE, venue="PAPER") as stub:
        await stub.CreateRecommendation(recommendation(BUY))
        await world.run(text("UPDATE watermarks SET updated_at = now() - interval '63 minutes' WHERE stage = 'market'"))
        error = await refused(stub.CreateRecommendation(recommendation(BUY)))
        assert (error.reason, "nothing has come for" in error.message) == ("STALE_DATA", True)
        await stub.CreateRecommendation(recommendation())
