"""A reviewer that is no language model: one line of the table, and its veto is enforced, stored and shown as its own."""

import asyncio
from typing import Any

import pytest

from svc_validator.review import ModelTrace, Review
from svc_validator.reviewers import table
from svc_validator.reviewers.reviewer import OutsideReviewer, Question, Resources
from svc_validator.self_test import SelfTest
from tests.validator.validator_cases import entry
from tests.validator.validator_world import ask, rows, validator
from tradekit.reasons import Reason
from tradekit.settings import TradingSettings
from tradekit.states import ReviewOutcome
from trading.validator.v1 import validator_service_pb2 as pb


class Committee:
    """Lets everything pass but the products it dislikes."""

    label = "committee"
    model = "three of five"
    digest = "minutes"
    self_test = SelfTest(3, 3, True, "")

    def __init__(self, dislikes: str) -> None:
        self.dislikes = dislikes
        self.asked: list[Question] = []
        self.closed = False

    async def review(self, question: Question, seconds: float) -> Review:
        self.asked.append(question)
        if question.recommendation.product_id != self.dislikes:
            return Review(
                self.label, ReviewOutcome.APPROVE, (), 1.0, question.inputs, ModelTrace(self.model, self.digest)
            )
        return Review(self.label, ReviewOutcome.REJECT, (Reason("DISLIKED", scope="model"),), 1.0, question.inputs)

    def skipped(self, question: Question, outcome: ReviewOutcome, error: str) -> Review:
        return Review(self.label, outcome, (Reason(error, scope="model"),), 0.0, question.inputs)

    async def keep_fit(self, every_seconds: float) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True


async def test_a_line_of_the_table_is_a_reviewer_with_a_veto(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    committee = Committee(dislikes="ETH-USD")

    def make(settings: TradingSettings, resources: Resources) -> OutsideReviewer:
        return committee

    candidate = table.Candidate("committee", TradingSettings, "elect one", lambda _: committee.model, make)
    monkeypatch.setattr(table, "OUTSIDE_REVIEWERS", (candidate, *table.OUTSIDE_REVIEWERS))
    async with validator(database) as stub:
        told = await stub.GetReviewer(pb.GetReviewerRequest())
        assert (told.reviewer, told.model, told.model_digest, told.fit) == (
            "committee",
            "three of five",
            "minutes",
            True,
        )
        liked = await ask(stub, entry())
        assert (liked.verdict, liked.decided_by) == (pb.VERDICT_APPROVE, "committee")
        disliked = await ask(stub, entry(product_id="ETH-USD"))
        assert (disliked.verdict, disliked.decided_by) == (pb.VERDICT_REJECT, "committee")
        refused = await ask(stub, entry({"relvol_24": -0.6}))
        assert (refused.verdict, refused.decided_by) == (pb.VERDICT_REJECT, "rules")
    assert [reason.code for reason in disliked.reviews[1].reasons] == ["DISLIKED"]
    assert [(row.reviewer, row.enforced) for row in await rows(database)] == [
        ("rules", None),
        ("committee", "APPROVE"),
        ("rules", None),
        ("committee", "REJECT"),
        ("rules", "REJECT"),
    ]
    # What the rules refuse it is never asked about, and it sees the figures that they accepted.
    assert [question.inputs["edge"] for question in committee.asked] == [0.32, 0.32]
    assert committee.closed
