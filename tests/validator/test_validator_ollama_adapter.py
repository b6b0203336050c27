"""The Ollama adapter and the model reviewer against a stand-in server on a real socket: each failure is its outcome."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from waiting import eventually

from meshkit.clock import FixedClock, SystemClock
from svc_validator.concurrency_limiter import ConcurrencyLimiter
from svc_validator.model_reviewer import ModelReviewer
from svc_validator.prompt import OPTIONS, SCHEMA, render
from svc_validator.reviewers.model_server import Answer, ModelMissing
from svc_validator.reviewers.ollama import OllamaServer
from svc_validator.reviewers.reviewer import Question, Resources
from tests.validator.validator_cases import CALM, entry
from tests.validator.validator_ollama import GOOD, MODEL, StandIn, stand_in
from tradekit.states import ReviewOutcome

LOG = structlog.get_logger()
QUESTION = Question(entry(CALM), CALM)


async def ask(url: str, seconds: float = 5.0) -> Answer:
    server = OllamaServer(url, MODEL)
    try:
        return await server.ask(render(CALM), seconds)
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def reviewer(ollama: StandIn, clock: Any = None, waiting: int = 4, seconds: float = 5.0) -> AsyncIterator[Any]:
    server = OllamaServer(ollama.url, MODEL)
    model = ModelReviewer(server, Resources(ConcurrencyLimiter(1, waiting), clock or SystemClock(), LOG, seconds))
    try:
        yield model
    finally:
        await model.close()


@contextlib.asynccontextmanager
async def kept_fit(model: ModelReviewer, every: float = 60.0) -> AsyncIterator[None]:
    keeping = asyncio.ensure_future(model.keep_fit(every))
    await eventually(lambda: "not finished" not in model.self_test.detail)
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_the_request_is_exactly_what_the_server_must_get():
    async with stand_in() as ollama:
        found = await ask(ollama.url)
    (body,) = ollama.questions
    assert body.keys() == {
        "model",
        "messages",
        "stream",
        "think",
        "format",
        "options",
        "keep_alive",
        "truncate",
        "shift",
    }
    assert (body["stream"], body["think"], body["truncate"], body["shift"]) == (False, False, False, False)
    assert (body["format"], body["options"], body["keep_alive"]) == (SCHEMA, OPTIONS, "30m")
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert found.outcome is ReviewOutcome.APPROVE
    assert found.raw_output == GOOD
    assert found.timings == {
        "total_ms": 812.0,
        "load_ms": 31.0,
        "prompt_ms": 410.0,
        "eval_ms": 350.0,
        "prompt_tokens": 306.0,
        "eval_tokens": 14.0,
    }


FAILURES = [
    ("status:404", ReviewOutcome.UNAVAILABLE, "http_404"),
    ("status:400", ReviewOutcome.UNAVAILABLE, "http_400"),
    ("status:500", ReviewOutcome.UNAVAILABLE, "http_500"),
    ("status:302", ReviewOutcome.UNAVAILABLE, "http_302"),
    ("status_html:502", ReviewOutcome.UNAVAILABLE, "http_502"),
    ("status:503", ReviewOutcome.OVERLOADED, "http_503"),
    ("status:429", ReviewOutcome.OVERLOADED, "http_429"),
    ("hang_up", ReviewOutcome.UNAVAILABLE, "RemoteProtocolError"),
    ("silent", ReviewOutcome.TIMEOUT, "deadline"),
    ("drip", ReviewOutcome.TIMEOUT, "deadline"),
    ("cut", ReviewOutcome.INVALID_OUTPUT, "cut"),
    ("cut_but_whole", ReviewOutcome.INVALID_OUTPUT, "cut"),
    ("not_done", ReviewOutcome.INVALID_OUTPUT, "not_done"),
    ("body:<html>login</html>", ReviewOutcome.INVALID_OUTPUT, "body:JSONDecodeError"),
    ("body:", ReviewOutcome.INVALID_OUTPUT, "body:JSONDecodeError"),
    ("body:{}", ReviewOutcome.INVALID_OUTPUT, "body:BadReply"),
    ("body:[]", ReviewOutcome.INVALID_OUTPUT, "body:BadReply"),
    ('body:{"error":"runner died"}', ReviewOutcome.INVALID_OUTPUT, "body:BadReply"),
    # Too deep for a parser, or too short for its brackets: that is the Python's to say.
    ("body:" + "[" * 50_000, ReviewOutcome.INVALID_OUTPUT, ("body:RecursionError", "body:JSONDecodeError")),
    ("say:", ReviewOutcome.INVALID_OUTPUT, "empty"),
    ("say:APPROVE", ReviewOutcome.INVALID_OUTPUT, "not_json"),
    ('say:{"verdict":"YES","reason":"OK"}', ReviewOutcome.INVALID_OUTPUT, "schema"),
    ('say:{"verdict":"APPROVE","reason":"OK","size":500}', ReviewOutcome.INVALID_OUTPUT, "schema"),
]


@pytest.mark.parametrize(("how", "outcome", "error"), FAILURES)
async def test_every_failure_is_its_outcome_and_never_an_approval(how, outcome, error):
    async with stand_in(how=how) as ollama:
        found = await ask(ollama.url, seconds=0.4 if outcome is ReviewOutcome.TIMEOUT else 5.0)
    assert (found.outcome, found.verdict) == (outcome, None)
    assert found.error in ((error,) if isinstance(error, str) else error)


async def test_a_refused_connection_is_unavailable():
    async with stand_in() as ollama:
        pass
    found = await ask(ollama.url)
    assert (found.outcome, found.error) == (ReviewOutcome.UNAVAILABLE, "ConnectError")


async def test_a_redirect_is_not_followed():
    async with stand_in() as elsewhere, stand_in(how=f"redirect:{elsewhere.url}") as ollama:
        found = await ask(ollama.url)
    assert (found.outcome, found.error) == (ReviewOutcome.UNAVAILABLE, "http_307")
    assert elsewhere.requests == []


async def test_output_is_kept_as_a_table_can_hold_it():
    async with stand_in(how="say:\x00\ud800" + "x" * 9000) as ollama:
        found = await ask(ollama.url)
    assert len(found.raw_output) == 4096
    assert "\x00" not in found.raw_output
    found.raw_output.encode()


async def test_cancelling_a_review_is_not_an_answer():
    async with stand_in(how="silent") as ollama, reviewer(ollama) as model:
        asking = asyncio.ensure_future(model.review(QUESTION, 5.0))
        await eventually(lambda: bool(ollama.questions))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        ollama.how = "judge"
        assert (await model.review(QUESTION, 5.0)).outcome is ReviewOutcome.APPROVE


async def test_identity_is_the_digest_and_a_missing_model_says_what_to_do():
    async with stand_in() as ollama:
        server = OllamaServer(ollama.url, MODEL)
        identity = await server.identify(5.0)
        ollama.how = "missing"
        with pytest.raises(ModelMissing, match=f"ollama pull {MODEL}"):
            await server.identify(5.0)
        await server.close()
    assert (identity.digest, identity.server_version) == ("sha256:aaaa", "0.33.3")


async def test_a_sound_model_passes_the_self_test_and_one_that_always_agrees_does_not():
    async with stand_in() as ollama, reviewer(ollama) as model, kept_fit(model):
        assert model.self_test.fit
        assert (model.self_test.calls, model.self_test.valid, model.digest) == (5, 5, "sha256:aaaa")
        load = [body for _, path, body in ollama.requests if path == "/api/chat" and not body["messages"]]
        assert [body["options"] for body in load] == [OPTIONS], "loaded with the options of every later call"
    async with stand_in(how=f"say:{GOOD}") as ollama, reviewer(ollama) as model, kept_fit(model):
        assert not model.self_test.fit
        assert (model.self_test.valid, model.digest) == (5, "")
    async with stand_in(how="cut") as ollama, reviewer(ollama) as model, kept_fit(model):
        assert (model.self_test.fit, model.self_test.calls, model.self_test.valid) == (False, 5, 0)
    async with stand_in(how="missing") as ollama, reviewer(ollama) as model, kept_fit(model):
        assert not model.self_test.fit
        assert "ollama pull" in model.self_test.detail


async def test_an_unfit_model_is_tested_again_and_a_moved_tag_too():
    async with stand_in(how="status:500") as ollama, reviewer(ollama) as model, kept_fit(model, every=0.03):
        assert not model.self_test.fit
        ollama.how = "judge"
        await eventually(lambda: model.self_test.fit)
        asked = len(ollama.questions)
        ollama.digest = "sha256:bbbb"
        await eventually(lambda: model.digest == "sha256:bbbb")
        assert len(ollama.questions) >= asked + 5


async def test_a_model_that_vanishes_or_babbles_loses_its_fitness():
    async with stand_in() as ollama, reviewer(ollama) as model, kept_fit(model):
        ollama.how = "status:404"
        assert (await model.review(QUESTION, 5.0)).outcome is ReviewOutcome.UNAVAILABLE
        assert not model.self_test.fit
    async with stand_in() as ollama, reviewer(ollama) as model, kept_fit(model):
        ollama.how = "say:nonsense"
        for _ in range(10):
            assert model.self_test.fit
            assert (await model.review(QUESTION, 5.0)).outcome is ReviewOutcome.INVALID_OUTPUT
        assert not model.self_test.fit


async def test_an_answer_to_a_cut_prompt_is_none():
    async with stand_in() as ollama, reviewer(ollama) as model, kept_fit(model):
        ollama.how = "short_prompt"
        found = await model.review(QUESTION, 5.0)
    assert found.outcome is ReviewOutcome.INVALID_OUTPUT
    assert found.trace.error == "prompt_cut"


async def test_the_breaker_keeps_a_dead_server_from_being_asked():
    clock = FixedClock(datetime(2025, 1, 1, tzinfo=UTC))
    async with stand_in(how="status:500") as ollama, reviewer(ollama, clock) as model:
        for _ in range(5):
            await model.review(QUESTION, 5.0)
        found = await model.review(QUESTION, 5.0)
        assert (found.outcome, found.trace.error) == (ReviewOutcome.UNAVAILABLE, "breaker_open")
        assert len(ollama.questions) == 5
        ollama.how = "judge"
        clock.advance(31)
        assert (await model.review(QUESTION, 5.0)).outcome is ReviewOutcome.APPROVE


async def test_reviews_wait_for_their_turn_within_bounds():
    async with stand_in(delay=0.1) as ollama, reviewer(ollama, waiting=1) as model:
        found = await asyncio.gather(*(model.review(QUESTION, 5.0) for _ in range(4)))
    assert sorted(review.outcome.value for review in found) == ["APPROVE", "APPROVE", "OVERLOADED", "OVERLOADED"]
    assert ollama.most_at_once == 1


async def test_waiting_counts_against_the_time_of_a_review():
    async with stand_in(how="silent") as ollama, reviewer(ollama, seconds=0.3) as model:
        first, second, none = await asyncio.gather(
            model.review(QUESTION, 5.0), model.review(QUESTION, 0.1), model.review(QUESTION, 0.0)
        )
    assert (first.outcome, first.trace.error) == (ReviewOutcome.TIMEOUT, "deadline")
    assert (second.outcome, second.trace.error) == (ReviewOutcome.TIMEOUT, "no_turn")
    assert (none.outcome, none.trace.error) == (ReviewOutcome.TIMEOUT, "no_time_left")
    assert len(ollama.questions) == 1


@pytest.mark.parametrize(
    "show",
    [
        {},
        {"details": {}, "template": "x"},
        {"capabilities": None, "model_info": None},
        {"capabilities": ["completion", "tools"], "model_info": {"a.context_length": 4096}, "new": [1, {"x": None}]},
    ],
)
async def test_what_older_and_newer_servers_tell_of_a_model_is_enough(show):
    async with stand_in(show=show) as ollama:
        server = OllamaServer(ollama.url, MODEL)
        assert (await server.identify(5.0)).digest == "sha256:aaaa"
        ollama.show = {"capabilities": ["embedding"]}
        with pytest.raises(ModelMissing, match="cannot chat"):
            await server.identify(5.0)
        await server.close()


async def test_a_reply_without_end_is_given_up():
    async with stand_in(how="body:" + " " * 5_000_000) as ollama:
        found = await ask(ollama.url)
    assert (found.outcome, found.error) == (ReviewOutcome.INVALID_OUTPUT, "body:BadReply")
