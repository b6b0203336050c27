"""The features as TA-Lib and numpy reckon them."""

from __future__ import annotations

import numpy as np
import talib

from modelkit.candles import FloatArray

READY = 349


def oracle(o: FloatArray, h: FloatArray, l: FloatArray, c: FloatArray, v: FloatArray, m: FloatArray):  # noqa: E741
    """name -> (value, mask of comparable bars or None, tolerance) by TA-Lib."""
    prev = np.concatenate([[np.nan], c[:-1]])
    r = np.log(c / prev)
    mr = np.log(m / np.concatenate([[np.nan], m[:-1]]))
    sample = np.sqrt(24 / 23)
    upper, middle, lower = talib.BBANDS(c, 20, 2, 2)
    k, d = talib.STOCHF(h, l, c, 14, 3)
    macd_hist = talib.MACD(c, 12, 26, 9)[2]
    tp, s24 = talib.TYPPRICE(h, l, c), talib.SUM(v, 24)
    obv = talib.OBV(c, v)
    obv24 = obv - np.concatenate([np.full(24, np.nan), obv[:-24]])
    up = np.concatenate([[0.0], (c[1:] > c[:-1]).astype(float)])
    rr, mm = np.nan_to_num(r), np.nan_to_num(mr)
    corr = talib.CORREL(rr, mm, 168)
    out = {f"ret_{n}": (np.log(talib.ROCR(c, n)), 1e-12) for n in (1, 2, 4, 8, 24, 72, 168)}
    out |= {f"sma_dist_{n}": (c / talib.SMA(c, n) - 1, 1e-9) for n in (20, 50, 168)}
    out |= {
        "ret_z_24": ((rr - talib.SMA(rr, 24)) / (talib.STDDEV(rr, 24) * sample), 1e-9),
        "ppo_12_26": (talib.PPO(c, 12, 26, 1) / 100, 1e-9),
        "macd_hist_atr": (macd_hist / talib.ATR(h, l, c, 14), 1e-9),
        "adx_14": (talib.ADX(h, l, c, 14) / 100, 1e-9),
        "di_diff_14": ((talib.PLUS_DI(h, l, c, 14) - talib.MINUS_DI(h, l, c, 14)) / 100, 1e-9),
        "aroon_osc_25": (talib.AROONOSC(h, l, 25) / 100, 1e-12),
        "linreg_slope_24": (talib.LINEARREG_SLOPE(np.log(c), 24), 1e-11),
        "rsi_14": (talib.RSI(c, 14) / 100, 1e-9),
        "stoch_k_14": (k / 100, 1e-12),
        "stoch_d_14_3": (d / 100, 1e-12),
        "ultosc_7_14_28": (talib.ULTOSC(h, l, c, 7, 14, 28) / 100, 1e-12),
        "trix_12": (talib.TRIX(c, 12) / 100, 1e-11),
        "er_24": (talib.ER(c, 24), 1e-12),
        "up_share_24": (talib.SUM(up, 24) / 24, 1e-12),
        "vol_cc_24": (talib.STDDEV(rr, 24) * sample, 1e-9),
        "natr_14": (talib.NATR(h, l, c, 14) / 100, 1e-9),
        "bb_width_20": ((upper - lower) / middle, 1e-9),
        "bb_pctb_20": ((c - lower) / (upper - lower), 1e-7),
        "relvol_24": (np.log1p(v / talib.SMA(v, 24)) - np.log(2), 1e-9),
        "relvol_24_168": (np.log1p(talib.SMA(v, 24) / talib.SMA(v, 168)) - np.log(2), 1e-9),
        "vwap_dist_24": (c / (talib.SUM(tp * v, 24) / s24) - 1, 1e-9),
        "obv_flow_24": (obv24 / s24, 1e-9),
        "cmf_20": (talib.CMF(h, l, c, v, 20), 1e-9),
        "mfi_14": (talib.MFI(h, l, c, v, 14) / 100, 1e-9),
        "body": (talib.BOP(o, h, l, c), 1e-12),
        "range_atr": (talib.TRANGE(h, l, c) / talib.ATR(h, l, c, 14), 1e-9),
        "mkt_ret_24": (np.log(talib.ROCR(m, 24)), 1e-12),
        "corr_168": (corr, 1e-9),
        "beta_168": (corr * talib.STDDEV(rr, 168) / talib.STDDEV(mm, 168), 1e-9),
    }
    return out
