"""A review by the rules is one look and one verdict: two statements for one recommendation, and for many that come together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from meshkit.errors import MeshError, NotFound, RequestIdReused
from meshkit.identity import Caller, set_caller
from meshkit.kit import Kit
from svc_validator.review_service import ReviewService
from svc_validator.reviewers.rules import RulesReviewer
from svc_validator.rules import Limits
from svc_validator.settings import ValidatorSettings
from svc_validator.wire import ReviewRequest
from tests.support.statements import statements
from tests.support.stored import store_recommendation
from tests.validator.validator_cases import entry
from tests.validator.validator_ollama import MODEL, stand_in
from tests.validator.validator_world import ask, request_of, rows, until_fit, validator
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.states import ReviewVerdict

TOGETHER = 20


def review_request(recommendation: Recommendation, request_id: UUID | None = None) -> ReviewRequest:
    return ReviewRequest(request_id or uuid4(), recommendation, terms_hash(recommendation))


@contextlib.asynccontextmanager
async def review_service(database: Any) -> AsyncIterator[ReviewService]:
    """With the rules alone, called by the operator."""
    settings = ValidatorSettings(port=0, **database.settings_of("validator"), ollama_host=None, db_pool_size=2)
    kit: Kit[ValidatorSettings] = Kit(settings)
    set_caller(Caller("operator"))
    try:
        rules = RulesReviewer(Limits(), frozenset(settings.products), kit.clock)
        yield ReviewService(kit, rules, None, None)
    finally:
        await kit.close()


async def stored_entries(database: Any, count: int) -> list[Recommendation]:
    return [await store_recommendation(database.engine, entry()) for _ in range(count)]


async def test_a_review_by_the_rules_is_two_statements(database):
    (recommendation,) = await stored_entries(database, 1)
    async with validator(database) as stub:
        with statements(database.engine) as sent:
            answer = await stub.ValidateRecommendation(request_of(recommendation), timeout=10)
        assert answer.validation.decided_by == "rules"
        assert (sent.total, sent.transactions) == (2, 2), sent.statements
        with statements(database.engine) as sent:
            again = await stub.ValidateRecommendation(request_of(recommendation), timeout=10)
    assert (sent.total, sent.transactions) == (1, 1), sent.statements
    assert again == answer


async def test_many_reviews_are_two_statements_too(database):
    wanted = await stored_entries(database, TOGETHER)
    async with review_service(database) as service:
        with statements(database.engine) as sent:
            found = await asyncio.gather(*(service.validate(review_request(one)) for one in wanted))
    assert (sent.total, sent.transactions) == (2, 2), sent.statements
    assert [one.recommendation_id for one in found] == [one.recommendation_id for one in wanted]
    stored = await rows(database)
    assert [row.recommendation_id for row in stored] == [one.recommendation_id for one in wanted]
    assert [row.request_hash for row in stored] == [terms_hash(one) for one in wanted]


async def test_each_of_many_is_answered_as_if_it_had_come_alone(database):
    """Refused ones among good ones, one that is asked for twice, another body under one id."""
    first, second, third = await stored_entries(database, 3)
    used = uuid4()
    async with review_service(database) as service:
        found = await asyncio.gather(
            *(
                service.validate(one)
                for one in (
                    review_request(first),
                    review_request(first),
                    review_request(entry()),
                    review_request(second, used),
                    review_request(third, used),
                    review_request(entry(recommendation_id=first.recommendation_id)),
                )
            ),
            return_exceptions=True,
        )
        with pytest.raises(RequestIdReused):
            await service.validate(review_request(third, used))
        again = await service.validate(review_request(first))
    assert found[0] == found[1] == again
    assert isinstance(found[2], NotFound)
    assert found[3].verdict is ReviewVerdict.APPROVE
    assert isinstance(found[4], RequestIdReused)
    assert isinstance(found[5], MeshError) and found[5].reason == "TERMS_DIFFER"
    assert [row.recommendation_id for row in await rows(database)] == [
        first.recommendation_id,
        second.recommendation_id,
    ]


async def test_two_validators_never_wait_for_each_other_and_give_one_verdict(database):
    """Both are asked the same, in opposite orders, under ids of their own and under the same ids."""
    async with review_service(database) as one, review_service(database) as other:
        for same_ids in (False, True, False, True):
            wanted = [review_request(each) for each in await stored_entries(database, 8)]
            asked_there = wanted if same_ids else [review_request(each.recommendation) for each in wanted]
            here = asyncio.gather(*(one.validate(each) for each in wanted))
            there = asyncio.gather(*(other.validate(each) for each in reversed(asked_there)))
            found, reverse = await asyncio.gather(here, there)
            assert found == list(reversed(reverse))
    assert len(await rows(database)) == 32


async def test_a_model_thinks_between_two_statements(database):
    async with stand_in() as ollama, validator(database, ollama_host=ollama.url, ollama_model=MODEL) as stub:
        await until_fit(stub)
        (recommendation,) = await stored_entries(database, 1)
        with statements(database.engine) as sent:
            answer = (await stub.ValidateRecommendation(request_of(recommendation), timeout=10)).validation
        assert (sent.total, sent.transactions) == (2, 2), sent.statements
        assert await ask(stub, recommendation) == answer
    assert [review.reviewer for review in answer.reviews] == ["rules", "ollama"]
    assert [row.reviewer for row in await rows(database)] == ["rules", "ollama"]
