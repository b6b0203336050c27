"""The validator over a real gRPC socket and a real database: its verdicts, its rows, its health and its life."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit.errors import InvalidRequest, MeshError, NotFound, RequestIdReused, Unavailable, from_rpc_error
from schema.streams import advance_watermark
from tests.support.stored import store_recommendation
from tests.validator.validator_cases import AS_OF, entry, evidence, operator_entry
from tests.validator.validator_ollama import MODEL, stand_in
from tests.validator.validator_world import (
    NOT_SERVING,
    SERVING,
    ask,
    ask_unstored,
    request_of,
    rows,
    until_fit,
    until_rows,
    validator,
)
from tradekit.recommendation import terms_hash
from tradekit.services import VALIDATOR
from tradekit.states import LifeClock, Profile, Side
from trading.validator.v1 import validator_service_pb2 as pb
from trading.validator.v1 import validator_service_pb2_grpc as pb_grpc


async def test_without_a_model_the_rules_decide_and_say_so(database):
    async with validator(database) as stub:
        good = await ask(stub, entry())
        bad = await ask(stub, entry({"rsi_14": 0.9, "bb_pctb_20": 1.3}))
        reviewer = await stub.GetReviewer(pb.GetReviewerRequest())
    assert (good.verdict, good.decided_by) == (pb.VERDICT_APPROVE, "rules")
    assert (bad.verdict, bad.decided_by) == (pb.VERDICT_REJECT, "rules")
    assert [reason.code for reason in bad.reviews[0].reasons] == ["OVERHEATED"]
    assert reviewer.reviewer == "rules"
    assert "OLLAMA_HOST" in reviewer.detail
    stored = await rows(database)
    assert [(row.reviewer, row.outcome, row.enforced, row.model) for row in stored] == [
        ("rules", "APPROVE", "APPROVE", ""),
        ("rules", "REJECT", "REJECT", ""),
    ]
    assert stored[0].inputs["rsi_14"] == pytest.approx(0.58)


async def test_a_repeated_recommendation_gets_the_stored_answer(database):
    recommendation = entry()
    async with validator(database) as stub:
        first = await ask(stub, recommendation)
        again = await ask(stub, recommendation)
        spelled = request_of(recommendation)
        spelled.recommendation.quote_size.value = "100.00"
        same = (await stub.ValidateRecommendation(spelled)).validation
    assert first == again == same
    assert len(await rows(database)) == 1


async def test_another_body_under_a_used_id_is_refused(database):
    recommendation, used = entry(), str(uuid4())
    async with validator(database) as stub:
        await ask(stub, recommendation, used)
        with pytest.raises(RequestIdReused):
            await ask(stub, entry(), used)
    assert len(await rows(database)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 0.9},
        {"size": Decimal(1)},
        {"note": "another"},
        {"expire_time": datetime(2099, 1, 1, tzinfo=UTC)},
        {"evidence": evidence({"rsi_14": 0.2})},
    ],
)
async def test_only_what_is_stored_is_reviewed_to_the_last_character(database, change):
    recommendation = entry()
    async with validator(database) as stub:
        with pytest.raises(NotFound):
            await ask_unstored(stub, recommendation)
        await store_recommendation(database.engine, recommendation)
        with pytest.raises(MeshError) as caught:
            await ask_unstored(stub, replace(recommendation, **change))
        assert (caught.value.reason, caught.value.code) == ("TERMS_DIFFER", grpc.StatusCode.FAILED_PRECONDITION)
        assert next(iter(change)) in caught.value.message
        assert await rows(database) == []
        await ask_unstored(stub, recommendation)
    assert [row.request_hash for row in await rows(database)] == [terms_hash(recommendation)]


async def test_many_askers_of_one_recommendation_get_one_verdict(database):
    recommendation = entry()
    async with validator(database) as stub:
        answers = await asyncio.gather(*(ask(stub, recommendation) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert len(await rows(database)) == 1


async def test_bad_input_tells_every_violation_and_stores_nothing(database):
    message = request_of(entry())
    message.request_id = "no-uuid"
    message.recommendation.product_id = "btc"
    message.recommendation.priority = math.nan
    message.recommendation.quote_size.value = "1e9"
    message.recommendation.evidence.features[0] = math.inf
    message.recommendation.ClearField("as_of")
    async with validator(database) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ValidateRecommendation(message)
        error = from_rpc_error(caught.value)
        fields = {violation.field for violation in error.violations}
        with pytest.raises(InvalidRequest) as exit_refused:
            await ask(stub, entry(side=Side.SELL))
        assert (await ask(stub, entry())).verdict == pb.VERDICT_APPROVE
    assert error.reason == "INVALID_REQUEST"
    assert fields >= {
        "request_id",
        "recommendation.product_id",
        "recommendation.priority",
        "recommendation.quote_size",
        "recommendation.evidence.features[0]",
        "recommendation.as_of",
    }
    assert [violation.rule for violation in exit_refused.value.violations] == ["ENTRY_ONLY"]
    assert len(await rows(database)) == 1


async def test_a_life_that_is_over_is_rejected_with_a_row(database):
    over = entry(expire_time=datetime.now(UTC) - timedelta(seconds=1))
    async with validator(database) as stub:
        found = await ask(stub, over)
    assert found.verdict == pb.VERDICT_REJECT
    assert found.reviews[0].outcome == pb.REVIEW_OUTCOME_EXPIRED
    (row,) = await rows(database)
    assert (row.outcome, row.enforced) == ("EXPIRED", "REJECT")


async def test_a_market_life_is_measured_by_the_market_watermark(database):
    ends = AS_OF + timedelta(hours=1)
    lives = {"life_clock": LifeClock.MARKET, "expire_time": ends}
    async with validator(database) as stub:
        with pytest.raises(Unavailable):
            await ask(stub, entry(**lives))
        assert await rows(database) == []
        async with database.engine.begin() as connection:
            await advance_watermark(connection, "market", ends - timedelta(seconds=1), 1)
        alive = await ask(stub, entry(**lives))
        async with database.engine.begin() as connection:
            await advance_watermark(connection, "market", ends, 2)
        over = await ask(stub, entry(**lives))
    assert alive.reviews[0].outcome == pb.REVIEW_OUTCOME_APPROVE
    assert over.reviews[0].outcome == pb.REVIEW_OUTCOME_EXPIRED


async def test_a_fit_model_may_veto_but_never_revive(database):
    async with stand_in() as ollama, validator(database, ollama_host=ollama.url, ollama_model=MODEL) as stub:
        reviewer = await until_fit(stub)
        asked = len(ollama.questions)
        passed = await ask(stub, entry())
        vetoed = await ask(stub, entry({"ret_24": -0.02}))
        dead = await ask(stub, entry({"relvol_24": -0.65}))
        recommendation = await ask(stub, operator_entry())
        assert len(ollama.questions) - asked == 2
    assert (reviewer.reviewer, reviewer.self_test_calls, reviewer.self_test_valid) == ("ollama", 5, 5)
    assert reviewer.model_digest == "sha256:aaaa"
    assert (passed.verdict, passed.decided_by) == (pb.VERDICT_APPROVE, "ollama")
    assert (vetoed.verdict, vetoed.decided_by) == (pb.VERDICT_REJECT, "ollama")
    assert [reason.code for reason in vetoed.reviews[1].reasons] == ["MODEL_TREND"]
    assert (dead.verdict, dead.decided_by, len(dead.reviews)) == (pb.VERDICT_REJECT, "rules", 1)
    assert (recommendation.verdict, recommendation.decided_by) == (pb.VERDICT_APPROVE, "rules")
    stored = await rows(database)
    model = stored[1]
    assert (model.reviewer, model.outcome, model.enforced, model.mode) == ("ollama", "APPROVE", "APPROVE", "VETO")
    assert (stored[0].reviewer, stored[0].enforced) == ("rules", None)
    assert (model.model, model.model_digest, model.server_version) == (MODEL, "sha256:aaaa", "0.33.3")
    assert model.raw_output == '{"verdict":"APPROVE","reason":"OK"}'
    assert model.timings["eval_ms"] == 350.0
    assert model.options["num_predict"] == 64
    assert len(model.prompt_sha256) == 64


@pytest.mark.parametrize(
    ("on_failure", "verdict", "by"),
    [("reject", pb.VERDICT_REJECT, "ollama"), ("rules", pb.VERDICT_APPROVE, "rules")],
)
async def test_a_failing_model_follows_the_setting_and_never_approves(database, on_failure, verdict, by):
    given = {"ollama_model": MODEL, "llm_on_failure": on_failure, "llm_deadline_ms": 300}
    async with stand_in() as ollama, validator(database, ollama_host=ollama.url, **given) as stub:
        await until_fit(stub)
        ollama.how = "silent"
        found = await ask(stub, entry())
    assert (found.verdict, found.decided_by) == (verdict, by)
    assert found.reviews[1].outcome == pb.REVIEW_OUTCOME_TIMEOUT
    assert [review.enforced for review in found.reviews] == [by == "rules", by == "ollama"]


async def test_an_unfit_model_leaves_the_rules_to_decide(database):
    async with (
        stand_in(how='say:{"verdict":"APPROVE","reason":"OK"}') as ollama,
        validator(database, ollama_host=ollama.url, ollama_model=MODEL) as stub,
    ):
        reviewer = await until_fit(stub, fit=False)
        found = await ask(stub, entry())
    assert (reviewer.fit, reviewer.self_test_calls, reviewer.self_test_valid) == (False, 5, 5)
    assert "crash in progress: APPROVE" in reviewer.detail
    assert (found.verdict, found.decided_by, len(found.reviews)) == (pb.VERDICT_APPROVE, "rules", 1)


@pytest.mark.parametrize(("on_failure", "verdict"), [("reject", pb.VERDICT_REJECT), ("rules", pb.VERDICT_APPROVE)])
async def test_with_real_money_and_no_fit_model_entries_are_refused(database, on_failure, verdict):
    async with validator(database, venue="LIVE", llm_on_failure=on_failure) as stub:
        found = await ask(stub, entry())
        recommendation = await ask(stub, operator_entry())
        reviewer = await stub.GetReviewer(pb.GetReviewerRequest())
    assert found.verdict == recommendation.verdict == verdict
    if verdict == pb.VERDICT_REJECT:
        assert [reason.code for reason in found.reviews[1].reasons] == ["REVIEWER_UNFIT"]
        assert found.reviews[1].outcome == pb.REVIEW_OUTCOME_UNAVAILABLE
        assert "LLM_ON_FAILURE=rules" in reviewer.detail


async def test_shadow_records_the_model_and_lets_the_rules_decide(database):
    given = {"ollama_model": MODEL, "llm_mode": "shadow"}
    async with stand_in() as ollama, validator(database, ollama_host=ollama.url, **given) as stub:
        await until_fit(stub)
        ollama.delay = 0.3
        recommendation = entry({"ret_24": -0.02})
        found = await ask(stub, recommendation)
        assert len(found.reviews) == 1
        stored = await until_rows(database, 2)
        later = await ask(stub, recommendation)
    assert [review.reviewer for review in later.reviews] == ["rules", "ollama"]
    assert (later.verdict, later.decided_by) == (found.verdict, found.decided_by)
    assert (found.verdict, found.decided_by, found.mode) == (pb.VERDICT_APPROVE, "rules", pb.REVIEW_MODE_SHADOW)
    assert [(row.reviewer, row.outcome, row.enforced, row.mode) for row in stored] == [
        ("rules", "APPROVE", "APPROVE", "SHADOW"),
        ("ollama", "REJECT", None, "SHADOW"),
    ]


async def test_what_finds_no_place_in_the_shadow_is_a_row_too(database):
    given = {"ollama_model": MODEL, "llm_mode": "shadow", "llm_max_queue": 1}
    async with stand_in() as ollama, validator(database, ollama_host=ollama.url, **given) as stub:
        await until_fit(stub)
        ollama.how = "silent"
        first = await ask(stub, entry())
        second = await ask(stub, entry())
    assert len(first.reviews) == 1
    assert [review.outcome for review in second.reviews] == [
        pb.REVIEW_OUTCOME_APPROVE,
        pb.REVIEW_OUTCOME_SKIPPED_CAPACITY,
    ]
    stored = await rows(database)
    assert [(row.reviewer, row.outcome, row.error) for row in stored if row.reviewer == "ollama"] == [
        ("ollama", "SKIPPED_CAPACITY", "queue_full"),
        ("ollama", "SKIPPED_CAPACITY", "shutdown"),
    ]


async def test_the_exercise_profile_does_not_ask_for_an_edge(database):
    poor = {"edge": 0.02, "expected_net": -0.01}
    async with validator(database) as stub:
        exercise = await ask(stub, entry(poor, profile=Profile.EXERCISE))
        serious = await ask(stub, entry(poor))
    assert exercise.verdict == pb.VERDICT_APPROVE
    assert {reason.code for reason in serious.reviews[0].reasons} == {"EDGE", "EXPECTED_NET"}


# ---- health and life -------------------------------------------------------------------------------------------------


async def status_of(port: int, name: str) -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status


async def until_status(port: int, name: str, status: int) -> None:
    async with asyncio.timeout(120):
        while await status_of(port, name) != status:
            await asyncio.sleep(0.05)


async def test_health_tells_apart_serving_and_deciding(database):
    name = VALIDATOR.full_name
    async with validator(database, venue="LIVE") as stub:
        await until_status(stub.port, name, SERVING)
        assert await status_of(stub.port, f"{name}/entries") == NOT_SERVING
    async with validator(database, venue="LIVE", llm_on_failure="rules") as stub:
        await until_status(stub.port, f"{name}/entries", SERVING)


async def test_without_its_database_it_says_unavailable_and_lives_on(database):
    async with validator(database, db_name="nowhere") as stub:
        with pytest.raises(Unavailable) as caught:
            await ask(stub, entry())
        assert caught.value.reason == "DATABASE_UNAVAILABLE"
        assert await status_of(stub.port, "") == NOT_SERVING
        assert (await stub.GetReviewer(pb.GetReviewerRequest())).reviewer == "rules"


async def test_the_process_starts_answers_and_drains(database):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        **database.env_of("validator"),
        "VALIDATOR_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "svc_validator", env=env, stderr=PIPE)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = pb_grpc.ValidatorServiceStub(channel)
            recommendation = await store_recommendation(database.engine, entry())
            answer = await stub.ValidateRecommendation(request_of(recommendation), wait_for_ready=True, timeout=30)
        assert answer.validation.verdict == pb.VERDICT_APPROVE
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    assert process.returncode == 0, log
