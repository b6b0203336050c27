"""The model's answers: what counts as one, how failures are counted, and what is asked."""

from __future__ import annotations

import asyncio
import json
import math

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svc_validator.answer import ModelVerdict, NotAnAnswer, parse_answer
from svc_validator.breaker import Breaker, ValidityWatch
from svc_validator.concurrency_limiter import ConcurrencyLimiter, Full
from svc_validator.decision import Plan, decide, plan
from svc_validator.prompt import MODEL_REASONS, SCHEMA, prompt_version, render
from svc_validator.review import RULES, Review
from svc_validator.rules import RANGES
from svc_validator.self_test import CASES, judge
from svc_validator.settings import OnFailure, ValidatorSettings
from tests.validator.validator_cases import CALM
from tradekit.states import ReviewMode, ReviewOutcome, ReviewVerdict, Venue


def answered(content: str) -> ModelVerdict:
    return parse_answer(content, done=True, done_reason="stop")


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_the_two_kinds_of_answer():
    assert answered(' {"reason": "OK", "verdict": "APPROVE"}\n') == ModelVerdict(ReviewVerdict.APPROVE, "OK")
    assert answered('{"verdict":"REJECT","reason":"EDGE"}').verdict is ReviewVerdict.REJECT


@pytest.mark.parametrize(
    "content",
    [
        "",
        "APPROVE",
        '"APPROVE"',
        "null",
        "[]",
        '{"verdict":"APPROVE"}',
        '{"verdict":"approve","reason":"OK"}',
        '{"verdict":"APPROVE","reason":"FINE"}',
        '{"verdict":"APPROVE","reason":"OK","note":"x"}',
        '{"verdict":["APPROVE"],"reason":"OK"}',
        '{"verdict":"APPROVE","reason":{"a":1}}',
        '{"verdict":"APPROVE","reason":"EDGE"}',
        '{"verdict":"REJECT","reason":"OK"}',
        '{"verdict":"REJECT","verdict":"APPROVE","reason":"OK"}',
        '```json\n{"verdict":"APPROVE","reason":"OK"}\n```',
        'Sure! {"verdict":"APPROVE","reason":"OK"}',
        '{"verdict":"APPROVE","reason":"OK"} {"verdict":"REJECT","reason":"EDGE"}',
        "[" * 100_000,
    ],
)
def test_anything_else_is_no_answer(content):
    with pytest.raises(NotAnAnswer):
        answered(content)


@pytest.mark.parametrize(("done", "reason"), [(True, "length"), (True, None), (False, "stop"), (None, "stop")])
def test_an_answer_that_is_not_finished_is_none(done, reason):
    with pytest.raises(NotAnAnswer):
        parse_answer('{"verdict":"APPROVE","reason":"OK"}', done=done, done_reason=reason)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["APPROVE", "REJECT", *MODEL_REASONS]) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["verdict", "reason"]) | st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(ANY_JSON)
def test_what_is_accepted_satisfies_the_schema_sent_to_the_model(value):
    try:
        answered(json.dumps(value))
    except NotAnAnswer:
        return
    jsonschema.validate(value, SCHEMA)


# ---- the prompt ------------------------------------------------------------------------------------------------------


def test_the_prompt_is_fixed_text_and_rounded_numbers():
    prompt = render(CALM)
    assert "Return over 24 bars: 1.5 %" in prompt.user
    assert "Relative strength index, 14 bars: 58 of 100" in prompt.user
    assert "Volume against its 24-bar mean: 1.2 x" in prompt.user
    assert render({**CALM, "ret_24": 0.01501}) == prompt
    assert render({**CALM, "ret_24": 0.025}).sha256 != prompt.sha256
    assert render({**CALM, "ret_1": -0.00001}).user == render({**CALM, "ret_1": 0.00001}).user
    assert len((prompt.system + prompt.user).split()) < 400
    assert prompt_version() == prompt_version()


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({name: st.floats(low, high) for name, (low, high) in RANGES.items()}))
def test_every_input_that_the_rules_accept_can_be_asked_about(figures):
    user = render(figures).user
    assert not any(word in user for word in ("nan", "inf", "e+"))
    assert len(user) < 1500


# ---- breaker, validity, turns ----------------------------------------------------------------------------------------


def test_five_failures_open_the_breaker_and_one_probe_decides():
    breaker = Breaker()
    for second in range(5):
        assert breaker.allow(second)
        breaker.failed(second)
    assert not breaker.allow(5)
    assert not breaker.allow(33.9)
    assert breaker.allow(34)
    assert not breaker.allow(34), "one probe at a time"
    breaker.failed(35)
    assert not breaker.allow(64)
    assert breaker.allow(65)
    breaker.succeeded()
    assert breaker.allow(66)
    assert breaker.allow(66)


def test_old_failures_and_abandoned_probes_do_not_count():
    breaker = Breaker()
    for second in (0, 10, 20, 30, 60.0):
        breaker.failed(second)
    assert breaker.allow(61), "the first failure has left the window"
    breaker.failed(62)
    assert not breaker.allow(63)
    assert breaker.allow(92)
    breaker.abandoned()
    assert breaker.allow(93)


def test_a_fifth_of_the_last_fifty_answers_makes_a_model_unfit():
    watch = ValidityWatch()
    assert [watch.note(True) for _ in range(10)] == [False] * 9 + [True]
    watch.reset()
    notes = [watch.note(number % 6 == 0) for number in range(300)]
    assert not any(notes)


async def test_the_limiter_bounds_who_is_inside_and_who_waits():
    limiter, release, inside = ConcurrencyLimiter(2, 1), asyncio.Event(), 0

    async def visit() -> None:
        nonlocal inside
        async with limiter.turn():
            inside += 1
            await release.wait()

    visitors = [asyncio.ensure_future(visit()) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert inside == 2
    with pytest.raises(Full):
        await visit()
    visitors[2].cancel()
    await asyncio.sleep(0)
    visitors.append(asyncio.ensure_future(visit()))
    release.set()
    await asyncio.gather(*visitors, return_exceptions=True)
    assert inside == 3
    async with limiter.turn():
        pass


# ---- who decides -----------------------------------------------------------------------------------------------------


def made(reviewer: str, outcome: ReviewOutcome) -> Review:
    return Review(reviewer, outcome, (), 0.0)


@given(st.sampled_from(ReviewOutcome), st.none() | st.sampled_from(ReviewOutcome), st.sampled_from(OnFailure))
def test_an_approval_needs_the_rules_and_never_comes_from_a_failure(rules_outcome, model_outcome, on_failure):
    model = None if model_outcome is None else made("ollama", model_outcome)
    verdict, by = decide(made(RULES, rules_outcome), model, on_failure)
    if verdict is ReviewVerdict.APPROVE:
        assert rules_outcome is ReviewOutcome.APPROVE
        assert model_outcome is not ReviewOutcome.REJECT
        assert by is RULES or model_outcome is ReviewOutcome.APPROVE
    if model_outcome not in (None, ReviewOutcome.APPROVE) and on_failure is OnFailure.REJECT:
        assert verdict is ReviewVerdict.REJECT
    if model is None or rules_outcome is not ReviewOutcome.APPROVE:
        assert by is RULES


@given(st.sampled_from(ReviewMode), st.sampled_from(Venue), st.sampled_from(OnFailure), st.booleans(), st.booleans())
def test_an_unfit_model_never_may_veto_and_only_real_money_is_refused(mode, venue, on_failure, configured, fit):
    chosen = plan(mode, venue, on_failure, configured=configured, fit=fit)
    assert (chosen is Plan.MODEL_MAY_VETO) == (mode is ReviewMode.VETO and configured and fit)
    if chosen is Plan.REFUSE:
        assert venue is Venue.LIVE
        assert on_failure is OnFailure.REJECT
    if mode is ReviewMode.VETO and venue is Venue.LIVE and not (configured and fit):
        assert (chosen is Plan.REFUSE) == (on_failure is OnFailure.REJECT)


def test_a_model_is_fit_only_if_it_tells_good_from_bad_five_times():
    right = [ModelVerdict(case.expected, "OK") for case in CASES]
    assert judge(right).fit
    wrong = {ReviewVerdict.APPROVE: ReviewVerdict.REJECT, ReviewVerdict.REJECT: ReviewVerdict.APPROVE}
    for place in range(5):
        turned = [*right]
        turned[place] = ModelVerdict(wrong[right[place].verdict], "OK")
        silent = [*right]
        silent[place] = "deadline"
        assert not judge(turned).fit
        assert not judge(silent).fit
        assert judge(silent).valid == 4


def test_settings_refuse_what_cannot_be_meant():
    assert ValidatorSettings(ollama_host="127.0.0.1:11434", llm_mode="shadow").llm_mode is ReviewMode.SHADOW
    for bad in ({"llm_on_failure": "approve"}, {"llm_deadline_ms": 0}, {"ollama_host": "ftp://x"}, {"llm_mode": "on"}):
        with pytest.raises(ValueError):
            ValidatorSettings(**bad)
    assert math.isclose(ValidatorSettings().llm_deadline_ms, 8000)
