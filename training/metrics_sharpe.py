"""What is left of a Sharpe ratio after one looked at many: the deflated Sharpe ratio.

Bailey and Lopez de Prado, The Deflated Sharpe Ratio (Journal of Portfolio Management, 2014). The best of N trials
without any skill already shows a Sharpe ratio; only what exceeds that counts, given the length, skew and tails of
the returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import e, sqrt

import numpy as np
from scipy.special import ndtr, ndtri

from modelkit.candles import FloatArray


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """Ratios per year; `probability` that the true one is above what the best of `trials` gives by luck."""

    sharpe: float
    expected_best_by_luck: float
    probability: float
    trials: int


def sharpe_ratio(returns: FloatArray, bars_per_year: float) -> float:
    """Mean over standard deviation of returns per bar, annualised; 0 where nothing varies."""
    spread = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    return float(np.mean(returns)) / spread * sqrt(bars_per_year) if spread > 0.0 else 0.0


def deflated_sharpe(returns: FloatArray, trials: Sequence[float], bars_per_year: float) -> DeflatedSharpe:
    """Of the returns per bar of the chosen one; `trials` are the annual ratios of everything that was looked at."""
    root = sqrt(bars_per_year)
    observed = sharpe_ratio(returns, bars_per_year) / root
    luck = expected_best(np.asarray(trials) / root)
    return DeflatedSharpe(
        sharpe=observed * root,
        expected_best_by_luck=luck * root,
        probability=_probability(returns, observed, luck),
        trials=len(trials),
    )


def expected_best(ratios: FloatArray) -> float:
    """Expected largest of N ratios without skill, from their spread."""
    number = len(ratios)
    if number < 2:
        return 0.0
    spread = float(np.std(ratios, ddof=1))
    return spread * float(
        (1.0 - np.euler_gamma) * ndtri(1.0 - 1.0 / number) + np.euler_gamma * ndtri(1.0 - 1.0 / (number * e))
    )


def _probability(returns: FloatArray, observed: float, luck: float) -> float:
    if len(returns) < 3 or not np.std(returns) > 0.0:
        return 0.0
    standard = (returns - returns.mean()) / returns.std()
    third, fourth = float(np.mean(standard**3)), float(np.mean(standard**4))
    variance = 1.0 - third * observed + (fourth - 1.0) / 4.0 * observed**2
    return float(ndtr((observed - luck) * sqrt(len(returns) - 1) / sqrt(max(variance, 1e-12))))
