"""Pages, gaps, the beginning of a fetch and the reach of the watermark."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from svc_market.candle_poller import Pace, next_wait
from svc_market.paging import Span, closed, gaps, grid_span, merge, pages
from svc_market.watermark import begin, reach

patient = settings(deadline=None, max_examples=60)
T0 = datetime(2025, 1, 1, tzinfo=UTC)
granularities = st.sampled_from([60, 300, 900, 3600, 86400])


@dataclass(frozen=True)
class Bar:
    start: datetime
    tag: int = 0


def at(bars: int, granularity: int = 3600) -> datetime:
    return T0 + timedelta(seconds=bars * granularity)


@patient
@given(granularities, st.integers(0, 5000), st.integers(1, 400))
def test_pages_cover_the_span_once_and_none_is_too_long(granularity, length, most):
    span = Span(T0, at(length, granularity))
    found = pages(span, granularity, most)
    assert all(0 < page.bars(granularity) <= most for page in found)
    assert [page.start for page in found[1:]] == [page.end for page in found[:-1]]
    assert sum(page.bars(granularity) for page in found) == length
    assert not found or (found[0].start, found[-1].end) == (span.start, span.end)


@patient
@given(granularities, st.integers(0, 10**5), st.integers(0, 10**5))
def test_a_span_on_the_grid_holds_exactly_the_bars_that_open_in_the_period(granularity, first, seconds):
    start = T0 + timedelta(seconds=first)
    end = start + timedelta(seconds=seconds)
    span = grid_span(start, end, granularity)
    opening = range(0, 300_000, granularity)
    inside = [second for second in opening if first <= second < first + seconds]
    low, high = ((moment - T0).total_seconds() for moment in (span.start, span.end))
    assert inside == [second for second in opening if low <= second < high]
    assert low in opening and high in opening


@patient
@given(st.sets(st.integers(0, 700)), st.randoms(), st.integers(1, 300))
def test_newest_first_overlapping_answers_become_one_series(present, random, most):
    span = Span(T0, at(650))
    # The exchange may count `end` in, and gives the newest first.
    answers = [
        [Bar(at(n)) for n in sorted(present, reverse=True) if page.start <= at(n) <= page.end]
        for page in pages(span, 3600, most)
    ]
    random.shuffle(answers)
    merged = merge(answers, span)
    assert [bar.start for bar in merged] == [at(n) for n in sorted(present) if n < 650]


def test_the_later_answer_about_a_bar_counts():
    assert merge([[Bar(T0, 1)], [Bar(T0, 2)]], Span(T0, at(1))) == [Bar(T0, 2)]


@patient
@given(st.sets(st.integers(0, 99)))
def test_gaps_are_exactly_what_is_missing(present):
    span = Span(T0, at(100))
    missing = gaps([at(n) for n in sorted(present)], span, 3600)
    found = {n for gap in missing for n in range(100) if gap.start <= at(n) < gap.end}
    assert found == set(range(100)) - present
    assert all(left.end < right.start for left, right in pairwise(missing))


def test_a_running_bar_is_left_out():
    bars = [Bar(at(n)) for n in range(4)]
    assert closed(bars, 3600, at(3) - timedelta(seconds=1)) == bars[:2]
    assert closed(bars, 3600, at(3)) == bars[:3]


def test_the_watermark_moves_only_over_ranges_that_join_on():
    followed, newest = ["A-USD", "B-USD"], at(10)
    full = Span(at(0), at(10))
    assert reach(None, full, followed, followed, newest) == at(10)
    assert reach(None, Span(at(0), at(9)), followed, followed, newest) is None
    assert reach(at(5), Span(at(5), at(7)), followed, followed, newest) == at(7)
    assert reach(at(5), Span(at(3), at(7)), [*followed, "C-USD"], followed, newest) == at(7)
    assert reach(at(5), Span(at(6), at(10)), followed, followed, newest) is None
    assert reach(at(5), full, ["A-USD"], followed, newest) is None
    assert reach(at(10), full, followed, followed, newest) is None
    assert reach(at(10), Span(at(2), at(4)), followed, followed, newest) is None
    assert reach(at(5), Span(at(5), at(11)), followed, followed, newest) is None
    assert reach(at(5), full, [], [], newest) is None


@patient
@given(
    st.none() | st.integers(0, 5000),
    st.none() | st.integers(0, 5000),
    st.integers(0, 5000),
    st.integers(1, 2000),
)
def test_a_fetch_of_the_poller_always_joins_the_watermark(newest, watermark, close, history):
    newest_stored = None if newest is None else at(newest)
    start = begin(newest_stored, None if watermark is None else at(watermark), at(close), 3600, history)
    if watermark is not None:
        assert start <= at(watermark) - timedelta(hours=1)
    else:
        assert start >= at(close - history)
    if newest is None and watermark is None:
        assert start == at(close - history)


@patient
@given(st.integers(0, 10**6), st.floats(0, 10**5), st.floats(0.02, 10))
def test_the_wait_is_never_longer_than_the_poll_nor_past_the_close(second, pace, poll):
    now = T0 + timedelta(seconds=second)
    wait = next_wait(now, 3600, pace, poll)
    assert 0 < wait <= poll
    left = 3600 - second % 3600
    assert wait <= 0.02 or pace == 0 or wait * pace <= left * (1 + 1e-9)


def test_pace_is_market_time_over_wall_time():
    pace = Pace()
    pace.observe(10.0, T0)
    pace.observe(12.0, T0 + timedelta(seconds=7200))
    assert pace.value == 3600.0
    pace.observe(13.0, T0)
    assert pace.value == 0.0
