"""The hash of a recommendation's terms: equal exactly where the recommendations are, by row and by wire."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.fields import Fields
from schema.recommendation_rows import (
    evidence_from_json,
    evidence_to_json,
    exit_plan_from_json,
    exit_plan_to_json,
)
from tests.tradekit.strategies import evidences, plans, recommendations
from tradekit import wire
from tradekit.exit_plan import ExitPlan
from tradekit.recommendation import Evidence, Recommendation, terms_hash
from tradekit.states import LifeClock, Origin, Profile, Side

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


@given(recommendation=recommendations)
def test_the_wire_and_the_row_keep_the_hash(recommendation: Recommendation) -> None:
    assert recommendation.evidence is not None
    message = wire.recommendation_message(recommendation)
    received = wire.read_recommendation(
        Fields(), "recommendation", type(message).FromString(message.SerializeToString())
    )
    # What JSONB gives back: a whole number without its point, and no negative zero.
    stored = json.loads(json.dumps(evidence_to_json(recommendation.evidence)), parse_float=_of_jsonb)
    row = replace(
        recommendation, size=recommendation.size.quantize(Decimal("1e-18")), evidence=evidence_from_json(stored)
    )
    assert terms_hash(received) == terms_hash(row) == terms_hash(recommendation)


@given(evidence=evidences)
def test_evidence_comes_back_from_its_row_bit_for_bit_and_nothing_else_is_evidence(evidence: Evidence) -> None:
    stored = evidence_to_json(evidence)
    assert evidence_from_json(json.loads(json.dumps(stored))) == evidence
    for name, changed in (
        ("edge", {name: value for name, value in stored.items() if name != "edge"}),
        ("p_up", {**stored, "p_up": "much"}),
        ("later", {**stored, "later": 1}),
        ("features", {**stored, "features": [["a name without its value"]]}),
    ):
        with pytest.raises(ValueError, match=name):
            evidence_from_json(changed)


def _of_jsonb(text: str) -> float | int:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(text)


@given(
    first=recommendations,
    second=recommendations,
    name=st.sampled_from([field.name for field in fields(Recommendation)]),
)
def test_any_field_that_differs_makes_another_hash(first: Recommendation, second: Recommendation, name: str) -> None:
    changed = replace(first, **{name: getattr(second, name)})
    assert (terms_hash(changed) == terms_hash(first)) == (changed == first)


@pytest.mark.parametrize(
    "spelled", [{"size": Decimal("100.00")}, {"as_of": NOON.astimezone(timezone(timedelta(hours=1)))}, {"priority": 1}]
)
def test_another_spelling_is_the_same(spelled: dict[str, Any]) -> None:
    recommendation = Recommendation(
        UUID(int=1), "BTC-USD", Side.BUY, Decimal(100), Decimal(1), NOON, NOON, LifeClock.MACHINE, Origin.OPERATOR,
        Profile.EVIDENCE, 1.0,
    )  # fmt: skip
    assert terms_hash(replace(recommendation, **spelled)) == terms_hash(recommendation)


@given(plans)
def test_a_plan_survives_the_row_to_the_last_digit(plan: ExitPlan) -> None:
    assert exit_plan_from_json(json.loads(json.dumps(exit_plan_to_json(plan)))) == plan
