"""The risk engine over a real socket with a real database: answers, reservations, exits, the switch, the stream."""

import asyncio
import json
from dataclasses import replace

import grpc
import jwt
import pytest
from sqlalchemy import func, text, update

from meshkit.errors import MeshError, from_rpc_error
from schema.recommendations import llm_validation, trade_recommendations
from svc_risk.assess import assess
from svc_risk.snapshot import inputs_from_json
from tests.risk.risk_calls import codes, refused
from tests.risk.risk_world import AS_OF, FAR, HOUR, D, World, running
from tests.support.arriving import Arriving
from tests.support.stored import unlock_rows
from tradekit import wire
from tradekit.ids import new_request_id
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.states import LifeClock, Origin, Side
from trading.risk.v1 import risk_service_pb2 as pb

# ---- an answer, its ticket, its repetition ---------------------------------------------------------------------------


async def test_an_approval_reserves_and_carries_a_ticket_that_only_its_key_verifies(world: World):
    recommendation = world.recommendation()
    found = await world.ask(recommendation)
    assert (found.decision, found.adjusted_size.value, found.attempt) == (pb.DECISION_APPROVE, "100", 1)
    assert found.sigma_14d == pytest.approx(0.50, rel=1e-5)
    claims = jwt.decode(found.ticket, world.key, algorithms=["EdDSA"], audience="executor", issuer="risk")
    assert claims["sub"] == str(recommendation.recommendation_id)
    assert claims["terms"] == terms_hash(recommendation)
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
    recommendation, request_id = world.recommendation(), new_request_id()
    first = await world.ask(recommendation, request_id)
    assert await world.ask(recommendation, request_id) == first
    assert await world.ask(replace(recommendation, size=D("100.00"))) == first  # another request_id, the same content
    assert await world.commit(first.reservation_id) == "OK"
    await world.expire()
    assert await world.ask(recommendation) == first
    assert (len(await world.assessments()), len(await world.reservations())) == (1, 1)


async def test_another_body_under_the_same_id_is_refused(world: World):
    recommendation, request_id = world.recommendation(), new_request_id()
    await world.ask(recommendation, request_id)
    same_recommendation = await refused(world.ask(replace(recommendation, size=D(101))))
    same_request = await refused(world.ask(world.recommendation(), request_id))
    assert (same_recommendation.reason, same_request.reason) == ("TERMS_DIFFER", "REQUEST_ID_REUSED")
    assert same_request.code is grpc.StatusCode.ALREADY_EXISTS
    assert len(await world.assessments()) == 1


async def test_an_expired_reservation_leads_to_a_second_attempt_and_both_are_kept(world: World):
    recommendation = world.recommendation()
    first = await world.ask(recommendation)
    await world.expire()
    assert await world.commit(first.reservation_id) == "RESERVATION_LOST"
    second = await world.ask(recommendation)
    assert (second.attempt, second.decision) == (2, pb.DECISION_APPROVE)
    assert second.reservation_id != first.reservation_id
    assert second.ticket != first.ticket
    assert sorted(row.state for row in await world.reservations()) == ["EXPIRED", "HELD"]
    assert await world.commit(second.reservation_id) == "OK"
    assert await world.commit(second.reservation_id) == "RESERVATION_LOST"  # once only


async def test_whoever_waits_behind_one_that_waits_for_the_database_waits_for_it_too(world: World):
    recommendations = [await world.propose(world.recommendation()) for _ in range(3)]
    requests = [
        pb.AssessRecommendationRequest(
            request_id=str(new_request_id()), recommendation=wire.recommendation_message(recommendation)
        )
        for recommendation in recommendations
    ]
    async with world.engine.begin() as connection:
        await connection.execute(text("SELECT 1 FROM accounts FOR UPDATE"))
        found = await asyncio.gather(
            *(world.stub.AssessRecommendation(one, timeout=1.0) for one in requests), return_exceptions=True
        )
    errors = [from_rpc_error(one) for one in found if isinstance(one, grpc.aio.AioRpcError)]
    assert [(one.code, one.reason) for one in errors] == [(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")] * 3
    assert (await world.ask(recommendations[0])).decision == pb.DECISION_APPROVE


async def test_a_rejection_is_final_and_has_no_ticket(world: World):
    recommendation = world.recommendation(size="5")
    first = await world.ask(recommendation)
    assert (first.decision, codes(first), first.ticket, first.reservation_id) == (
        pb.DECISION_REJECT, ["MIN_NOTIONAL"], "", "",
    )  # fmt: skip
    assert not first.HasField("reservation_expire_time")
    assert await world.ask(recommendation) == first
    assert await world.reservations() == []


async def test_a_stored_decision_can_be_made_again(world: World):
    await world.hold("BTC-USD", "0.01", paid="1000")
    await world.ask(world.recommendation())
    await world.ask(world.recommendation(size="5"))
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
            recommendations = [
                world.recommendation(product=("BTC-USD", "ETH-USD", "SOL-USD")[n % 3], size="70") for n in range(50)
            ]
            tasks = [group.create_task(_until_answered(world, recommendation)) for recommendation in recommendations]
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


async def _until_answered(world, recommendation):
    while True:
        try:
            return await world.ask(recommendation)
        except MeshError as error:
            assert error.reason == "TOO_MANY_IN_FLIGHT"
            await asyncio.sleep(0.02)


async def test_order_tokens_run_out_in_market_time(world: World):
    await world.hold("SOL-USD", "1")
    for _ in range(2):
        assert (await world.ask(world.recommendation(Side.SELL, "0.1", "SOL-USD"))).decision == pb.DECISION_APPROVE
    flagged = await world.ask(world.recommendation(Side.SELL, "0.1", "SOL-USD"))
    assert (flagged.decision, codes(flagged)) == (pb.DECISION_APPROVE, ["ORDER_RATE"])
    refused_entry = await world.ask(world.recommendation(product="SOL-USD"))
    assert codes(refused_entry)[0] == "ORDER_RATE"


async def test_two_entries_of_one_product_need_their_cooldown(world: World):
    first = await world.ask(world.recommendation())
    second = await world.ask(world.recommendation())
    assert (first.decision, second.decision) == (pb.DECISION_APPROVE, pb.DECISION_REJECT)
    assert codes(second)[0] == "COOLDOWN_ENTRY"


# ---- exits -----------------------------------------------------------------------------------------------------------


async def test_no_reservation_keeps_an_exit_from_what_is_held(world: World):
    """Exits that were assessed and never sent, an own earlier attempt among them, leave the whole to the next."""
    await world.hold("SOL-USD", "1")
    abandoned = [await world.ask(world.recommendation(Side.SELL, "1", "SOL-USD")) for _ in range(3)]
    part = await world.ask(world.recommendation(Side.SELL, "0.6", "SOL-USD"))
    whole = await world.ask(world.recommendation(Side.SELL, "1", "SOL-USD"))
    assert [a.adjusted_size.value for a in (*abandoned, part, whole)] == ["1", "1", "1", "0.6", "1"]
    assert {row.state for row in await world.reservations()} == {"HELD"}
    assert jwt.decode(whole.ticket, world.key, algorithms=["EdDSA"], audience="executor")["max_size"] == "1"


async def test_an_exit_needs_no_fresh_ledger_and_no_candles(world: World):
    await world.hold("SOL-USD", "1")
    await world.reconciled(clean=False, age_seconds=9999)
    await world.run(text("DELETE FROM crypto_prices"))
    await world.run(text("DELETE FROM watermarks"))
    found = await world.ask(world.recommendation(Side.SELL, "1", "SOL-USD", origin=Origin.OPERATOR, evidence=None))
    assert (found.decision, found.adjusted_size.value) == (pb.DECISION_APPROVE, "1")


async def test_an_open_order_of_unknown_fate_keeps_what_it_may_still_sell(world: World):
    await world.hold("SOL-USD", "1")
    await world.order("SOL-USD", "SELL", "UNKNOWN", base="0.7")
    found = await world.ask(world.recommendation(Side.SELL, "1", "SOL-USD"))
    assert found.adjusted_size.value == "0.3"
    entry = await world.ask(world.recommendation(product="SOL-USD"))
    assert (entry.decision, codes(entry)[0]) == (pb.DECISION_REJECT, "ORDER_UNKNOWN")


# ---- waiting for fresher data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clean", "age"), [(True, 31.0), (False, 0.0)])
async def test_an_entry_waits_for_a_reconciled_ledger(world: World, clean, age):
    await world.reconciled(clean, age)
    recommendation = world.recommendation()
    error = await refused(world.ask(recommendation))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STALE_DATA")
    assert error.retry_after
    assert await world.assessments() == []
    await world.reconciled()
    assert (await world.ask(recommendation)).decision == pb.DECISION_APPROVE


async def test_an_entry_waits_for_a_price_of_everything_held(world: World):
    await world.hold("SOL-USD", "1")
    await world.run(text("DELETE FROM crypto_prices WHERE product_id = 'SOL-USD'"))
    assert (await refused(world.ask(world.recommendation()))).reason == "STALE_DATA"
    assert await world.reservations() == []


async def test_a_life_ends_by_its_own_clock(world: World):
    over = AS_OF + HOUR / 2
    by_machine = await world.ask(world.recommendation(expire_time=over))
    by_market = await world.ask(world.recommendation(product="BTC-USD", expire_time=over, life_clock=LifeClock.MARKET))
    assert codes(by_machine)[0] == "EXPIRED_REQUEST"
    assert by_market.decision == pb.DECISION_APPROVE
    await world.market_at(over)
    later = await world.ask(world.recommendation(product="SOL-USD", expire_time=over, life_clock=LifeClock.MARKET))
    assert codes(later)[0] == "EXPIRED_REQUEST"


async def test_without_market_time_an_entry_of_a_market_life_waits_and_an_exit_does_not(world: World):
    await world.run(text("DELETE FROM watermarks WHERE stage = 'market'"))
    lives = {"expire_time": AS_OF + HOUR, "life_clock": LifeClock.MARKET}
    error = await refused(world.ask(world.recommendation(**lives)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STALE_DATA")
    assert await world.assessments() == []
    assert (await world.ask(world.recommendation(product="BTC-USD"))).decision == pb.DECISION_APPROVE
    await world.hold("SOL-USD", "1")
    leaves = await world.ask(world.recommendation(Side.SELL, "0.5", "SOL-USD", **lives))
    assert leaves.decision == pb.DECISION_APPROVE
    assert "EXPIRED_REQUEST" not in codes(leaves)


async def test_a_machine_life_may_trail_a_market_that_runs_faster(world: World):
    """Its end and as_of are times of two clocks; only the machine's clock says that it is over."""
    trails = await world.ask(world.recommendation(expire_time=AS_OF - HOUR))
    assert (trails.decision, codes(trails)[0]) == (pb.DECISION_REJECT, "EXPIRED_REQUEST")


# ---- the switch ------------------------------------------------------------------------------------------------------


# ---- the stream ------------------------------------------------------------------------------------------------------


def item(recommendation: Recommendation, request_id: str | None = None) -> pb.StreamAssessmentsRequest:
    request = pb.AssessRecommendationRequest(
        request_id=str(new_request_id()) if request_id is None else request_id,
        recommendation=wire.recommendation_message(recommendation),
    )
    return pb.StreamAssessmentsRequest(item=request)


def opening(credit: int = 4) -> pb.StreamAssessmentsRequest:
    return pb.StreamAssessmentsRequest(open=pb.StreamAssessmentsOpen(client="test", max_in_flight=credit))


async def test_the_stream_answers_each_item_and_survives_bad_ones(world: World):
    call = Arriving(world.stub.StreamAssessments(timeout=10))
    await call.write(opening(200))
    assert (await call.read()).opened.max_in_flight == 128
    good = item(await world.propose(world.recommendation()))
    nameless, naked = item(world.recommendation(), ""), pb.StreamAssessmentsRequest()
    naked.item.request_id = str(new_request_id())
    nan = item(world.recommendation())
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
    call = Arriving(world.stub.StreamAssessments(timeout=10))
    await call.write(opening())
    await call.read()
    await call.write(item(await world.propose(world.recommendation())))
    error = (await call.read()).item_error
    assert (error.code, error.retry_after.seconds) == (grpc.StatusCode.UNAVAILABLE.value[0], 1)
    assert error.reason == 19  # STALE_DATA
    call.cancel()


async def test_only_stored_and_approved_recommendations_are_assessed_on_their_stored_terms(world: World):
    recommendation = world.recommendation()
    with pytest.raises(MeshError) as found:
        await world.ask(recommendation, stored=False)
    assert found.value.reason == "NOT_FOUND"
    await world.propose(recommendation)
    assert recommendation.evidence is not None
    for change in (
        {"size": D("240")},
        {"expire_time": FAR - HOUR},
        {"evidence": replace(recommendation.evidence, confidence=1.0)},
    ):
        with pytest.raises(MeshError) as found:
            await world.ask(replace(recommendation, **change))
        assert found.value.reason == "TERMS_DIFFER"
    other = await world.propose(world.recommendation())
    await unlock_rows(world.engine, "llm_validation")
    async with world.engine.begin() as connection:
        was = llm_validation.c.recommendation_id == other.recommendation_id
        await connection.execute(update(llm_validation).where(was).values(request_hash=terms_hash(recommendation)))
    with pytest.raises(MeshError) as found:
        await world.ask(other)
    assert found.value.reason == "NOT_REVIEWED"
    unreviewed = await world.propose(world.recommendation(), reviewed=False)
    with pytest.raises(MeshError) as found:
        await world.ask(unreviewed)
    assert found.value.reason == "NOT_REVIEWED"
    ended = await world.propose(world.recommendation(), state="EXECUTED")
    with pytest.raises(MeshError) as found:
        await world.ask(ended)
    assert (found.value.reason, found.value.message) == ("EXPIRED", "the recommendation has ended: EXECUTED")
    assert await world.assessments() == []
    assert (await world.ask(recommendation)).decision == pb.DECISION_APPROVE


async def test_an_entry_that_an_operator_cancelled_is_not_called_one_in_review(world: World):
    cancelled = await world.propose(world.recommendation())
    await world.run(update(trade_recommendations).values(cancel_requested_at=func.now()))
    error = await refused(world.ask(cancelled))
    assert (error.reason, error.message) == ("EXPIRED", "the recommendation has ended: CANCELLED_BY_OPERATOR")


@pytest.mark.parametrize("first", [opening(0), opening(257), item], ids=["no-credit", "too-much", "no-opening"])
async def test_a_stream_must_open_properly(world: World, first):
    call = Arriving(world.stub.StreamAssessments(timeout=10))
    await call.write(first(world.recommendation()) if callable(first) else first)
    with pytest.raises(grpc.aio.AioRpcError) as found:
        await call.read()
    assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT
