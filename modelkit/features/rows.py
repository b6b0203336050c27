"""Where each series stands in the matrices that pass between terms, windows, averages and the last stage.

The order is chosen so that what is worked on together are neighbours: a window then reads a slice, and several features
cost one call.
"""

from __future__ import annotations

from typing import Final

HIGH: Final = 0
LOW: Final = 1
CLOSE: Final = 2
OPEN: Final = 3
VOLUME: Final = 4
"""A bar."""

OWN_TERMS: Final = 5
"""Terms of a bar that no window keeps."""
CHANGE, HEIGHT, TRUE_RANGE, PLUS_MOVE, MINUS_MOVE = range(OWN_TERMS)
"""C - C'; H - L; on a first bar H - L and no movement."""

LONG_TERMS: Final = 6
"""Terms of a bar that are kept for a week."""
PRODUCT, LONG_CLOSE, LONG_VOLUME, RET, RET_SQUARE, LOG_CLOSE = range(LONG_TERMS)
"""PRODUCT is the return times the factor's."""

SHORT_TERMS: Final = 23
"""Terms of a bar that are kept for the widest of the shorter windows."""
GAP, BODY, GAP_SQUARE, BODY_SQUARE, RANGE_SQUARE, ROGERS_SATCHELL, FALL_SQUARE, PATH, UP, SIGNED = range(10)
MONEY, TYPICAL, INDEXED, ACCUMULATION, SHIFTED, SHIFTED_SQUARE = range(10, 16)
PRESSURE, RANGE, POSITIVE, NEGATIVE, STOCHASTIC, TOP, BOTTOM = range(16, SHORT_TERMS)
"""INDEXED is the log close times its place in the day's block; TOP and BOTTOM are high and negative low."""

WEEK_LONG: Final = slice(PRODUCT, RET_SQUARE + 1)
DAY_LONG: Final = slice(LONG_VOLUME, LOG_CLOSE + 1)
DAY_SHORT: Final = slice(GAP, INDEXED + 1)
"""What the windows of 168 and 24 bars sum; sums of the day stand in the order DAY_LONG, DAY_SHORT."""
CLOSE_LONG: Final = slice(LONG_CLOSE, LONG_CLOSE + 1)
TRADED_LONG: Final = slice(LONG_CLOSE, LONG_VOLUME + 1)
SWINGS: Final = slice(PRESSURE, RANGE + 1)
SWINGS_FLOWS: Final = slice(PRESSURE, NEGATIVE + 1)
EXTREMES: Final = slice(TOP, BOTTOM + 1)

_LONG_OF_DAY = DAY_LONG.stop - DAY_LONG.start
DAY_VOLUME: Final = LONG_VOLUME - DAY_LONG.start
DAY_RET: Final = RET - DAY_LONG.start
DAY_RET_SQUARE: Final = RET_SQUARE - DAY_LONG.start
DAY_LOG_CLOSE: Final = LOG_CLOSE - DAY_LONG.start
DAY_FIRST: Final = _LONG_OF_DAY
"""Sum of short term x over the day: row DAY_FIRST + x."""
DAY_SUMS: Final = _LONG_OF_DAY + DAY_SHORT.stop

SMOOTHED: Final = 12
"""Recursive averages: of the bar itself first, then those of other averages."""
EMA_12, EMA_26, ATR, RANGE_SUM, PLUS, MINUS, GAIN, LOSS, EMA_12_TWICE, MACD_SIGNAL, ADX, TRIX = range(SMOOTHED)
# The first eight are averages of the bar's own terms.

# The 51 features, in the order of `definition.NAMES`: a compiled loop reads numbers, not names.
RET_1, RET_2, RET_4, RET_8, RET_24, RET_72, RET_168, RET_Z_24 = range(8)
SMA_DIST_20, SMA_DIST_50, SMA_DIST_168, PPO_12_26, MACD_HIST_ATR, ADX_14, DI_DIFF_14, AROON_OSC_25 = range(8, 16)
LINREG_SLOPE_24, RSI_14, STOCH_K_14, STOCH_D_14_3, ULTOSC_7_14_28, TRIX_12, ER_24, UP_SHARE_24 = range(16, 24)
VOL_CC_24, VOL_RATIO_24_168, PARKINSON_24, GARMAN_KLASS_24, YANG_ZHANG_24, NATR_14, BB_WIDTH_20 = range(24, 31)
BB_PCTB_20, DOWNSIDE_SHARE_24, RELVOL_24, RELVOL_24_168, VWAP_DIST_24, OBV_FLOW_24, CMF_20, MFI_14 = range(31, 39)
BODY_SHARE, UPPER_WICK, LOWER_WICK, RANGE_ATR, HOUR_SIN, HOUR_COS, DOW_SIN, DOW_COS = range(39, 47)
MKT_RET_24, BETA_168, CORR_168, RESID_RET_24 = range(47, 51)
