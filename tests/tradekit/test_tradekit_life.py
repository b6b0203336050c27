"""The life of a recommendation: one reading, with one meaning of "no market time"."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import Unavailable
from tests.tradekit.ideas import YEARS, recommendations
from tradekit.life import Life, LifeState, is_empty, life_at, life_end
from tradekit.recommendation import Recommendation
from tradekit.states import LifeClock

times = st.datetimes(*YEARS, timezones=st.just(UTC))
clocks = st.sampled_from(list(LifeClock))
SECOND = timedelta(seconds=1)


@given(clock=clocks, end=times, machine=times, market=times)
def test_a_life_is_over_from_its_end_on_by_its_own_clock(
    clock: LifeClock, end: datetime, machine: datetime, market: datetime
) -> None:
    life = life_at(clock, end, machine, market)
    assert life.now == (machine if clock is LifeClock.MACHINE else market)
    assert life.is_over == (life.now >= end) == (life.state is LifeState.OVER)
    life.require_known()


@given(clock=clocks, end=times, machine=times, market=times, other=times)
def test_the_other_clock_changes_nothing(
    clock: LifeClock, end: datetime, machine: datetime, market: datetime, other: datetime
) -> None:
    moved = (machine, other) if clock is LifeClock.MACHINE else (other, market)
    assert life_at(clock, end, *moved).state is life_at(clock, end, machine, market).state


@given(clock=clocks, end=times, machine=times, market=times, later=st.timedeltas(timedelta(0), timedelta(days=900)))
def test_a_life_never_begins_again(
    clock: LifeClock, end: datetime, machine: datetime, market: datetime, later: timedelta
) -> None:
    if life_at(clock, end, machine, market).is_over:
        assert life_at(clock, end, machine + later, market + later).is_over


@given(end=times, machine=times)
def test_without_market_time_a_market_life_is_neither_alive_nor_over(end: datetime, machine: datetime) -> None:
    life = life_at(LifeClock.MARKET, end, machine, None)
    assert life == Life(LifeState.UNKNOWN, None, math.inf)
    with pytest.raises(Unavailable) as refusal:
        life.require_known()
    assert refusal.value.reason == "STALE_DATA"


@given(end=times, machine=times)
def test_without_market_time_a_machine_life_is_what_it_is_with_it(end: datetime, machine: datetime) -> None:
    life = life_at(LifeClock.MACHINE, end, machine, None)
    assert life == life_at(LifeClock.MACHINE, end, machine, machine)
    assert (life.seconds_left > 0) != life.is_over
    assert life.seconds_left == (end - machine).total_seconds()


@given(clock=clocks, machine=times, market=times, seconds=st.integers(1, 3600))
def test_a_life_lasts_its_seconds(clock: LifeClock, machine: datetime, market: datetime, seconds: int) -> None:
    end = life_end(clock, machine, market, seconds)
    lasts = timedelta(seconds=seconds)
    assert life_at(clock, end, machine, market).state is LifeState.ALIVE
    assert not life_at(clock, end, machine + lasts - SECOND, market + lasts - SECOND).is_over
    assert life_at(clock, end, machine + lasts, market + lasts).is_over
    assert not is_empty(clock, market, end)


@given(idea=recommendations, machine=times, market=st.none() | times)
def test_a_recommendation_has_the_life_of_its_terms(
    idea: Recommendation, machine: datetime, market: datetime | None
) -> None:
    assert idea.life_at(machine, market) == life_at(idea.life_clock, idea.expire_time, machine, market)
    empty = idea.life_clock is LifeClock.MARKET and idea.expire_time <= idea.as_of
    assert idea.life_is_empty == empty
    if empty:
        assert idea.life_at(machine, idea.as_of).is_over
