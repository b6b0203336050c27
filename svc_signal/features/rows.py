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
DIRECT: Final = 8
"""The first eight are averages of the bar's own terms."""
