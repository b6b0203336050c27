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
from schema.recommendation_rows import evidence_from_json, evidence_to_json
from tradekit import wire
from tradekit.recommendation import Evidence, Recommendation, terms_hash
from tradekit.states import LifeClock, Origin, Profile, Side

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
YEARS = (datetime(2020, 1, 1), datetime(2090, 1, 1))  # noqa: DTZ001 - the strategy adds the zone
numbers = st.floats(-1e12, 1e12, allow_nan=False)
evidences = st.builds(
    Evidence,
    signal_id=st.uuids(),
    confidence=st.floats(0, 1),
    p_down=st.just(0.25),
    p_neutral=st.just(0.25),
    p_up=st.just(0.5),
    edge=st.floats(-1, 1),
    expected_net=st.floats(-10, 10),
    sigma_horizon=st.floats(0, 100),
    model_version=st.text("abc1", min_size=1, max_size=8),
    feature_set_hash=st.just("f" * 64),
    features=st.lists(numbers, max_size=4).map(tuple),
)
recommendations = st.builds(
    Recommendation,
    recommendation_id=st.uuids(),
    product_id=st.sampled_from(["BTC-USD", "ETH-USD"]),
    side=st.sampled_from(list(Side)),
    size=st.decimals("0.00000001", 10**9, places=8),
    reference_price=st.decimals("0.01", 10**6, places=2),
    as_of=st.datetimes(*YEARS, timezones=st.just(UTC)),
    expire_time=st.datetimes(*YEARS, timezones=st.just(UTC)),
    life_clock=st.sampled_from(list(LifeClock)),
    origin=st.just(Origin.SIGNAL),
    profile=st.sampled_from(list(Profile)),
    priority=st.floats(0, 1),
    evidence=evidences,
    note=st.text("ab c", max_size=9),
)


@given(idea=recommendations)
def test_the_wire_and_the_row_keep_the_hash(idea: Recommendation) -> None:
    assert idea.evidence is not None
    message = wire.recommendation_message(idea)
    received = wire.read_recommendation(
        Fields(), "recommendation", type(message).FromString(message.SerializeToString())
    )
    # What JSONB gives back: a whole number without its point, and no negative zero.
    stored = json.loads(json.dumps(evidence_to_json(idea.evidence)), parse_float=_of_jsonb)
    row = replace(idea, size=idea.size.quantize(Decimal("1e-18")), evidence=evidence_from_json(stored))
    assert terms_hash(received) == terms_hash(row) == terms_hash(idea)


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
    idea = Recommendation(
        UUID(int=1), "BTC-USD", Side.BUY, Decimal(100), Decimal(1), NOON, NOON, LifeClock.MACHINE, Origin.OPERATOR,
        Profile.EVIDENCE, 1.0,
    )  # fmt: skip
    assert terms_hash(replace(idea, **spelled)) == terms_hash(idea)
