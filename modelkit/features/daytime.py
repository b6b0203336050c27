"""The four features that say when a bar closed: the same for all products, and the same again a week later."""

from __future__ import annotations

from math import pi

import numpy as np

from modelkit.candles import FloatArray, IntArray

WEEK_SECONDS = 604_800
_DAY, _EPOCH_TO_MONDAY = 86_400, 259_200


def time_features(close_time: IntArray) -> FloatArray:
    """Sine and cosine of hour and weekday (4, bars)."""
    angles = np.stack((close_time % _DAY, (close_time + _EPOCH_TO_MONDAY) % WEEK_SECONDS))
    periods = np.array([[_DAY], [WEEK_SECONDS]])
    turned = 2.0 * pi * angles / periods
    return np.stack((np.sin(turned), np.cos(turned)), axis=1).reshape(4, -1)
