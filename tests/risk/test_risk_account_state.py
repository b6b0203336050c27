"""The risk engine over a real socket with a real database: equity, locks, and what an operator can look at."""

import asyncpg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import select, text

from schema import streams
from schema.risk import equity_snapshots, risk_locks
from svc_risk.account_state import read_hours
from svc_risk.parameters import Parameters
from svc_risk.volatility import measure
from tests.risk.risk_calls import codes
from tests.risk.risk_limits import explained
from tests.risk.risk_world import AS_OF, HOUR, D, World, running
from tradekit.states import Side
from trading.risk.v1 import risk_service_pb2 as pb

# ---- equity, locks ---------------------------------------------------------------------------------------------------


async def marks(world: World):
    return await world.run(select(equity_snapshots).order_by(equity_snapshots.c.as_of))


async def test_losses_trip_their_locks_with_no_request_at_all(world: World):
    """60 SOL of a 9,000 + 9,000 account fall by a quarter overnight: both breakers trip at the bar that shows it."""
    await world.hold("SOL-USD", "60", paid="1000")

    async def marked(count):
        return len(await marks(world)) >= count

    await world.until(lambda: marked(1))
    midnight = AS_OF + HOUR * 9
    await world.candles("SOL-USD", AS_OF + HOUR, [150.0] * 9)
    await world.market_at(midnight)
    await world.until(lambda: marked(10))
    await world.candles("SOL-USD", midnight + HOUR, [112.0])
    await world.market_at(midnight + HOUR)
    await world.until(lambda: marked(11))

    rows = await marks(world)
    assert [row.as_of for row in rows] == [AS_OF + HOUR * n for n in range(11)]  # the bars in between were caught up
    assert (rows[-1].equity, rows[-1].exposure) == (D(9000) + 60 * 112, D(60 * 112))
    assert rows[-1].drawdown == pytest.approx(60 * 38 / 18000)
    locks = {lock.code: lock for lock in await world.run(select(risk_locks))}
    assert set(locks) == {"DAILY_LOSS", "DRAWDOWN"}
    assert locks["DAILY_LOSS"].until_time == midnight + HOUR * 24
    assert locks["DRAWDOWN"].until_time is None

    await world.candles("ETH-USD", AS_OF + HOUR, [2500.0] * 10)
    await world.reconciled()
    entry = await world.ask(world.recommendation(as_of=midnight + HOUR))
    assert {"DAILY_LOSS", "DRAWDOWN"} <= set(codes(entry))
    assert (await world.ask(world.recommendation(Side.SELL, "60", "SOL-USD", as_of=midnight + HOUR))).decision == 1

    shown = await world.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=5)
    assert {lock.code for lock in shown.locks} == {"DAILY_LOSS", "DRAWDOWN"}
    assert D(shown.high_water_mark.value) == 18000
    assert shown.drawdown == pytest.approx(rows[-1].drawdown)

    answer = await world.switch("ACTIVE", release_locks=True, note="looked at it")
    assert answer.released_locks == 1  # the day's lock ends by itself
    shown = await world.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=5)
    assert ({lock.code for lock in shown.locks}, shown.drawdown) == ({"DAILY_LOSS"}, 0)
    assert D(shown.high_water_mark.value) == rows[-1].equity
    next_day = midnight + HOUR * 24
    await world.candles("SOL-USD", midnight + HOUR * 2, [112.0] * 23)
    await world.candles("ETH-USD", midnight + HOUR * 2, [2500.0] * 23)
    await world.market_at(next_day)
    await world.reconciled()
    assert not {"DAILY_LOSS", "DRAWDOWN"} & set(codes(await world.ask(world.recommendation(as_of=next_day))))


async def test_a_mark_wakes_who_waits_for_it_and_a_second_look_at_its_bar_nobody(world: World):
    """A replay takes the next bar when this one is marked; without a word it would find out at its next look."""
    await world.until(lambda: _count(world, 1))
    heard: list[str] = []
    url = world.engine.url
    listening = await asyncpg.connect(host=url.query["host"], database=url.database, user=url.username)
    try:
        await listening.add_listener(streams.EQUITY_SNAPSHOTS, lambda _c, _p, channel, _t: heard.append(channel))
        assert (await world.ask(world.recommendation())).decision == pb.DECISION_APPROVE
        await world.candles("ETH-USD", AS_OF + HOUR, [2500.0])
        await world.market_at(AS_OF + HOUR)
        await world.until(lambda: _count(world, 2))
        assert (await world.ask(world.recommendation(product="BTC-USD", as_of=AS_OF + HOUR))).decision
        await world.candles("ETH-USD", AS_OF + HOUR * 2, [2500.0])
        await world.market_at(AS_OF + HOUR * 2)

        async def told() -> bool:
            return len(heard) >= 2

        await world.until(told)
    finally:
        await listening.close()
    assert len(heard) == len(await marks(world)) - 1 == 2


async def test_a_mark_is_the_same_before_and_after_the_trades_of_its_bar(world: World):
    """What was decided at a bar's close is not in the mark of that close, whoever is faster."""
    await world.until(lambda: _count(world, 1))
    (before,) = await marks(world)
    await world.run(text("DELETE FROM equity_snapshots"))
    await world.hold("SOL-USD", "10", as_of=AS_OF, paid="1513.50")
    assert (await world.ask(world.recommendation(Side.SELL, "1", "SOL-USD"))).decision == pb.DECISION_APPROVE
    (after,) = await marks(world)
    assert after.equity == before.equity == D(10000)
    assert (after.cash, after.exposure) == (before.cash, D(0))


async def _count(world, count):
    return len(await marks(world)) == count


async def test_a_losing_exit_cools_the_product_down(world: World):
    order_id = await world.order("ETH-USD", "SELL", "FILLED", as_of=AS_OF - HOUR * 3, base="1", filled="1")
    await world.run(
        text("INSERT INTO fills VALUES ('f', :id, 't', 'ETH-USD', 'SELL', 1, 1, 0, 'TAKER', -5, :at, :at)"),
        {"id": order_id, "at": AS_OF - HOUR * 3},
    )
    found = await world.ask(world.recommendation())
    assert codes(found)[0] == "COOLDOWN_LOSS"
    shown = await world.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=5)
    (lock,) = shown.locks
    assert (lock.code, lock.scope, lock.until_time.seconds) == (
        "COOLDOWN_LOSS", "product:ETH-USD", int((AS_OF + HOUR).timestamp()),
    )  # fmt: skip
    assert (await world.ask(world.recommendation(product="BTC-USD"))).decision == pb.DECISION_APPROVE


async def test_finer_bars_are_folded_into_their_hours(database):
    """Quarter-hour bars give the hourly closes that the same market's hourly bars give."""
    parameters = Parameters()
    async with database.engine.begin() as connection:
        await connection.execute(
            text("""
                INSERT INTO crypto_prices (product_id, granularity, start, open, high, low, close, volume, source, sequence)
                SELECT 'ETH-USD', 900, CAST(:as_of AS timestamptz) - make_interval(mins => 15 * (n + 1)), p, p, p, p, 2,
                       'test', n + 1
                FROM (SELECT n, 100 + n % 7 AS p FROM generate_series(0, 1999) AS n WHERE n NOT IN (0, 40, 41, 42, 43)) AS b
            """),
            {"as_of": AS_OF},
        )
        found = (await read_hours(connection, ["ETH-USD"], 900, AS_OF, AS_OF, parameters))["ETH-USD"]
    assert [close.time for close in found[-2:]] == [AS_OF - HOUR, AS_OF - HOUR / 4]  # the newest bar is missing
    assert found[-1].close == 101  # n = 1
    assert found[-2].close == 104  # n = 4
    assert found[-1].quote_volume == 2 * (101 + 102 + 103)
    assert AS_OF - HOUR * 10 not in {close.time for close in found}  # an hour without a trade is not there
    measured = measure(found, AS_OF, parameters.vol_bars)
    assert measured.real_bars == 335


# ---- looking ---------------------------------------------------------------------------------------------------------


async def test_the_portfolio_adds_up(world: World):
    await world.hold("SOL-USD", "10", paid="1000")
    await world.order("BTC-USD", "BUY", "OPEN", quote="200")
    await world.ask(world.recommendation())
    shown = await world.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=5)
    assert D(shown.exposure.value) == D(1500 + 200 + 100)
    assert sum(D(p.exposure.value) for p in shown.positions) == D(shown.exposure.value)
    assert sum(p.heat for p in shown.positions) == pytest.approx(shown.heat)
    assert D(shown.equity.value) == D(9000 + 1500) - D(300) * D("0.009")
    assert (shown.held_reservations, shown.trading_state) == (1, pb.TRADING_STATE_ACTIVE)
    assert shown.as_of.seconds == int(AS_OF.timestamp())


async def test_the_limits_in_force_are_told(database, tmp_path):
    async with running(database, tmp_path, risk_max_order_notional=D("55.5")) as world:
        found = await world.stub.GetLimits(pb.GetLimitsRequest(), timeout=5)
        limits = {limit.code: limit for limit in found.limits}
        assert (limits["MAX_ORDER_NOTIONAL"].value, limits["MAX_ORDER_NOTIONAL"].kind) == ("55.5", "cap")
        assert found.parameters["sigma_target"] == "0.6"
        answer = await world.ask(world.recommendation())
        assert (answer.adjusted_size.value, answer.limits_version) == ("55.5", found.limits_version)
        assert set(codes(answer)) <= set(limits)


async def test_what_refusals_and_locks_tell_is_what_is_listed(database, tmp_path):
    async with running(database, tmp_path, risk_product_orders_per_minute=1) as world:
        await world.order("BTC-USD", "BUY", "OPEN", AS_OF, quote="50")
        await world.ask(world.recommendation())
        answers = [
            await world.ask(world.recommendation(reference_price=D(2700))),
            await world.ask(world.recommendation(product="SOL-USD", size="400")),
        ]
        rows = (await world.stub.GetLimits(pb.GetLimitsRequest(), timeout=5)).limits
        locks = (await world.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=5)).locks
    told = [(reason, answer.sigma_14d) for answer in answers for reason in answer.reasons]
    told += [(lock.reason, 0.0) for lock in locks]
    assert locks
    assert {"PRICE_COLLAR", "COOLDOWN_ENTRY", "ORDER_RATE", "MAX_ORDER_NOTIONAL"} <= {reason.code for reason, _ in told}
    for reason, sigma in told:
        assert len(explained(reason, rows, {"sigma_14d": sigma})) == 1, reason
    # A code has a row for each of its rules.
    rates = [(row.value, row.scope, row.kind, row.on_sell) for row in rows if row.code == "ORDER_RATE"]
    assert rates == [("10", "account", "reject", "flag"), ("1", "product", "reject", "flag")]
    assert all(row.words for row in rows)
    assert [(row.value, row.unit) for row in rows if row.code == "STALE_DATA"] == [("7200", "seconds"), ("0", "count")]


async def test_health_tells_entries_apart(world: World):
    health = health_pb2_grpc.HealthStub(world.channel)

    async def serving(name):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    await world.until(lambda: serving("trading.risk.v1.RiskService/entries"))
    await world.run(text("DELETE FROM watermarks"))

    async def entries_closed():
        return not await serving("trading.risk.v1.RiskService/entries")

    await world.until(entries_closed)
    assert await serving("trading.risk.v1.RiskService")
