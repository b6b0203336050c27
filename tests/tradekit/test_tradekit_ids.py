"""Ids are contract: the same recommendation has the same id in every version, on every machine, at every retry."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tradekit import ids

BAR = datetime(2025, 6, 1, 12, tzinfo=UTC)
SIGNAL = ids.signal_id("main", "BTC-USD", 3600, BAR, "m1")


def test_ids_are_the_pinned_ones() -> None:
    recommendation = ids.recommendation_id_of_signal(SIGNAL)
    request = UUID("01234567-89ab-7cde-8f01-23456789abcd")
    found = {
        "signal": SIGNAL,
        "recommendation": recommendation,
        "operator": ids.recommendation_id_of_request(request),
        "validation": ids.validation_id(recommendation),
        "assessment": ids.assessment_id(recommendation, 1),
        "assessment again": ids.assessment_id(recommendation, 2),
        "order": ids.order_id(recommendation),
        "second leg": ids.order_id(recommendation, 2),
        "request": ids.stage_request_id("risk", recommendation),
    }
    assert {name: str(value) for name, value in found.items()} == {
        "signal": "97f66bf0-ad2c-5b6f-994c-14c31ad6ce76",
        "recommendation": "89b01a91-cb5a-596b-beff-7801b4cb4b9c",
        "operator": "9735eee6-d845-5299-82c4-4ebdfe1f59e6",
        "validation": "95d69143-8851-5172-b4f8-290ac20e8550",
        "assessment": "2b8e28eb-e6e0-5428-adaa-f01ff291c337",
        "assessment again": "6530f77e-f0f6-5085-bfba-82d3d39999f6",
        "order": "b6261836-6435-5ca3-aa2b-58cd608caf83",
        "second leg": "754bda0f-5612-51eb-a2b4-cb07e7984556",
        "request": "c9b54759-ff7b-58ba-9f4b-37a992ae6a07",
    }


@given(
    st.sampled_from(["main", "replay-1"]),
    st.sampled_from(["BTC-USD", "ETH-USD"]),
    st.sampled_from([60, 3600]),
    st.integers(0, 5),
    st.sampled_from(["m1", "m2"]),
)
def test_every_part_of_a_signal_is_part_of_its_id(
    run: str, product: str, granularity: int, bar: int, model: str
) -> None:
    start = BAR.fromtimestamp(BAR.timestamp() + bar * granularity, UTC)
    same = (run, product, granularity, start, model) == ("main", "BTC-USD", 3600, BAR, "m1")
    assert (ids.signal_id(run, product, granularity, start, model) == SIGNAL) is same


def test_a_signal_and_a_request_with_one_uuid_are_two_recommendations() -> None:
    assert ids.recommendation_id_of_signal(SIGNAL) != ids.recommendation_id_of_request(SIGNAL)


def test_request_ids_of_callers_are_uuid7_of_the_wall_clock() -> None:
    before = datetime.now(UTC).timestamp()
    made = [ids.new_request_id() for _ in range(200)]
    after = datetime.now(UTC).timestamp()
    assert len(set(made)) == 200
    for one in made:
        assert one.version == 7
        assert one.variant == "specified in RFC 4122"
        assert before - 0.001 <= (one.int >> 80) / 1000 <= after
