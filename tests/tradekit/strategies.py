"""Recommendations of every kind, for the properties of their terms and their life."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from tradekit.exit_plan import ExitPlan
from tradekit.recommendation import Evidence, Recommendation
from tradekit.states import LifeClock, Origin, Profile, Side

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
plans = st.builds(
    ExitPlan,
    stop_price=st.decimals("0.01", 100, places=2),
    target_price=st.decimals(101, 10**6, places=2),
    exit_time=st.none() | st.datetimes(*YEARS, timezones=st.just(UTC)),
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
).flatmap(
    lambda made: (
        st.just(made) if made.side is Side.SELL else st.builds(replace, st.just(made), exit_plan=st.none() | plans)
    )
)
