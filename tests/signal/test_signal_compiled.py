"""Machine code gives the bits of the formulas as they are written: both engines, run by Python itself, agree with it.

What a compiler may do to numbers, such as fusing a product into a sum or replacing a division, would show here.
"""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from numba.core import caching

from svc_signal.features.compiled import compiled
from svc_signal.features.definition import READY_BARS
from svc_signal.features.history import history_stage
from svc_signal.features.incremental import FeatureEngine
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


def test_machine_code_gives_the_bits_of_the_formulas_as_written():
    python = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = "import sys; from tests.signal.test_signal_compiled import digests; sys.stdout.write(' '.join(digests()))"
    argv = [sys.executable, "-W", "ignore", "-c", told]
    plain = subprocess.run(argv, env=python, capture_output=True, text=True, timeout=120, check=True)
    assert plain.stdout.split() == digests()


def test_where_nothing_can_be_kept_a_function_is_translated_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # as where no folder can be written
    twice = compiled(lambda x: x + x)
    assert twice(1.5) == 3.0
