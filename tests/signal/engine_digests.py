"""What both engines compute, told in a few words, so that two processes can be compared."""

import hashlib

import numpy as np

from modelkit.features.definition import READY_BARS
from modelkit.features.history import history_stage
from modelkit.features.incremental import FeatureEngine
from tests.signal.signal_series import FIRST_BAR, HOUR, joined, synthetic

BARS = READY_BARS + 50


def digests() -> list[str]:
    """Of the ready rows of both engines, on two products."""
    candles = synthetic(2, BARS)
    start, *fields, factor = joined(candles)
    whole = history_stage(start, *fields, factor)
    engine, rows = FeatureEngine(tuple(candles), HOUR, "BTC-USD"), []
    for t in range(BARS):
        bar = (field[:, t].copy() for field in fields)
        rows.append(engine.step(FIRST_BAR + t, *bar, float(factor[t])).values.copy())
    made = [values[..., READY_BARS:] for values in (whole.values, whole.sd_24, whole.sd_168)]
    made.append(np.stack(rows[READY_BARS:]))
    assert all(np.isfinite(values).all() for values in made)
    return [hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() for values in made]
