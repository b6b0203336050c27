"""Live intake against the window computation: whatever arrives and whenever, the rows are the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svc_signal.candles import CandleArrays
from svc_signal.features.anchors import first_needed_bar
from svc_signal.features.live import LiveFeatures
from svc_signal.serving import FeatureRows, latest_rows
from tests.signal.signal_series import FIRST_BAR, HOUR, synthetic

BTC = "BTC-USD"
Candles = dict[str, CandleArrays]
SLOW = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bits(rows: FeatureRows) -> list[bytes]:
    return [np.ascontiguousarray(column).tobytes() for column in (rows.values, rows.sd_24, rows.sd_168)]


def assert_same(live: FeatureRows, reference: FeatureRows) -> None:
    assert live.products == reference.products
    assert live.reasons == reference.reasons
    assert live.ready.tolist() == reference.ready.tolist()
    assert live.bars_since_candle.tolist() == reference.bars_since_candle.tolist()
    assert bits(live) == bits(reference)


def at(candles: Candles, first: int, last: int) -> Candles:
    """Candles of the bars [first, last]."""
    return {
        name: rows.take((rows.start >= first * HOUR) & (rows.start <= last * HOUR)) for name, rows in candles.items()
    }


def needed(candles: Candles, bar: int) -> Candles:
    return at(candles, first_needed_bar(bar), bar)


def without(rows: CandleArrays, bars: list[tuple[int, int]]) -> CandleArrays:
    """Rows without those of (bar, count) stretches."""
    keep = np.ones(len(rows), dtype=np.bool_)
    for bar, count in bars:
        keep &= (rows.start < bar * HOUR) | (rows.start >= (bar + count) * HOUR)
    return rows.take(keep)


def joined(*parts: CandleArrays) -> CandleArrays:
    names = ("start", "open", "high", "low", "close", "volume")
    return CandleArrays(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def spoilt(rows: CandleArrays, kind: int) -> CandleArrays:
    """The same candles, each with a fault."""
    faults = {
        0: {"close": np.full(len(rows), np.nan)},
        1: {"low": -rows.low},
        2: {"volume": -rows.volume - 1.0},
        3: {"high": rows.low * 0.5},
        4: {"low": rows.high * 2.0},
        5: {"start": rows.start + 7},
        6: {"open": np.full(len(rows), np.inf)},
    }
    return replace(rows, **faults[kind])


BARS = 760
BAR = st.integers(FIRST_BAR + 1, FIRST_BAR + BARS - 1)
GAPS = st.lists(st.tuples(BAR, st.integers(1, 15)), max_size=5)
EVENT = st.sampled_from(["refuse", "late", "correct", "restart", "rebuild", "twice", "pause", "spoilt correction"])


@SLOW
@given(
    gaps=st.lists(GAPS, min_size=4, max_size=4),
    starts=st.lists(st.integers(0, 300), min_size=4, max_size=4),
    events=st.lists(
        st.tuples(BAR, EVENT, st.integers(0, 3), st.integers(0, 6), st.integers(1, 40)), min_size=4, max_size=14
    ),
    seed=st.integers(0, 99),
)
def test_any_history_of_gaps_refusals_and_corrections_gives_the_bits_of_the_window(
    gaps: list[list[tuple[int, int]]],
    starts: list[int],
    events: list[tuple[int, str, int, int, int]],
    seed: int,
) -> None:
    whole = synthetic(4, BARS, seed)
    names = tuple(whole)
    for name, stretches, begin in zip(names, gaps, starts, strict=True):
        whole[name] = without(whole[name], [*stretches, (FIRST_BAR, begin if name != BTC else 0)])
    stored: Candles = {name: rows.take(np.arange(0)) for name, rows in whole.items()}
    live = LiveFeatures(names, HOUR, BTC)
    pauses = 0
    for bar in range(FIRST_BAR, FIRST_BAR + BARS):
        due = [event for event in events if event[0] == bar]
        arriving = at(whole, bar, bar)
        for _, kind, number, fault, back in due:
            name = names[number]
            if kind == "refuse":
                arriving[name] = spoilt(arriving[name], fault)
            if kind == "spoilt correction":
                arriving[name] = joined(arriving[name], spoilt(arriving[name], fault))
            if kind == "twice":
                arriving[name] = joined(replace(arriving[name], volume=arriving[name].volume * 3.0), arriving[name])
            if kind == "pause":
                pauses = back % 14
        stored = {name: joined(stored[name], arriving[name]) for name in names}
        if live.last_bar is not None:
            for _, kind, number, _, back in due:
                name = names[number]
                if kind in ("late", "correct"):
                    older = at(whole, bar - back, bar - back)[name]
                    stored[name] = joined(stored[name], replace(older, volume=older.volume * 1.5))
                    live.recompute(name, needed(stored, live.last_bar)[name])
                if kind == "restart":
                    live = LiveFeatures.load(live.dump(), names, HOUR, BTC)
                if kind == "rebuild":
                    live = LiveFeatures.rebuild(needed(stored, live.last_bar), live.last_bar, HOUR, BTC)
        if pauses > 0:
            pauses -= 1
            continue
        first = bar if live.last_bar is None else live.last_bar + 1
        rows = live.advance(bar, at(stored, first, bar))
        if due or bar % 23 == 0 or bar == FIRST_BAR + BARS - 1:
            assert_same(rows, latest_rows(needed(stored, bar), bar, HOUR, BTC))
