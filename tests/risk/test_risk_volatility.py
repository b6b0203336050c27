"""Volatility against an oracle and across gaps."""

import math
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svc_risk.volatility import HourClose, measure, sigma
from tests.risk.risk_cases import AS_OF, HOUR


def closes(returns, end=AS_OF):
    """A gap-free hourly path that ends at `end`."""
    price, found = 100.0, [HourClose(end - HOUR * len(returns), 100.0, 1000.0)]
    for back, log_return in zip(range(len(returns) - 1, -1, -1), returns, strict=True):
        price *= math.exp(log_return)
        found.append(HourClose(end - HOUR * back, price, 1000.0))
    return found


def test_it_is_the_standard_deviation_where_there_is_no_gap():
    returns = np.random.default_rng(1).normal(0, 0.006, 336)
    oracle = float(np.std(returns)) * math.sqrt(8760)
    assert sigma(closes(returns), AS_OF, 336) == pytest.approx(oracle, rel=0.01)
    centred = returns - returns.mean()
    assert sigma(closes(centred), AS_OF, 336) == pytest.approx(float(np.std(centred)) * math.sqrt(8760), rel=1e-9)


def test_a_gap_does_not_lower_it():
    """A random walk seen every hour, and with half of its hours missing, has the same volatility."""
    returns = np.random.default_rng(2).normal(0, 0.006, 336)
    path = closes(returns)
    thinned = [close for index, close in enumerate(path) if index % 2 == 0]
    assert sigma(thinned, AS_OF, 336) == pytest.approx(sigma(path, AS_OF, 336), rel=0.12)
    filled = [HourClose(c.time, path[i - i % 2].close, 0.0) for i, c in enumerate(path)]
    assert sigma(filled, AS_OF, 336) == pytest.approx(sigma(thinned, AS_OF, 336), rel=1e-3)


def test_only_returns_that_end_inside_the_span_count():
    quiet = closes([0.001] * 400)
    wild = [HourClose(c.time, c.close * (9 if c.time < AS_OF - HOUR * 337 else 1), 1.0) for c in quiet]
    assert sigma(wild, AS_OF, 336) == pytest.approx(sigma(quiet, AS_OF, 336))
    assert sigma(closes([0.5] * 10, AS_OF + HOUR * 5), AS_OF - HOUR * 5, 24) is None


def test_measure_counts_real_bars_and_turnover():
    found = measure(closes([0.001] * 400), AS_OF, 336)
    assert (found.real_bars, found.median_quote_volume) == (336, Decimal("1000.00"))
    nothing = measure([], AS_OF, 336)
    assert (nothing.sigma_14d, nothing.sigma_24h, nothing.real_bars, nothing.median_quote_volume) == (None, None, 0, 0)


@given(
    returns=st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60),
    gaps=st.lists(st.integers(1, 5), min_size=60, max_size=60),
    factor=st.floats(0.1, 10),
)
@settings(deadline=None, max_examples=60)
def test_it_is_finite_and_free_of_the_price_scale(returns, gaps, factor):
    time, price, path = AS_OF - timedelta(hours=sum(gaps[: len(returns)])), 50.0, []
    path.append(HourClose(time, price, 1.0))
    for log_return, hours in zip(returns, gaps, strict=False):
        time, price = time + HOUR * hours, price * math.exp(log_return)
        path.append(HourClose(time, price, 1.0))
    found = sigma(path, AS_OF, 336)
    assert found is not None and math.isfinite(found) and found >= 0
    scaled = [HourClose(c.time, c.close * factor, 1.0) for c in path]
    assert sigma(scaled, AS_OF, 336) == pytest.approx(found, rel=1e-6, abs=1e-9)
