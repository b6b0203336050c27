"""Ten common indicators over a long history: the building rooms of the history engine beside TA-Lib's C loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import talib

from modelkit.candles import FloatArray
from modelkit.features.recursions import directional_indices, ema, wilder, wilder_sum
from modelkit.features.windows import lagged, stochastics, window_ages, window_max, window_moment, window_sum

Fields = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""high, low, close, volume of one product."""


def by_talib(fields: Fields) -> dict[str, FloatArray]:
    lib: Any = talib
    high, low, close, volume = fields
    upper, _, lower = lib.BBANDS(close, 20, 2, 2)
    return {
        "SMA20": lib.SMA(close, 20),
        "EMA12": lib.EMA(close, 12),
        "MACD": lib.MACD(close, 12, 26, 9)[2],
        "RSI14": lib.RSI(close, 14) / 100.0,
        "ATR14": lib.ATR(high, low, close, 14),
        "ADX14": lib.ADX(high, low, close, 14) / 100.0,
        "BBANDS20": upper - lower,
        "STOCHF14": lib.STOCHF(high, low, close, 14, 3)[1] / 100.0,
        "AROONOSC25": lib.AROONOSC(high, low, 25) / 100.0,
        "MFI14": lib.MFI(high, low, close, volume, 14) / 100.0,
    }


def by_history(fields: Fields, first_bar: int) -> dict[str, FloatArray]:
    """The same ten from window parts and filters of the history engine; recursive ones along one chain."""
    with np.errstate(invalid="ignore"):  # the first bar has none before it
        return _by_history(*fields, first_bar)


def _by_history(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, first_bar: int
) -> dict[str, FloatArray]:
    before = lagged(close, 1)
    change = np.nan_to_num(close - before)
    true_range = np.fmax(np.maximum(high, before) - np.minimum(low, before), high - low)
    moves = np.stack((high - lagged(high, 1), lagged(low, 1) - low))
    plus, minus = wilder_sum(np.fmax(moves, 0.0) * (moves > moves[::-1]))
    ema_12, ema_26 = ema(close, 12), ema(close, 26)
    macd = ema_12 - ema_26
    gain, loss = wilder(np.stack((np.maximum(change, 0.0), np.maximum(-change, 0.0))))
    typical = (high + low + close) / 3.0
    drift = typical - lagged(typical, 1)
    flows = np.stack((drift > 0.0, drift < 0.0)) * (typical * volume)
    positive, negative = window_sum(flows, 14, first_bar)
    extremes, stochastic = np.stack((high, -low)), np.empty_like(close)
    stochastics(close, window_max(extremes, 14, first_bar), stochastic)
    ages = window_ages(extremes, 26, first_bar)
    return {
        "SMA20": window_sum(close, 20, first_bar) / 20.0,
        "EMA12": ema_12,
        "MACD": macd - ema(macd, 9),
        "RSI14": np.divide(gain, gain + loss),
        "ATR14": wilder(true_range),
        "ADX14": wilder(directional_indices(plus, minus)),
        "BBANDS20": 4.0 * np.sqrt(window_moment(close, 20, first_bar) / 20.0),
        "STOCHF14": window_sum(stochastic, 3, first_bar) / 3.0,
        "AROONOSC25": (ages[1] - ages[0]) / 25.0,
        "MFI14": np.divide(positive, positive + negative),
    }
