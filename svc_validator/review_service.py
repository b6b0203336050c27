"""The story of one review: is it what is stored, seen before, still alive? What do the rules say, and the model?

No transaction is open while a model thinks; the last one locks the ids, so that two askers get one verdict.
"""

import math
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import deadline
from meshkit.kit import Kit
from meshkit.telemetry import trace_id
from schema import streams
from schema.clocks import read_clocks
from schema.recommendation_terms import require_terms
from schema.requests import RequestKey, claim, is_known, request_key
from svc_validator import store
from svc_validator.decision import Plan, decide, plan
from svc_validator.model_reviewer import ModelReviewer
from svc_validator.review import ModelTrace, Review, Reviewer, Validation
from svc_validator.rules import Limits, RulesReview
from svc_validator.rules import review as review_by_rules
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


async def keep_opinion(kit: Kit[ValidatorSettings], request: ReviewRequest, opinion: Review, trace: str) -> None:
    """Stores a watching model's review beside the decided one."""
    async with kit.engine.begin() as connection:
        await store.insert_opinion(connection, request.recommendation, request.terms, opinion, trace)


class ReviewService:
    """Reviews requests. `model` and `shadow` are None where no model is configured."""

    def __init__(
        self, kit: Kit[ValidatorSettings], model: ModelReviewer | None, shadow: Shadow | None, limits: Limits
    ) -> None:
        self._kit = kit
        self._settings = kit.settings
        self._model = model
        self._shadow = shadow
        self._limits = limits
        self._products = frozenset(kit.settings.products)

    def plan(self) -> Plan:
        """Who decides now."""
        return plan(
            self._settings.llm_mode,
            self._settings.venue,
            self._settings.llm_on_failure,
            configured=self._model is not None,
            fit=self._model is not None and self._model.fit,
        )

    async def validate(self, request: ReviewRequest) -> Validation:
        """The stored review of the recommendation; made now if there is none. Only what is stored is reviewed."""
        async with self._kit.engine.connect() as connection:
            stored = await self._stored(connection, request)
            await require_terms(connection, request.recommendation)
            clocks = await read_clocks(connection)
        if stored is not None:
            return stored
        life = request.recommendation.life_at(clocks.machine, clocks.market)
        life.require_known()
        ends_at = self._kit.clock.monotonic() + life.seconds_left
        rules = self._rules(request.recommendation, life)
        chosen = self.plan()
        if rules.outcome is not ReviewOutcome.APPROVE:
            return await self._store(request, [rules], None)
        if chosen is Plan.REFUSE:
            return await self._store(request, [rules, self._refusal(rules)], 1)
        if request.recommendation.evidence is None:
            # An operator's idea has no figures that could be put to a model.
            return await self._store(request, [rules], None)
        if chosen is Plan.MODEL_MAY_VETO and self._model is not None:
            model = await self._model.review(rules.inputs, min(life.seconds_left, self._call_seconds()))
            return await self._store(request, [rules, model], 1)
        if chosen is Plan.MODEL_WATCHES and self._model is not None and self._shadow is not None:
            return await self._watched(request, rules, ends_at, self._model, self._shadow)
        return await self._store(request, [rules], None)

    async def _stored(self, connection: AsyncConnection, request: ReviewRequest) -> Validation | None:
        """The review there is; RequestIdReused if request_id stands for another body."""
        await is_known(connection, self._key(request))
        return await store.find_validation(connection, request.recommendation.recommendation_id)

    def _key(self, request: ReviewRequest) -> RequestKey:
        return request_key(self._settings.service_name, _METHOD, request.request_id, request.terms)

    def _rules(self, recommendation: Recommendation, life: Life) -> Review:
        began = self._kit.clock.monotonic()
        found = review_by_rules(recommendation, self._limits, self._products)
        if life.is_over:
            now = life.now.isoformat() if life.now else ""
            over = Reason("LIFE_OVER", recommendation.expire_time.isoformat(), now, "", "request")
            found = RulesReview(ReviewOutcome.EXPIRED, (over,), found.inputs)
        spent = (self._kit.clock.monotonic() - began) * 1000
        return Review(Reviewer.RULES, found.outcome, found.reasons, spent, found.inputs)

    def _refusal(self, rules: Review) -> Review:
        """With real money and no fit model the entry is refused in the model's name, because it had to be asked."""
        reason = Reason("REVIEWER_UNFIT", scope="model")
        if self._model is None:
            trace = ModelTrace(self._settings.ollama_model, error="not_configured")
            return Review(Reviewer.OLLAMA, ReviewOutcome.UNAVAILABLE, (reason,), 0.0, rules.inputs, trace)
        trace = ModelTrace(self._model.model, error="unfit")
        return Review(Reviewer.OLLAMA, ReviewOutcome.UNAVAILABLE, (reason,), 0.0, rules.inputs, trace)

    async def _watched(
        self, request: ReviewRequest, rules: Review, ends_at: float, model: ModelReviewer, shadow: Shadow
    ) -> Validation:
        if not shadow.reserve():
            skipped = model.skipped(rules.inputs, ReviewOutcome.SKIPPED_CAPACITY, "queue_full")
            return await self._store(request, [rules, skipped], None)
        submitted = False
        try:
            decided = await self._store(request, [rules], None)
            if len(decided.reviews) == 1:
                shadow.submit(ShadowJob(request, rules.inputs, ends_at, trace_id() or ""))
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
        async with self._kit.engine.begin() as connection:
            await connection.execute(select(streams.record_lock(request.recommendation.recommendation_id)))
            await claim(connection, self._key(request))
            earlier = await self._stored(connection, request)
            if earlier is not None:
                return earlier
            await store.insert_reviews(
                connection,
                request.recommendation,
                request.terms,
                self._settings.llm_mode,
                marked,
                trace_id() or "",
            )
            stored = await self._stored(connection, request)
        if stored is None:
            raise RuntimeError("a review that was just stored is not there")
        return stored
