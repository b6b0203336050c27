"""The risk engine over a real socket with a real database: answers, reservations, switch, locks, bad input."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace

import grpc
import jwt
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import select, text, update

from meshkit.errors import MeshError, Misconfigured, from_rpc_error
from schema.market import products
from schema.risk import equity_snapshots, risk_locks
from schema.tables import metadata
from svc_risk.assess import assess
from svc_risk.books import read_hours
from svc_risk.parameters import Parameters
from svc_risk.snapshot import inputs_from_json
from svc_risk.ticket import load_signer
from svc_risk.volatility import measure
from tests.risk.risk_world import AS_OF, HOUR, D, World, running, write_key
from tradekit import wire
from tradekit.ids import new_request_id
from tradekit.recommendation import Recommendation
from tradekit.states import LifeClock, Origin, Side
from trading.common.v1 import decimal_pb2
from trading.risk.v1 import risk_service_pb2 as pb


@pytest.fixture
async def world(database, tmp_path):
    async with running(database, tmp_path) as made:
        yield made


def codes(assessment):
    return [reason.code for reason in assessment.reasons]


async def refused(call) -> MeshError:
    with pytest.raises(MeshError) as found:
        await call
    return found.value


# ---- an answer, its ticket, its repetition ---------------------------------------------------------------------------


async def test_an_approval_reserves_and_carries_a_ticket_that_only_its_key_verifies(world: World):
    idea = world.idea()
    found = await world.ask(idea)
    assert (found.decision, found.adjusted_size.value, found.attempt) == (pb.DECISION_APPROVE, "100", 1)
    assert found.sigma_14d == pytest.approx(0.50, rel=1e-5)
    claims = jwt.decode(found.ticket, world.key, algorithms=["EdDSA"], audience="executor", issuer="risk")
    assert claims["sub"] == str(idea.recommendation_id)
    assert claims["jti"] == found.reservation_id == found.assessment_id
    assert (claims["product"], claims["side"], claims["max_size"]) == ("ETH-USD", "BUY", "100")
    assert (claims["attempt"], claims["limits_version"]) == (1, found.limits_version)
    assert claims["exp"] == found.reservation_expire_time.seconds
    assert 59 <= claims["exp"] - claims["iat"] <= 60
    assert jwt.get_unverified_header(found.ticket)["kid"]
    (held,) = await world.reservations()
    assert (held.state, held.quote_amount, held.fee_amount) == ("HELD", D(100), D("0.9"))

    head, body, signature = found.ticket.split(".")
    larger = jwt.utils.base64url_encode(json.dumps(claims | {"max_size": "1000"}).encode()).decode()
    for forged in (f"{head}.{larger}.{signature}", f"{head}.{body}.{signature[:-4]}AAAA"):
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(forged, world.key, algorithms=["EdDSA"], audience="executor")
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(found.ticket, world.key, algorithms=["EdDSA"], audience="orchestrator")


async def test_a_repetition_gets_the_stored_answer_and_reserves_nothing_more(world: World):
    idea, request_id = world.idea(), new_request_id()
    first = await world.ask(idea, request_id)
    assert await world.ask(idea, request_id) == first
    assert await world.ask(replace(idea, size=D("100.00"))) == first  # another request_id, the same content
    assert await world.commit(first.reservation_id) == "OK"
    await world.expire()
    assert await world.ask(idea) == first
    assert (len(await world.assessments()), len(await world.reservations())) == (1, 1)


async def test_another_body_under_the_same_id_is_refused(world: World):
    idea, request_id = world.idea(), new_request_id()
    await world.ask(idea, request_id)
    same_recommendation = await refused(world.ask(replace(idea, size=D(101))))
    same_request = await refused(world.ask(world.idea(), request_id))
    assert same_recommendation.reason == same_request.reason == "REQUEST_ID_REUSED"
    assert same_request.code is grpc.StatusCode.ALREADY_EXISTS
    assert len(await world.assessments()) == 1


async def test_an_expired_reservation_leads_to_a_second_attempt_and_both_are_kept(world: World):
    idea = world.idea()
    first = await world.ask(idea)
    await world.expire()
    assert await world.commit(first.reservation_id) == "RESERVATION_LOST"
    second = await world.ask(idea)
    assert (second.attempt, second.decision) == (2, pb.DECISION_APPROVE)
    assert second.reservation_id != first.reservation_id
    assert second.ticket != first.ticket
    assert sorted(row.state for row in await world.reservations()) == ["EXPIRED", "HELD"]
    assert await world.commit(second.reservation_id) == "OK"
    assert await world.commit(second.reservation_id) == "RESERVATION_LOST"  # once only


async def test_a_rejection_is_final_and_has_no_ticket(world: World):
    idea = world.idea(size="5")
    first = await world.ask(idea)
    assert (first.decision, codes(first), first.ticket, first.reservation_id) == (
        pb.DECISION_REJECT, ["MIN_NOTIONAL"], "", "",
    )  # fmt: skip
    assert not first.HasField("reservation_expire_time")
    assert await world.ask(idea) == first
    assert await world.reservations() == []


async def test_a_stored_decision_can_be_made_again(world: World):
    await world.hold("BTC-USD", "0.01", paid="1000")
    await world.ask(world.idea())
    await world.ask(world.idea(size="5"))
    parameters = world.service.kit.settings.parameters
    for row in await world.assessments():
        inputs = inputs_from_json(row.snapshot)
        again = assess(inputs.request, inputs.snapshot, parameters)
        assert (again.decision.value, again.adjusted_size, again.score) == (row.decision, row.adjusted_size, row.score)
        assert [reason.as_dict() for reason in again.reasons] == row.reasons


# ---- headroom under concurrency --------------------------------------------------------------------------------------


async def test_fifty_requests_at_once_never_pass_a_cap(database, tmp_path):
    """1,000 USD: 80 % gross exposure, 20 % per product, 5 % cash; three products allow 600 in total."""
    loose = {"risk_orders_per_minute": 100, "risk_product_orders_per_minute": 100, "risk_cooldown_entry_minutes": 0}
    async with running(database, tmp_path, cash="1000", **loose) as world:
        async with asyncio.TaskGroup() as group:
            ideas = [world.idea(product=("BTC-USD", "ETH-USD", "SOL-USD")[n % 3], size="70") for n in range(50)]
            tasks = [group.create_task(_until_answered(world, idea)) for idea in ideas]
        answers = [task.result() for task in tasks]
        held = await world.reservations()
        total = sum(row.quote_amount for row in held)
        by_product = {
            name: sum(r.quote_amount for r in held if r.product_id == name) for name in {r.product_id for r in held}
        }
        fees = sum(row.fee_amount for row in held)
        equity = D(1000) - fees
        assert all(amount <= D("0.2") * D(1000) for amount in by_product.values())
        assert total <= D("0.8") * D(1000)
        assert D(1000) - total - fees >= D("0.05") * equity
        granted = sum(D(answer.adjusted_size.value) for answer in answers)
        assert granted == total  # the decision log and the reservations are one
        assert total > D(500)
        assert {answer.decision for answer in answers} == {1, 2, 3}
        log = sorted(await world.assessments(), key=lambda row: row.snapshot["snapshot"]["version"])
        assert [row.snapshot["snapshot"]["version"] for row in log] == list(range(50))  # a serial order
        exposure = D(0)
        for row in log:
            assert row.exposure_before == exposure
            exposure = row.exposure_after


async def _until_answered(world, idea):
    while True:
        try:
            return await world.ask(idea)
        except MeshError as error:
            assert error.reason == "TOO_MANY_IN_FLIGHT"
            await asyncio.sleep(0.02)


async def test_order_tokens_run_out_in_market_time(world: World):
    await world.hold("SOL-USD", "1")
    for _ in range(2):
        assert (await world.ask(world.idea(Side.SELL, "0.1", "SOL-USD"))).decision == pb.DECISION_APPROVE
    flagged = await world.ask(world.idea(Side.SELL, "0.1", "SOL-USD"))
    assert (flagged.decision, codes(flagged)) == (pb.DECISION_APPROVE, ["ORDER_RATE"])
    refused_entry = await world.ask(world.idea(product="SOL-USD"))
    assert codes(refused_entry)[0] == "ORDER_RATE"


async def test_two_entries_of_one_product_need_their_cooldown(world: World):
    first = await world.ask(world.idea())
    second = await world.ask(world.idea())
    assert (first.decision, second.decision) == (pb.DECISION_APPROVE, pb.DECISION_REJECT)
    assert codes(second)[0] == "COOLDOWN_ENTRY"


# ---- exits -----------------------------------------------------------------------------------------------------------


async def test_an_exit_reserves_what_it_sells_and_the_next_gets_the_rest(world: World):
    await world.hold("SOL-USD", "1")
    first = await world.ask(world.idea(Side.SELL, "0.6", "SOL-USD"))
    second = await world.ask(world.idea(Side.SELL, "1", "SOL-USD"))
    third = await world.ask(world.idea(Side.SELL, "1", "SOL-USD"))
    assert [a.adjusted_size.value for a in (first, second, third)] == ["0.6", "0.4", "0"]
    assert [a.decision for a in (first, second, third)] == [1, 2, 3]
    assert codes(third) == ["SELL_NOT_HELD", "ORDER_RATE"]
    assert jwt.decode(second.ticket, world.key, algorithms=["EdDSA"], audience="executor")["max_size"] == "0.4"


async def test_an_exit_needs_no_fresh_books_and_no_candles(world: World):
    await world.hold("SOL-USD", "1")
    await world.reconciled(clean=False, age_seconds=9999)
    await world.run(text("DELETE FROM crypto_prices"))
    await world.run(text("DELETE FROM watermarks"))
    found = await world.ask(world.idea(Side.SELL, "1", "SOL-USD", origin=Origin.OPERATOR, evidence=None))
    assert (found.decision, found.adjusted_size.value) == (pb.DECISION_APPROVE, "1")


async def test_an_open_order_of_unknown_fate_keeps_what_it_may_still_sell(world: World):
    await world.hold("SOL-USD", "1")
    await world.order("SOL-USD", "SELL", "UNKNOWN", base="0.7")
    found = await world.ask(world.idea(Side.SELL, "1", "SOL-USD"))
    assert found.adjusted_size.value == "0.3"
    entry = await world.ask(world.idea(product="SOL-USD"))
    assert (entry.decision, codes(entry)[0]) == (pb.DECISION_REJECT, "ORDER_UNKNOWN")


# ---- waiting for fresher data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clean", "age"), [(True, 31.0), (False, 0.0)])
async def test_an_entry_waits_for_reconciled_books(world: World, clean, age):
    await world.reconciled(clean, age)
    idea = world.idea()
    error = await refused(world.ask(idea))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STALE_DATA")
    assert error.retry_after
    assert await world.assessments() == []
    await world.reconciled()
    assert (await world.ask(idea)).decision == pb.DECISION_APPROVE


async def test_an_entry_waits_for_a_price_of_everything_held(world: World):
    await world.hold("SOL-USD", "1")
    await world.run(text("DELETE FROM crypto_prices WHERE product_id = 'SOL-USD'"))
    assert (await refused(world.ask(world.idea()))).reason == "STALE_DATA"
    assert await world.reservations() == []


async def test_a_life_ends_by_its_own_clock(world: World):
    over = AS_OF + HOUR / 2
    by_machine = await world.ask(world.idea(expire_time=over))
    by_market = await world.ask(world.idea(product="BTC-USD", expire_time=over, life_clock=LifeClock.MARKET))
    assert codes(by_machine)[0] == "EXPIRED_REQUEST"
    assert by_market.decision == pb.DECISION_APPROVE
    await world.market_at(over)
    later = await world.ask(world.idea(product="SOL-USD", expire_time=over, life_clock=LifeClock.MARKET))
    assert codes(later)[0] == "EXPIRED_REQUEST"


# ---- the switch ------------------------------------------------------------------------------------------------------


async def test_the_switch_works_at_the_decision_and_at_the_commit(world: World):
    await world.hold("SOL-USD", "1")
    entry, exit_ = await world.ask(world.idea()), await world.ask(world.idea(Side.SELL, "0.5", "SOL-USD"))
    assert (await world.switch("REDUCING")).previous_state == pb.TRADING_STATE_ACTIVE
    assert await world.commit(entry.reservation_id) == "TRADING_HALTED"
    assert codes(await world.ask(world.idea(product="BTC-USD")))[0] == "KILL_SWITCH"
    assert (await world.ask(world.idea(Side.SELL, "0.1", "SOL-USD"))).decision == pb.DECISION_APPROVE
    await world.switch("HALTED")
    assert await world.commit(exit_.reservation_id) == "TRADING_HALTED"
    assert codes(await world.ask(world.idea(Side.SELL, "0.1", "SOL-USD")))[0] == "KILL_SWITCH"
    await world.switch("ACTIVE")
    assert await world.commit(exit_.reservation_id) == "OK"
    assert await world.commit(entry.reservation_id) == "OK"


async def test_the_switch_answers_a_repeated_request_without_turning_again(world: World):
    request_id = str(new_request_id())
    first = await world.switch("HALTED", request_id=request_id)
    await world.switch("ACTIVE")
    assert await world.switch("HALTED", request_id=request_id) == first
    assert (await world.account()).trading_state == "ACTIVE"
    reused = await refused(world.switch("REDUCING", request_id=request_id))
    assert reused.reason == "REQUEST_ID_REUSED"


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
    entry = await world.ask(world.idea(as_of=midnight + HOUR))
    assert {"DAILY_LOSS", "DRAWDOWN"} <= set(codes(entry))
    assert (await world.ask(world.idea(Side.SELL, "60", "SOL-USD", as_of=midnight + HOUR))).decision == 1

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
    assert not {"DAILY_LOSS", "DRAWDOWN"} & set(codes(await world.ask(world.idea(as_of=next_day))))


async def test_a_mark_is_the_same_before_and_after_the_trades_of_its_bar(world: World):
    """What was decided at a bar's close is not in the mark of that close, whoever is faster."""
    await world.until(lambda: _count(world, 1))
    (before,) = await marks(world)
    await world.run(text("DELETE FROM equity_snapshots"))
    await world.hold("SOL-USD", "10", as_of=AS_OF, paid="1513.50")
    assert (await world.ask(world.idea(Side.SELL, "1", "SOL-USD"))).decision == pb.DECISION_APPROVE
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
    found = await world.ask(world.idea())
    assert codes(found)[0] == "COOLDOWN_LOSS"
    shown = await world.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest(), timeout=5)
    (lock,) = shown.locks
    assert (lock.code, lock.scope, lock.until_time.seconds) == (
        "COOLDOWN_LOSS", "product:ETH-USD", int((AS_OF + HOUR).timestamp()),
    )  # fmt: skip
    assert (await world.ask(world.idea(product="BTC-USD"))).decision == pb.DECISION_APPROVE


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
    await world.ask(world.idea())
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
        answer = await world.ask(world.idea())
        assert (answer.adjusted_size.value, answer.limits_version) == ("55.5", found.limits_version)
        assert set(codes(answer)) <= set(limits)


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


# ---- the stream ------------------------------------------------------------------------------------------------------


def item(idea: Recommendation, request_id: str | None = None) -> pb.StreamAssessmentsRequest:
    request = pb.AssessRecommendationRequest(
        request_id=str(new_request_id()) if request_id is None else request_id,
        recommendation=wire.recommendation_message(idea),
    )
    return pb.StreamAssessmentsRequest(item=request)


def opening(credit: int = 4) -> pb.StreamAssessmentsRequest:
    return pb.StreamAssessmentsRequest(open=pb.StreamAssessmentsOpen(client="test", max_in_flight=credit))


async def test_the_stream_answers_each_item_and_survives_bad_ones(world: World):
    call = world.stub.StreamAssessments(timeout=10)
    await call.write(opening(200))
    assert (await call.read()).opened.max_in_flight == 16
    good = item(await world.propose(world.idea()))
    nameless, naked = item(world.idea(), ""), pb.StreamAssessmentsRequest()
    naked.item.request_id = str(new_request_id())
    nan = item(world.idea())
    nan.item.recommendation.evidence.confidence = float("nan")
    for frame in (nan, nameless, naked, good):
        await call.write(frame)
    answers = [await call.read() for _ in range(4)]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    errors = {a.item_error.request_id: a.item_error for a in answers if a.WhichOneof("frame") == "item_error"}
    assert set(errors) == {"", naked.item.request_id, nan.item.request_id}
    assert [v.field for v in errors[nan.item.request_id].violations] == ["recommendation.evidence.confidence"]
    (answer,) = [a.answer for a in answers if a.WhichOneof("frame") == "answer"]
    assert (answer.request_id, answer.assessment.decision) == (good.item.request_id, pb.DECISION_APPROVE)
    assert len(await world.assessments()) == 1


async def test_the_stream_tells_a_wait_as_an_item_error(world: World):
    await world.reconciled(age_seconds=60)
    call = world.stub.StreamAssessments(timeout=10)
    await call.write(opening())
    await call.read()
    await call.write(item(await world.propose(world.idea())))
    error = (await call.read()).item_error
    assert (error.code, error.retry_after.seconds) == (grpc.StatusCode.UNAVAILABLE.value[0], 1)
    assert error.reason == 19  # STALE_DATA
    call.cancel()


async def test_only_stored_and_approved_recommendations_are_assessed_on_their_stored_terms(world: World):
    idea = world.idea()
    with pytest.raises(MeshError) as found:
        await world.ask(idea, stored=False)
    assert found.value.reason == "NOT_FOUND"
    await world.propose(idea)
    with pytest.raises(MeshError) as found:
        await world.ask(replace(idea, size=D("240")))
    assert found.value.reason == "REQUEST_ID_REUSED"
    unreviewed = await world.propose(world.idea(), reviewed=False)
    with pytest.raises(MeshError) as found:
        await world.ask(unreviewed)
    assert found.value.reason == "NOT_REVIEWED"
    ended = await world.propose(world.idea(), state="EXECUTED")
    with pytest.raises(MeshError) as found:
        await world.ask(ended)
    assert found.value.reason == "EXPIRED"
    assert await world.assessments() == []
    assert (await world.ask(idea)).decision == pb.DECISION_APPROVE


@pytest.mark.parametrize("first", [opening(0), opening(257), item], ids=["no-credit", "too-much", "no-opening"])
async def test_a_stream_must_open_properly(world: World, first):
    call = world.stub.StreamAssessments(timeout=10)
    await call.write(first(world.idea()) if callable(first) else first)
    with pytest.raises(grpc.aio.AioRpcError) as found:
        await call.read()
    assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# ---- bad input, failure ----------------------------------------------------------------------------------------------


def spoiled(idea: Recommendation, **changes) -> pb.AssessRecommendationRequest:
    request = pb.AssessRecommendationRequest(
        request_id=str(new_request_id()), recommendation=wire.recommendation_message(idea)
    )
    for path, value in changes.items():
        target, *rest = path.split("__")
        if target == "request_id":
            request.request_id = value
            continue
        node = request.recommendation
        for name in [target, *rest][:-1]:
            node = getattr(node, name)
        setattr(node, [target, *rest][-1], value)
    return request


BAD = [
    ({"request_id": "x"}, {"request_id"}),
    ({"recommendation_id": ""}, {"recommendation.recommendation_id"}),
    ({"product_id": "btc usd"}, {"recommendation.product_id"}),
    ({"side": 9}, {"recommendation.side"}),
    ({"quote_size__value": "NaN"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "1e5"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "0"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "-5"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "9999999999999999999"}, {"recommendation.quote_size"}),
    ({"reference_price__value": "0"}, {"recommendation.reference_price"}),
    ({"priority": float("inf")}, {"recommendation.priority"}),
    ({"evidence__confidence": float("nan")}, {"recommendation.evidence.confidence"}),
    ({"expire_time__seconds": int((AS_OF - HOUR).timestamp())}, {"recommendation.expire_time"}),
    ({"as_of__seconds": 10**15}, {"recommendation.as_of"}),
    ({"note": "x" * 201}, {"recommendation.note"}),
    ({"life_clock": 0, "origin": 7, "request_id": ""},
     {"recommendation.life_clock", "recommendation.origin", "request_id"}),
]  # fmt: skip


async def test_bad_requests_are_told_all_their_faults_and_store_nothing(world: World):
    before = await _rows(world)
    for changes, fields in BAD:
        error = await refused(_call(world.stub.AssessRecommendation, spoiled(world.idea(), **changes)))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"), changes
        assert fields <= {violation.field for violation in error.violations}, changes
    mixed = spoiled(world.idea())
    mixed.recommendation.base_size.CopyFrom(decimal_pb2.Decimal(value="1"))  # a BUY sized like a SELL
    empty = pb.AssessRecommendationRequest()
    for request in (mixed, empty):
        assert (await refused(_call(world.stub.AssessRecommendation, request))).reason == "INVALID_REQUEST"
    state = await refused(_call(world.stub.SetTradingState, pb.SetTradingStateRequest(state=17, note="x" * 201)))
    assert {violation.field for violation in state.violations} == {"request_id", "state", "note"}
    assert await _rows(world) == before
    assert (await world.ask(world.idea())).decision == pb.DECISION_APPROVE


async def test_products_nobody_knows_or_trades_are_rejected_with_a_reason(world: World):
    await world.run(
        update(products).where(products.c.product_id == "SOL-USD").values(tradable=False, status="delisted")
    )
    assert codes(await world.ask(world.idea(product="XYZ-USD")))[0] == "UNKNOWN_PRODUCT"
    assert codes(await world.ask(world.idea(product="BTC-EUR")))[0] == "UNKNOWN_PRODUCT"
    assert codes(await world.ask(world.idea(product="SOL-USD")))[0] == "TRADING_DISABLED"


async def test_a_huge_request_is_cut_not_failed(world: World):
    found = await world.ask(world.idea(size="999999999999999.99"))
    assert (found.decision, found.adjusted_size.value) == (pb.DECISION_REDUCE, "250")
    assert codes(found)[0] == "MAX_ORDER_NOTIONAL"


async def _call(method, request):
    try:
        return await method(request, timeout=5)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def _rows(world: World) -> dict[str, int]:
    names = ["risk_assessments", "risk_reservations", "risk_locks", "stored_requests"]
    assert set(names) <= set(metadata.tables)
    return {name: (await world.run(text(f"SELECT count(*) FROM {name}")))[0][0] for name in names}


def test_a_key_that_others_can_read_is_refused(tmp_path):
    file, _ = write_key(tmp_path, mode=0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        load_signer(file)
    file.chmod(0o600)
    assert load_signer(file).key_id
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_signer(tmp_path / "absent.pem")
    file.write_bytes(b"no key")
    with pytest.raises(Misconfigured, match="no unencrypted private key"):
        load_signer(file)


def test_the_process_names_every_configuration_fault_and_exits_2(tmp_path):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    wrong = {"RISK_WEIGHT_HEAT": "0.5", "RISK_SCORE_SOFT": "0.9", "TICKET_SIGNING_KEY_FILE": str(tmp_path / "absent")}
    found = subprocess.run(
        [sys.executable, "-m", "svc_risk"], env=environment | wrong, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 2
    assert "weights must sum to 1" in found.stderr
    assert "score_soft must be below score_hard" in found.stderr
