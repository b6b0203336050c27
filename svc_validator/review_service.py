"""The story of one review: is it what is stored, seen before, still alive? What do the rules say, and the model?

What is stored is looked up by one statement and the verdict stored by another, those of requests that come together at once.
No transaction is open while a model thinks; the last statement locks the ids, so that two askers get one verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from meshkit import deadline
from meshkit.batch import Batches
from meshkit.errors import RequestIdReused
from meshkit.kit import Kit
from meshkit.telemetry import trace_id
from schema.recommendation_terms import matching
from schema.requests import RequestKey, request_key
from svc_validator import store
from svc_validator.decision import Plan, decide, plan
from svc_validator.review import ModelTrace, Review, Validation
from svc_validator.reviewers.reviewer import OutsideReviewer, Question, Reviewer
from svc_validator.reviewers.table import OUTSIDE_REVIEWERS
from svc_validator.settings import ValidatorSettings
from svc_validator.shadow import Shadow, ShadowJob
from svc_validator.wire import ReviewRequest
from tradekit.life import Life
from tradekit.reasons import Reason
from tradekit.recommendation import Recommendation
from tradekit.states import ReviewOutcome

# Kept back from a caller's deadline for storing the verdict.
_STORE_SECONDS = 0.5
_METHOD = "ValidateRecommendation"
LARGEST_BATCH = 100


async def keep_opinion(kit: Kit[ValidatorSettings], request: ReviewRequest, opinion: Review, trace: str) -> None:
    """Stores a watching model's review beside the decided one."""
    async with kit.engine.begin() as connection:
        await store.insert_opinion(connection, request.recommendation, request.terms, opinion, trace)


class ReviewService:
    """Reviews requests. `model` and `shadow` are None where no outside reviewer is configured."""

    def __init__(
        self, kit: Kit[ValidatorSettings], rules: Reviewer, model: OutsideReviewer | None, shadow: Shadow | None
    ) -> None:
        self._kit = kit
        self._settings = kit.settings
        self._model = model
        self._rules_reviewer = rules
        self._shadow = shadow
        self._of_looks, self._of_verdicts = kit.dedicated(), kit.dedicated()
        self._looks: Batches[store.Asked, store.Look] = Batches(self._look_at, LARGEST_BATCH)
        self._verdicts: Batches[store.Verdict, Validation] = Batches(self._store_all, LARGEST_BATCH)

    def plan(self) -> Plan:
        """Who decides now."""
        return plan(
            self._settings.llm_mode,
            self._settings.venue,
            self._settings.llm_on_failure,
            configured=self._model is not None,
            fit=self._model is not None and self._model.self_test.fit,
        )

    async def validate(self, request: ReviewRequest) -> Validation:
        """The stored review of the recommendation; made now if there is none. Only what is stored is reviewed."""
        key = self._key(request)
        found = await self._looks.submit(store.Asked(key, request.recommendation.recommendation_id))
        if found.body not in (None, key.body):
            raise RequestIdReused(key.request_id)
        matching(found.terms, request.recommendation)
        if found.validation is not None:
            return found.validation
        life = request.recommendation.life_at(found.clocks.machine, found.clocks.market)
        life.require_known()
        ends_at = self._kit.clock.monotonic() + life.seconds_left
        rules = await self._rules(request.recommendation, life)
        chosen = self.plan()
        if rules.outcome is not ReviewOutcome.APPROVE:
            return await self._store(request, [rules], None)
        if chosen is Plan.REFUSE:
            return await self._store(request, [rules, self._refusal(rules)], 1)
        if request.recommendation.evidence is None:
            # An operator's recommendation has no figures that could be put to a model.
            return await self._store(request, [rules], None)
        if chosen is Plan.MODEL_MAY_VETO and self._model is not None:
            question = Question(request.recommendation, rules.inputs)
            model = await self._model.review(question, min(life.seconds_left, self._call_seconds()))
            return await self._store(request, [rules, model], 1)
        if chosen is Plan.MODEL_WATCHES and self._model is not None and self._shadow is not None:
            return await self._watched(request, rules, ends_at, self._model, self._shadow)
        return await self._store(request, [rules], None)

    async def _look_at(self, asked: Sequence[store.Asked]) -> list[store.Look]:
        async with self._of_looks.autocommit() as connection:
            return await store.look(connection, self._settings.service_name, asked)

    def _key(self, request: ReviewRequest) -> RequestKey:
        return request_key(self._settings.service_name, _METHOD, request.request_id, request.terms)

    async def _rules(self, recommendation: Recommendation, life: Life) -> Review:
        found = await self._rules_reviewer.review(Question(recommendation, {}), life.seconds_left)
        if not life.is_over:
            return found
        now = life.now.isoformat() if life.now else ""
        over = Reason("LIFE_OVER", recommendation.expire_time.isoformat(), now, "", "request")
        return replace(found, outcome=ReviewOutcome.EXPIRED, reasons=(over,))

    def _refusal(self, rules: Review) -> Review:
        """With real money and no fit model the entry is refused in the model's name, because it had to be asked."""
        reason = Reason("REVIEWER_UNFIT", scope="model")
        if self._model is None:
            first = OUTSIDE_REVIEWERS[0]
            label, trace = first.label, ModelTrace(first.model_named(self._settings), error="not_configured")
        else:
            label, trace = self._model.label, ModelTrace(self._model.model, error="unfit")
        return Review(label, ReviewOutcome.UNAVAILABLE, (reason,), 0.0, rules.inputs, trace)

    async def _watched(
        self, request: ReviewRequest, rules: Review, ends_at: float, model: OutsideReviewer, shadow: Shadow
    ) -> Validation:
        question = Question(request.recommendation, rules.inputs)
        if not shadow.reserve():
            skipped = model.skipped(question, ReviewOutcome.SKIPPED_CAPACITY, "queue_full")
            return await self._store(request, [rules, skipped], None)
        submitted = False
        try:
            decided = await self._store(request, [rules], None)
            if len(decided.reviews) == 1:
                shadow.submit(ShadowJob(request, question, ends_at, trace_id() or ""))
                submitted = True
        finally:
            if not submitted:
                shadow.release()
        return decided

    def _call_seconds(self) -> float:
        left = deadline.remaining()
        return math.inf if left is None else left - _STORE_SECONDS

    async def _store(self, request: ReviewRequest, reviews: list[Review], asked: int | None) -> Validation:
        """Stores the verdict, unless another asker was first; `asked` is the place of the model that may veto."""
        model = None if asked is None else reviews[asked]
        verdict, by = decide(reviews[0], model, self._settings.llm_on_failure)
        marked = [replace(review, enforced=verdict if review.reviewer is by else None) for review in reviews]
        made = store.Verdict(
            key=self._key(request),
            recommendation=request.recommendation,
            request_hash=request.terms,
            mode=self._settings.llm_mode,
            reviews=tuple(marked),
            trace_id=trace_id() or "",
        )
        return await self._verdicts.submit(made)

    async def _store_all(self, verdicts: Sequence[store.Verdict]) -> list[Validation | Exception]:
        # One statement: a transaction of its own, as every one of `autocommit` is.
        async with self._of_verdicts.autocommit() as connection:
            found = await store.store_verdicts(connection, self._settings.service_name, _METHOD, verdicts)
        return [_stored(verdict, *one) for verdict, one in zip(verdicts, found, strict=True)]


def _stored(verdict: store.Verdict, body: str, validation: Validation | None) -> Validation | Exception:
    if body != verdict.key.body:
        return RequestIdReused(verdict.key.request_id)
    return validation or RuntimeError("a review that was just stored is not there")
