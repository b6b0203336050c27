"""Recommendations on the wire: what is sent is what is read, and a bad message tells all of its faults at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshkit.errors import InvalidRequest
from meshkit.fields import Fields
from tradekit import wire
from tradekit.bars import EARLIEST, LATEST
from tradekit.reasons import Reason, reasons_from_json, reasons_to_json
from tradekit.recommendation import Evidence, Recommendation
from tradekit.states import LifeClock, Origin, Profile, Side
from trading.common.v1 import recommendation_pb2

AS_OF = datetime(2025, 6, 1, 12, tzinfo=UTC)
EVIDENCE = Evidence(
    signal_id=UUID(int=7),
    confidence=0.5,
    p_down=0.25,
    p_neutral=0.25,
    p_up=0.5,
    edge=0.25,
    expected_net=0.01,
    sigma_horizon=0.04,
    model_version="m1",
    feature_set_hash="f" * 64,
    features=(55.5, -0.01),
)
GOOD = Recommendation(
    recommendation_id=UUID(int=8),
    product_id="BTC-USD",
    side=Side.BUY,
    size=Decimal("100.00"),
    reference_price=Decimal("60000.10"),
    as_of=AS_OF,
    expire_time=AS_OF + timedelta(minutes=2),
    life_clock=LifeClock.MACHINE,
    origin=Origin.SIGNAL,
    profile=Profile.EXERCISE,
    priority=0.25,
    evidence=EVIDENCE,
)
AMOUNTS = st.decimals("0.00000001", "999999999999", places=8)
RATIOS = st.floats(0, 1)


def read(message: recommendation_pb2.Recommendation) -> Recommendation:
    fields = Fields()
    found = wire.read_recommendation(fields, "recommendation", message)
    fields.done()
    return found


def violations(message: recommendation_pb2.Recommendation) -> dict[str, str]:
    """Field and rule of every violation."""
    with pytest.raises(InvalidRequest) as caught:
        read(message)
    return {violation.field: violation.rule for violation in caught.value.violations}


@st.composite
def recommendations(draw: st.DrawFn) -> Recommendation:
    origin = draw(st.sampled_from(Origin))
    down, up = sorted((draw(RATIOS), draw(RATIOS)))
    evidence = replace(
        EVIDENCE, p_down=down, p_neutral=up - down, p_up=1 - up, edge=1 - up - down, confidence=draw(RATIOS)
    )
    return replace(
        GOOD,
        side=draw(st.sampled_from(Side)),
        size=draw(AMOUNTS),
        reference_price=draw(AMOUNTS),
        as_of=AS_OF + timedelta(microseconds=draw(st.integers(0, 10**12))),
        life_clock=draw(st.sampled_from(LifeClock)),
        origin=origin,
        profile=draw(st.sampled_from(Profile)),
        priority=draw(RATIOS),
        evidence=evidence if origin is Origin.SIGNAL else None,
        note=draw(st.text(st.characters(categories=["L", "N", "Zs"]), max_size=200)),
    )


@given(recommendations())
@settings(max_examples=60)
def test_what_is_sent_is_what_is_read(recommendation: Recommendation) -> None:
    sent = wire.recommendation_message(recommendation)
    arrived = recommendation_pb2.Recommendation.FromString(sent.SerializeToString())
    assert read(arrived) == recommendation
    assert arrived.WhichOneof("size") == ("quote_size" if recommendation.side is Side.BUY else "base_size")


def test_an_empty_message_tells_everything_that_is_missing() -> None:
    assert violations(recommendation_pb2.Recommendation()) == {
        "recommendation.recommendation_id": "REQUIRED",
        "recommendation.product_id": "PRODUCT_ID",
        "recommendation.side": "ENUM",
        "recommendation.quote_size": "REQUIRED",
        "recommendation.reference_price": "REQUIRED",
        "recommendation.as_of": "REQUIRED",
        "recommendation.expire_time": "REQUIRED",
        "recommendation.life_clock": "ENUM",
        "recommendation.origin": "ENUM",
        "recommendation.profile": "ENUM",
        "recommendation.evidence": "REQUIRED",
    }


def test_a_spoiled_message_tells_all_of_its_faults_at_once() -> None:
    message = wire.recommendation_message(GOOD)
    message.recommendation_id = "not-a-uuid"
    message.product_id = "btc"
    message.quote_size.value = "1e2"
    message.reference_price.value = "-1"
    message.as_of.seconds = -(10**11)
    message.expire_time.FromDatetime(datetime(2199, 1, 1, tzinfo=UTC))
    message.priority = float("nan")
    message.note = "n" * 201
    message.evidence.signal_id = ""
    message.evidence.confidence = 1.5
    message.evidence.p_up = float("inf")
    message.evidence.sigma_horizon = -1
    message.evidence.model_version = "bad\x00version"
    message.evidence.features[0] = float("nan")
    message.evidence.features[1] = 1e13
    message.exit_plan.stop_price.value = "2"
    message.exit_plan.target_price.value = "1"
    message.exit_plan.exit_time.FromDatetime(datetime(2199, 1, 1, tzinfo=UTC))
    assert violations(message) == {
        "recommendation.recommendation_id": "UUID",
        "recommendation.product_id": "PRODUCT_ID",
        "recommendation.quote_size": "DECIMAL_TEXT",
        "recommendation.reference_price": "OUT_OF_RANGE",
        "recommendation.as_of": "TIMESTAMP",
        "recommendation.expire_time": "OUT_OF_RANGE",
        "recommendation.priority": "NOT_FINITE",
        "recommendation.note": "LENGTH",
        "recommendation.evidence.signal_id": "REQUIRED",
        "recommendation.evidence.confidence": "OUT_OF_RANGE",
        "recommendation.evidence.p_up": "NOT_FINITE",
        "recommendation.evidence.sigma_horizon": "OUT_OF_RANGE",
        "recommendation.evidence.model_version": "CONTROL_CHARACTER",
        "recommendation.evidence.features[0]": "NOT_FINITE",
        "recommendation.evidence.features[1]": "OUT_OF_RANGE",
        "recommendation.exit_plan.stop_price": "WRONG_SIDE",
        "recommendation.exit_plan.exit_time": "OUT_OF_RANGE",
    }


def test_only_a_buy_has_a_way_out_to_plan() -> None:
    message = wire.recommendation_message(replace(GOOD, side=Side.SELL))
    message.exit_plan.SetInParent()
    assert violations(message) == {
        "recommendation.exit_plan": "NOT_ALLOWED",
        "recommendation.exit_plan.stop_price": "REQUIRED",
        "recommendation.exit_plan.target_price": "REQUIRED",
    }


def _rules(message: recommendation_pb2.Recommendation) -> dict[str, str]:
    fields = Fields()
    wire.read_recommendation(fields, "recommendation", message)
    return {violation.field: violation.rule for violation in fields.violations}


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("moment", "rule"),
    [(EARLIEST, None), (EARLIEST - SECOND, "OUT_OF_RANGE"), (LATEST, None), (LATEST + SECOND, "OUT_OF_RANGE")],
)
def test_times_reach_from_the_first_coin_to_the_end_of_the_century(moment: datetime, rule: str | None) -> None:
    message = wire.recommendation_message(GOOD)
    message.as_of.FromDatetime(moment)
    assert _rules(message) == ({} if rule is None else {"recommendation.as_of": rule})


@pytest.mark.parametrize(
    ("value", "rule"),
    [(0.0, None), (1.0, None), (-1e-9, "OUT_OF_RANGE"), (1.0 + 1e-9, "OUT_OF_RANGE"), (float("-inf"), "NOT_FINITE")],
)
def test_a_ratio_reaches_from_0_to_1(value: float, rule: str | None) -> None:
    message = wire.recommendation_message(GOOD)
    message.priority = value
    assert _rules(message) == ({} if rule is None else {"recommendation.priority": rule})


def test_what_is_shown_of_a_bad_text_is_short() -> None:
    message = wire.recommendation_message(GOOD)
    message.product_id = message.quote_size.value = "9" * 100_000
    fields = Fields()
    wire.read_recommendation(fields, "recommendation", message)
    assert {violation.rule for violation in fields.violations} == {"PRODUCT_ID", "DECIMAL_TEXT"}
    assert all(len(violation.description) < 400 for violation in fields.violations)


@pytest.mark.parametrize("side", Side)
def test_a_side_is_sized_in_its_own_unit(side: Side) -> None:
    message = wire.recommendation_message(replace(GOOD, side=side))
    other = "base_size" if side is Side.BUY else "quote_size"
    own = "quote_size" if side is Side.BUY else "base_size"
    getattr(message, other).value = "1"
    assert violations(message) == {f"recommendation.{own}": "REQUIRED"}


@pytest.mark.parametrize("text", ["0", "0.00", "-1", "1000000000000001"])
def test_sizes_are_above_zero_and_bounded(text: str) -> None:
    message = wire.recommendation_message(GOOD)
    message.quote_size.value = text
    assert violations(message) == {"recommendation.quote_size": "OUT_OF_RANGE"}


def test_probabilities_must_add_up_and_lists_are_bounded() -> None:
    message = wire.recommendation_message(GOOD)
    message.evidence.p_up = 0.4
    assert violations(message) == {"recommendation.evidence.p_up": "SUM"}
    message = wire.recommendation_message(GOOD)
    message.evidence.features.extend([0.0] * 63)
    assert violations(message) == {"recommendation.evidence.features": "TOO_MANY"}


@given(st.binary(max_size=200))
def test_any_bytes_that_parse_are_read_or_refused_with_violations(content: bytes) -> None:
    try:
        message = recommendation_pb2.Recommendation.FromString(content)
    except Exception:
        return  # the transport refuses these
    fields = Fields()
    found = wire.read_recommendation(fields, "recommendation", message)
    assert fields.violations or read(wire.recommendation_message(found)) == found


@given(st.lists(st.builds(Reason, st.text(), st.text(), st.text(), st.text(), st.text())))
def test_reasons_come_back_from_storage_and_wire(reasons: list[Reason]) -> None:
    assert reasons_from_json(reasons_to_json(reasons)) == tuple(reasons)
    assert wire.reasons_of(wire.reason_messages(reasons)) == tuple(reasons)
