"""The work TA-Lib does for the same rows: per product, 39 of the 51 features over 350 candles; each indicator once."""

from __future__ import annotations

from typing import Any

import numpy as np
import talib

from modelkit.candles import FloatArray

COMPARABLE = 39
WINDOW = 350
_SAMPLE = float(np.sqrt(24 / 23))
_LOG_2 = float(np.log(2.0))


def newest_row(
    open: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, factor: FloatArray
) -> list[float]:
    """39 features of the last candle, recomputed from the whole series as bots on TA-Lib do."""
    lib: Any = talib
    ret, factor_ret = np.zeros_like(close), np.zeros_like(close)
    np.log(close[1:] / close[:-1], out=ret[1:])
    np.log(factor[1:] / factor[:-1], out=factor_ret[1:])
    ups = np.zeros_like(close)
    ups[1:] = close[1:] > close[:-1]
    upper, middle, lower = lib.BBANDS(close, 20, 2, 2)
    k, d = lib.STOCHF(high, low, close, 14, 3)
    atr = lib.ATR(high, low, close, 14)
    sd_24 = lib.STDDEV(ret, 24) * _SAMPLE
    volume_24 = lib.SUM(volume, 24)
    obv = lib.OBV(close, volume)
    correlation = lib.CORREL(ret, factor_ret, 168)
    columns = [np.log(lib.ROCR(close, lag)[-1]) for lag in (1, 2, 4, 8, 24, 72, 168)]
    columns += [close[-1] / lib.SMA(close, width)[-1] - 1.0 for width in (20, 50, 168)]
    columns += [
        (ret[-1] - lib.SMA(ret, 24)[-1]) / sd_24[-1],
        lib.PPO(close, 12, 26, 1)[-1] / 100.0,
        lib.MACD(close, 12, 26, 9)[2][-1] / atr[-1],
        lib.ADX(high, low, close, 14)[-1] / 100.0,
        (lib.PLUS_DI(high, low, close, 14)[-1] - lib.MINUS_DI(high, low, close, 14)[-1]) / 100.0,
        lib.AROONOSC(high, low, 25)[-1] / 100.0,
        lib.LINEARREG_SLOPE(np.log(close), 24)[-1],
        lib.RSI(close, 14)[-1] / 100.0,
        k[-1] / 100.0,
        d[-1] / 100.0,
        lib.ULTOSC(high, low, close, 7, 14, 28)[-1] / 100.0,
        lib.TRIX(close, 12)[-1] / 100.0,
        lib.ER(close, 24)[-1],
        lib.SUM(ups, 24)[-1] / 24.0,
        sd_24[-1],
        lib.NATR(high, low, close, 14)[-1] / 100.0,
        (upper[-1] - lower[-1]) / middle[-1],
        (close[-1] - lower[-1]) / (upper[-1] - lower[-1]),
        np.log1p(volume[-1] * 24.0 / volume_24[-1]) - _LOG_2,
        np.log1p(volume_24[-1] / 24.0 / lib.SMA(volume, 168)[-1]) - _LOG_2,
        close[-1] / (lib.SUM(lib.TYPPRICE(high, low, close) * volume, 24)[-1] / volume_24[-1]) - 1.0,
        (obv[-1] - obv[-25]) / volume_24[-1],
        lib.CMF(high, low, close, volume, 20)[-1],
        lib.MFI(high, low, close, volume, 14)[-1] / 100.0,
        lib.BOP(open, high, low, close)[-1],
        lib.TRANGE(high, low, close)[-1] / atr[-1],
        np.log(lib.ROCR(factor, 24)[-1]),
        correlation[-1],
        correlation[-1] * lib.STDDEV(ret, 168)[-1] / lib.STDDEV(factor_ret, 168)[-1],
    ]
    return [float(value) for value in columns]
