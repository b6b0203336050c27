"""Outcomes from a window of candles are the labels of the whole history, whatever the gaps."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.features.cleaning import clean
from modelkit.labels import NO_LABEL, LabelRule, label
from svc_signal.drift.outcomes import AwaitedSignal, bars_to_wait, mature
from tests.signal.signal_series import FIRST_BAR, synthetic

BARS = 160
SERIES = synthetic(2, BARS, seed=11)
PRODUCTS = tuple(SERIES)
RULES = (LabelRule(horizon_bars=12, fee_ratio=0.0005), LabelRule(horizon_bars=1, barrier_width=0.3, fee_ratio=0.0))

gaps = st.lists(st.tuples(st.integers(0, 1), st.integers(0, BARS - 1), st.integers(1, 20)), max_size=6)


@settings(deadline=None, max_examples=60)
@given(gaps, st.integers(0, BARS - 1), st.integers(0, BARS - 1), st.integers(0, 1000))
def test_a_window_gives_the_labels_of_the_whole_history(
    missing: list[tuple[int, int, int]], one_end: int, other_end: int, seed: int
) -> None:
    keep = np.ones((2, BARS), dtype=np.bool_)
    for product, start, length in missing:
        keep[product, start : start + length] = False
    candles = {name: SERIES[name].take(keep[row]) for row, name in enumerate(PRODUCTS)}
    first, last = sorted((one_end, other_end))
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.005, 0.04, (2, BARS))
    awaited = [
        AwaitedSignal(name, FIRST_BAR + bar, float(sigma[row, bar]), f"m{rule}", RULES[rule])
        for row, name in enumerate(PRODUCTS)
        for bar in range(first, last + 1)
        if keep[row, bar] and (rule := (bar + row) % 2) >= 0
    ]
    window = {
        name: rows.take((rows.start >= (FIRST_BAR + first) * 3600) & (rows.start <= (FIRST_BAR + last) * 3600))
        for name, rows in candles.items()
    }
    found = {
        (one.product_id, one.bar, one.model_version): one for one in mature(awaited, window, 3600, FIRST_BAR + last)
    }
    whole = clean(candles, 3600, PRODUCTS[0], FIRST_BAR, FIRST_BAR + last)
    opens = np.log(whole.open)
    labels = [label(whole, sigma[:, : last + 1], np.ones((2, last + 1), dtype=np.bool_), rule) for rule in RULES]
    expected = {}
    for signal in awaited:
        rule, row, bar = RULES.index(signal.rule), PRODUCTS.index(signal.product_id), signal.bar - FIRST_BAR
        outcome = int(labels[rule][row, bar])
        if outcome != NO_LABEL and bar + bars_to_wait(signal.rule) <= last:
            gain = opens[row, bar + 2] - opens[row, bar + 1]
            if np.isfinite(gain):
                expected[signal.product_id, signal.bar, signal.model_version] = (outcome, float(gain))
    assert {key: (one.outcome, one.next_return) for key, one in found.items()} == expected


def test_nothing_awaited_or_nothing_stored_gives_nothing() -> None:
    signal = AwaitedSignal(PRODUCTS[0], FIRST_BAR, 0.02, "m", RULES[0])
    assert mature([], SERIES, 3600, FIRST_BAR + BARS - 1) == []
    assert mature([signal], {}, 3600, FIRST_BAR + BARS - 1) == []
    assert mature([signal], {PRODUCTS[1]: SERIES[PRODUCTS[1]]}, 3600, FIRST_BAR + BARS - 1) == []
    assert mature([signal], SERIES, 3600, FIRST_BAR + 11) == []
    assert len(mature([signal], SERIES, 3600, FIRST_BAR + 12)) == 1
