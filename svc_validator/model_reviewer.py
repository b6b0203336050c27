"""A language model as a reviewer: its fitness, its turn, its breaker, and its answer as a Review.

`keep_fit` alone makes a model fit: it loads it, asks the five questions, and looks again every few minutes. Fitness is
lost at once when the digest moves, the model is gone, or too many answers are none.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from svc_validator.breaker import Breaker, ValidityWatch
from svc_validator.concurrency_limiter import Full
from svc_validator.prompt import OPTIONS, Prompt, prompt_version, render
from svc_validator.review import ModelTrace, Review
from svc_validator.reviewers.model_server import Answer, Identity, ModelMissing, ModelServer
from svc_validator.reviewers.reviewer import Question, Resources
from svc_validator.rules import Inputs
from svc_validator.self_test import CASES, SelfTest, judge
from tradekit.reasons import Reason
from tradekit.states import ReviewOutcome

LOAD_SECONDS = 120.0
IDENTIFY_SECONDS = 5.0
# A prompt this much shorter than those of the self-test was cut by the server.
_LEAST_PROMPT_SHARE = 0.8
_SERVER_FAILURES = (ReviewOutcome.TIMEOUT, ReviewOutcome.UNAVAILABLE, ReviewOutcome.OVERLOADED)
_OPINIONS = (ReviewOutcome.APPROVE, ReviewOutcome.REJECT)


class ModelReviewer:
    """One model on one server, as an outside reviewer."""

    def __init__(self, server: ModelServer, resources: Resources) -> None:
        self._server = server
        self._limiter = resources.limiter
        self._clock = resources.clock
        self._log = resources.log
        self._seconds = resources.seconds
        self._breaker = Breaker()
        self._validity = ValidityWatch()
        self._identity = Identity("", "")
        self._prompt_tokens = 0.0
        self.self_test = SelfTest(0, 0, False, "the self-test has not finished yet")

    @property
    def label(self) -> str:
        return self._server.label

    @property
    def model(self) -> str:
        return self._server.model

    @property
    def fit(self) -> bool:
        return self.self_test.fit

    @property
    def digest(self) -> str:
        """Digest of the model that passed the self-test; empty if none did."""
        return self._identity.digest if self.fit else ""

    async def review(self, question: Question, seconds: float) -> Review:
        """The model's review within `seconds` and its own limit, waiting for a turn included."""
        began = self._clock.monotonic()
        prompt = render(question.inputs)
        answer = self._whole(await self._guarded(prompt, min(seconds, self._seconds), began))
        self._note(answer)
        return self._review(question.inputs, prompt, answer, (self._clock.monotonic() - began) * 1000)

    def skipped(self, question: Question, outcome: ReviewOutcome, error: str) -> Review:
        """The review of a question that was never put."""
        return self._review(question.inputs, render(question.inputs), Answer(outcome, error=error), 0.0)

    async def keep_fit(self, every_seconds: float) -> None:
        """Every `every_seconds`: tests the model while it is unfit, and watches its digest while it is fit."""
        while True:
            if not self.fit:
                await self._test()
            else:
                await self._check_identity()
            await asyncio.sleep(every_seconds)

    async def close(self) -> None:
        await self._server.close()

    async def _guarded(self, prompt: Prompt, seconds: float, began: float) -> Answer:
        if seconds <= 0:
            return Answer(ReviewOutcome.TIMEOUT, error="no_time_left")
        if not self._breaker.allow(began):
            return Answer(ReviewOutcome.UNAVAILABLE, error="breaker_open")
        asked = False
        try:
            async with asyncio.timeout(seconds), self._limiter.turn():
                waited = self._clock.monotonic() - began
                asked = True
                answer = await self._server.ask(prompt, seconds - waited)
        except Full:
            answer = Answer(ReviewOutcome.OVERLOADED, error="queue_full")
        except TimeoutError:
            answer = Answer(ReviewOutcome.TIMEOUT, error="deadline" if asked else "no_turn")
        except asyncio.CancelledError:
            self._breaker.abandoned()
            raise
        if not asked:
            self._breaker.abandoned()
            return answer
        self._count(answer)
        return replace(answer, timings={"queue_ms": waited * 1000, **answer.timings})

    def _count(self, answer: Answer) -> None:
        if answer.outcome in _SERVER_FAILURES:
            self._breaker.failed(self._clock.monotonic())
        else:
            self._breaker.succeeded()

    def _note(self, answer: Answer) -> None:
        """Loses fitness where the answer shows that the model, not the moment, is wrong."""
        if answer.permanent:
            self._lose_fitness(f"the server refuses the request ({answer.error}): {answer.raw_output[:200]}")
        judged = answer.outcome in _OPINIONS or answer.outcome is ReviewOutcome.INVALID_OUTPUT
        if judged and self._validity.note(answer.outcome is ReviewOutcome.INVALID_OUTPUT):
            self._lose_fitness("too many of its last answers broke the schema")

    def _review(self, inputs: Inputs, prompt: Prompt, answer: Answer, latency_ms: float) -> Review:
        trace = ModelTrace(
            model=self._server.model,
            model_digest=self._identity.digest,
            server_version=self._identity.server_version,
            prompt_version=prompt_version(),
            prompt_sha256=prompt.sha256,
            options=OPTIONS,
            raw_output=answer.raw_output,
            timings=answer.timings,
            error=answer.error,
        )
        return Review(self.label, answer.outcome, _reasons(answer), latency_ms, inputs, trace)

    def _whole(self, answer: Answer) -> Answer:
        """An answer to a cut prompt is an answer to another question."""
        tokens = answer.timings.get("prompt_tokens")
        cut = tokens is not None and 0 < tokens < _LEAST_PROMPT_SHARE * self._prompt_tokens
        if answer.outcome not in _OPINIONS or not cut:
            return answer
        return replace(answer, outcome=ReviewOutcome.INVALID_OUTPUT, verdict=None, error="prompt_cut")

    async def _test(self) -> None:
        """Identity, load, five questions; `result` carries every failure, none leaves here."""
        faults: tuple[type[Exception], ...] = (*self._server.faults, ModelMissing, Full)
        try:
            self._identity = await self._server.identify(IDENTIFY_SECONDS)
            async with self._limiter.turn():
                await self._server.load(LOAD_SECONDS)
            answers = [await self._ask_case(case.inputs) for case in CASES]
        except faults as e:
            self.self_test = SelfTest(0, 0, False, f"{type(e).__name__}: {e}"[:500])
        else:
            self._prompt_tokens = min(answer.timings.get("prompt_tokens", 0.0) for answer in answers)
            self.self_test = judge([answer.verdict or answer.error for answer in answers])
        if self.fit:
            self._breaker.succeeded()
            self._validity.reset()
        self._log.info("reviewer_self_test", model=self.model, fit=self.fit, detail=self.self_test.detail)

    async def _ask_case(self, inputs: Mapping[str, float]) -> Answer:
        async with self._limiter.turn():
            return await self._server.ask(render(inputs), self._seconds)

    async def _check_identity(self) -> None:
        """A tag that now means another model must pass again; a server that is away is the breaker's matter."""
        try:
            found = await self._server.identify(IDENTIFY_SECONDS)
        except ModelMissing as error:
            self._lose_fitness(str(error))
        except self._server.faults:
            return
        else:
            if found.digest != self._identity.digest:
                self._lose_fitness("the model behind the tag has changed")
                await self._test()

    def _lose_fitness(self, detail: str) -> None:
        if self.fit:
            self._log.warning("reviewer_unfit", model=self.model, detail=detail)
            self.self_test = replace(self.self_test, fit=False, detail=detail)


def _reasons(answer: Answer) -> tuple[Reason, ...]:
    """The model's word as a closed code, or why there is none."""
    if answer.verdict is not None and answer.outcome is ReviewOutcome.REJECT:
        return (Reason(f"MODEL_{answer.verdict.reason}", scope="model"),)
    if answer.outcome in _OPINIONS:
        return ()
    return (Reason("REVIEWER_FAILED", observed=answer.outcome.value, scope="model"),)
