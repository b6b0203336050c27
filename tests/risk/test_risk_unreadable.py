"""Rows that no check of the table should have let through: only what needs them is held back, with the reason."""

import math

import grpc
import pytest
from sqlalchemy import select, text

from schema.risk import equity_snapshots, risk_assessments, risk_locks
from svc_risk.exposure import can_be_a_mark
from svc_risk.volatility import HourClose, measure, sigma
from tests.risk.risk_calls import codes, refused
from tests.risk.risk_world import AS_OF, HOUR, D, World
from tradekit.states import Side
from trading.risk.v1 import risk_service_pb2 as pb

# No number; a price that a column holds and that is no sum of money once it is multiplied by what is held.
UNREADABLE = ("NaN", "99999999999999999999")


async def spoil(world: World, product: str, close: str, hours_ago: int = 0) -> None:
    """Overwrites a stored candle past the checks of its table."""
    for name in ("prices", "numbers"):
        await world.run(text(f"ALTER TABLE crypto_prices DROP CONSTRAINT IF EXISTS ck_crypto_prices_{name}"))
    given = {"product": product, "close": D(close), "start": AS_OF - HOUR * (hours_ago + 1)}
    changed = await world.run(
        text("UPDATE crypto_prices SET close = :close WHERE product_id = :product AND start = :start RETURNING start"),
        given,
    )
    assert len(changed) == 1


async def shown(world: World) -> pb.GetPortfolioRiskResponse:
    answer: pb.GetPortfolioRiskResponse = await world.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=5)
    return answer


@pytest.mark.parametrize("close", UNREADABLE)
async def test_a_mark_that_cannot_be_read_holds_back_entries_while_it_is_held_and_no_exit(
    world: World, close: str
) -> None:
    async def marked() -> bool:
        return bool(await world.run(select(equity_snapshots)))

    # Before anything is held: a mark made while a position is being booked would see a part of it.
    await world.until(marked)
    await world.hold("SOL-USD", "100", paid="1000")
    await world.hold("ETH-USD", "1", paid="1000")
    before = await world.run(select(equity_snapshots))
    bar = AS_OF + HOUR
    for product, price in (("SOL-USD", 150.0), ("ETH-USD", 2500.0), ("BTC-USD", 100000.0)):
        await world.candles(product, bar, [price])
    await spoil(world, "SOL-USD", close, hours_ago=-1)
    await world.market_at(bar)
    for product in ("BTC-USD", "SOL-USD"):
        error = await refused(world.ask(world.recommendation(product=product, as_of=bar)))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STALE_DATA")
        assert "product:SOL-USD, no price that can be read" in error.message
    for product, size in (("ETH-USD", "1"), ("SOL-USD", "100")):
        exit_of = await world.ask(world.recommendation(Side.SELL, size, product, as_of=bar))
        assert (exit_of.decision, exit_of.adjusted_size.value) == (pb.DECISION_APPROVE, size)
        assert "STALE_DATA" in codes(exit_of)
    looked = await shown(world)
    assert {position.product_id for position in looked.positions} == {"ETH-USD", "SOL-USD"}
    # A position without a price is no loss: nothing is marked, and no breaker trips.
    assert await world.run(select(equity_snapshots)) == before
    assert await world.run(select(risk_locks)) == []
    # The next bar is a price again, and everything goes on, the bar between without a mark.
    for product, price in (("SOL-USD", 150.0), ("ETH-USD", 2500.0), ("BTC-USD", 100000.0)):
        await world.candles(product, bar + HOUR, [price])
    await world.market_at(bar + HOUR)
    await world.reconciled()
    await world.expire()
    rows = []

    async def marked_again() -> bool:
        nonlocal rows
        rows = await world.run(select(equity_snapshots).order_by(equity_snapshots.c.as_of))
        return len(rows) == len(before) + 1

    await world.until(marked_again)
    assert (rows[-1].as_of, rows[-1].equity) == (bar + HOUR, D(8000 + 100 * 150 + 2500))
    assert await world.run(select(risk_locks)) == []
    again = await world.ask(world.recommendation(product="BTC-USD", as_of=bar + HOUR))
    assert not {"STALE_DATA", "INTERNAL", "DRAWDOWN", "DAILY_LOSS"} & set(codes(again))


async def test_a_product_that_is_not_held_holds_back_nobody_but_itself(world: World) -> None:
    await spoil(world, "SOL-USD", "NaN")
    error = await refused(world.ask(world.recommendation(product="SOL-USD")))
    assert error.reason == "STALE_DATA" and "no price that can be read" in error.message
    assert (await world.ask(world.recommendation())).decision == pb.DECISION_APPROVE
    assert len(await world.run(select(risk_assessments))) == 1


async def test_an_hour_that_cannot_be_read_is_no_history_of_its_product(world: World) -> None:
    """The newest price is good, so equity is known; what is held counts at the reference volatility."""
    # Before it is held: what is held is read, and kept, at any moment.
    await spoil(world, "SOL-USD", "NaN", hours_ago=40)
    await world.hold("SOL-USD", "10", paid="1000")
    entry = await world.ask(world.recommendation(product="SOL-USD"))
    assert entry.decision == pb.DECISION_REJECT and "INSUFFICIENT_HISTORY" in codes(entry)
    assert "INTERNAL" not in codes(entry)
    assert (await world.ask(world.recommendation())).decision == pb.DECISION_APPROVE
    looked = await shown(world)
    assert math.isfinite(looked.heat) and looked.heat > 0


@pytest.mark.parametrize(
    ("close", "turnover"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, 1.0), (-1.0, 1.0), (1.0, math.nan), (1.0, -1.0)]
)
def test_unreadable_hours_say_nothing_and_older_ones_do_no_harm(close: float, turnover: float) -> None:
    good = [HourClose(AS_OF - HOUR * back, 100.0 + back % 3, 5.0) for back in range(400, -1, -1)]
    bad = HourClose(AS_OF - HOUR * 10, close, turnover)
    inside = [bad if each.time == bad.time else each for each in good]
    found = measure(inside, AS_OF, 336)
    assert (found.sigma_14d, found.sigma_24h, found.real_bars, found.median_quote_volume) == (None, None, 0, D("0.00"))
    assert sigma(inside, AS_OF - HOUR * 20, 336) == sigma(good, AS_OF - HOUR * 20, 336)
    older = [HourClose(each.time, close, turnover) if each.time < AS_OF - HOUR * 350 else each for each in good]
    assert measure(older, AS_OF, 336) == measure(good, AS_OF, 336)


def test_a_mark_is_a_price_above_zero_at_which_the_holding_is_a_sum_of_money() -> None:
    for price in ("NaN", "Infinity", "-Infinity", "0", "-1"):
        assert not can_be_a_mark(D(price), D(1))
    assert can_be_a_mark(D("1e-18"), D("1e19"))
    assert can_be_a_mark(D("99999999999999999999"), D("0.001"))
    assert not can_be_a_mark(D("99999999999999999999"), D(1))
