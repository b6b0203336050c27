"""The features against TA-Lib and against a two-pass computation over each window."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from modelkit.candles import CandleArrays, FloatArray
from modelkit.features.cleaning import clean
from modelkit.features.definition import INDEX
from modelkit.features.history import history
from modelkit.serving import grid_stage
from tests.signal.oracle import READY, oracle
from tests.signal.signal_series import joined, real, synthetic


def worst(candles: dict[str, CandleArrays]) -> dict[str, float]:
    """Largest |difference| / tolerance per feature over all products, from bar 350 on."""
    grid = clean(candles, 3600, "BTC-USD")
    values = grid_stage(grid).values
    found: dict[str, float] = {}
    for row in range(len(grid.products)):
        fields = (
            grid.open[row],
            grid.high[row],
            grid.low[row],
            grid.close[row],
            grid.volume[row],
            grid.factor,
        )
        for name, (expected, tolerance) in oracle(*fields).items():
            gap = np.abs(values[INDEX[name], row, READY:] - expected[READY:])
            assert np.isfinite(gap).all(), name
            found[name] = max(found.get(name, 0.0), float(gap.max()) / tolerance)
    return found


def test_agrees_with_talib_on_synthetic_products() -> None:
    gaps = worst(synthetic(8, 6000))
    assert len(gaps) == 39
    assert {name: gap for name, gap in gaps.items() if gap > 1.0} == {}


@pytest.mark.parametrize(
    ("products", "end"),
    [(("BTC-USD", "ETH-USD", "SOL-USD"), "2025-05-01"), (("BTC-USD", "DOGE-USD"), "2025-06-01")],
    ids=["large", "small-price"],
)
def test_agrees_with_talib_on_real_candles(products: tuple[str, ...], end: str) -> None:
    gaps = worst(real(products, "2025-01-01", end))
    assert {name: gap for name, gap in gaps.items() if gap > 1.0} == {}


Window = Callable[[CandleArrays, FloatArray, slice], float]


def _ret(c: FloatArray, at: slice) -> FloatArray:
    return np.diff(np.log(c[at.start - 1 : at.stop]))


def _yang_zhang(s: CandleArrays, at: slice) -> float:
    o, h, lo, c = (column[at] for column in s.prices())
    gap = np.log(o / s.close[at.start - 1 : at.stop - 1])
    rs = np.mean(np.log(h / c) * np.log(h / o) + np.log(lo / c) * np.log(lo / o))
    k = 0.34 / (1.34 + 25 / 23)
    return float(np.sqrt(np.var(gap, ddof=1) + k * np.var(np.log(c / o), ddof=1) + (1 - k) * rs))


def _garman_klass(s: CandleArrays, at: slice) -> float:
    spread, body = np.log(s.high[at] / s.low[at]), np.log(s.close[at] / s.open[at])
    return float(np.sqrt(max(0.0, np.mean(0.5 * spread**2 - (2 * np.log(2) - 1) * body**2))))


def _beta(s: CandleArrays, m: FloatArray, at: slice) -> float:
    r, f = _ret(s.close, at), _ret(m, at)
    return float(np.cov(r, f)[0, 1] / np.var(f, ddof=1))


def two_pass() -> Iterator[tuple[str, int, Window]]:
    """(feature, window, computation over the window alone): nothing is carried from bar to bar."""
    yield "vol_cc_24", 24, lambda s, m, at: np.std(_ret(s.close, at), ddof=1)
    yield (
        "ret_z_24",
        24,
        lambda s, m, at: (_ret(s.close, at)[-1] - _ret(s.close, at).mean()) / np.std(_ret(s.close, at), ddof=1),
    )
    yield (
        "parkinson_24",
        24,
        lambda s, m, at: np.sqrt(np.mean(np.log(s.high[at] / s.low[at]) ** 2) / (4 * np.log(2))),
    )
    yield "garman_klass_24", 24, lambda s, m, at: _garman_klass(s, at)
    yield "yang_zhang_24", 24, lambda s, m, at: _yang_zhang(s, at)
    yield (
        "downside_share_24",
        24,
        lambda s, m, at: np.sum(np.minimum(_ret(s.close, at), 0) ** 2) / np.sum(_ret(s.close, at) ** 2),
    )
    yield "linreg_slope_24", 24, lambda s, m, at: np.polyfit(np.arange(24.0), np.log(s.close[at]), 1)[0]
    yield "bb_width_20", 20, lambda s, m, at: 4 * np.std(s.close[at]) / np.mean(s.close[at])
    yield "sma_dist_168", 168, lambda s, m, at: s.close[at][-1] / np.mean(s.close[at]) - 1
    yield "beta_168", 168, _beta
    yield "corr_168", 168, lambda s, m, at: np.corrcoef(_ret(s.close, at), _ret(m, at))[0, 1]
    yield (
        "resid_ret_24",
        168,
        lambda s, m, at: _ret(s.close, at)[-24:].sum() - _beta(s, m, at) * _ret(m, at)[-24:].sum(),
    )
    yield (
        "vol_ratio_24_168",
        168,
        lambda s, m, at: np.log(np.std(_ret(s.close, at)[-24:], ddof=1) / np.std(_ret(s.close, at), ddof=1)),
    )
    yield (
        "upper_wick",
        1,
        lambda s, m, at: (s.high[at][0] - max(s.open[at][0], s.close[at][0])) / (s.high[at][0] - s.low[at][0]),
    )
    yield "hour_sin", 1, lambda s, m, at: np.sin(2 * np.pi * ((s.start[at][0] // 3600 + 1) % 24) / 24)


@pytest.mark.parametrize(("name", "width", "compute"), list(two_pass()), ids=lambda x: x if type(x) is str else "")
def test_window_equals_two_pass_computation(name: str, width: int, compute: Window) -> None:
    candles = synthetic(3, 900, seed=3)
    values = history(*joined(candles))
    factor = candles["BTC-USD"].close
    for row, series in enumerate(candles.values()):
        for t in range(READY, 900, 37):
            expected = compute(series, factor, slice(t - width + 1, t + 1))
            assert values[INDEX[name], row, t] == pytest.approx(expected, abs=1e-9 if width == 168 else 1e-11)
