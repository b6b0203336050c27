"""Where the recursive averages of a row begin: at absolute bar numbers, as the windows are split at absolute bars.

An exponential average never forgets its start to the last bit. So the start is part of the definition: the row of bar b
reads chains that begin at `anchor(b)`, or at the first bar of the unbroken series if that is later. Every engine and
every process, whenever it started, then computes the same bits.
"""

from __future__ import annotations

from modelkit.features.definition import MAX_FILL, READY_BARS

ANCHOR_STEP = 168
"""Bars between two anchors: a row's chain is 351 to 518 bars long."""
CHAIN_BARS = READY_BARS + ANCHOR_STEP
"""The longest chain; four anchors are alive at any bar."""


def anchor(bar: int) -> int:
    """First bar of the window from which the row of `bar` is computed."""
    return (bar - READY_BARS) // ANCHOR_STEP * ANCHOR_STEP


def first_needed_bar(bar: int) -> int:
    """Oldest bar whose candle can matter: a gap that began before the anchor is filled from before it."""
    return anchor(bar) - MAX_FILL
