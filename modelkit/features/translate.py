"""Translates the loops of both engines before the first bar waits for them: `python -m modelkit.features.translate`.

The result is kept (see `loop_cache`), so it takes its ten seconds once; a process that finds it kept takes one second.
"""

from __future__ import annotations

import numpy as np

from modelkit.features.history import history
from modelkit.features.incremental import FeatureEngine
from modelkit.features.loop_cache import forget_others

_GRANULARITY = 3600


def translate() -> None:
    """Runs both engines over two bars of two products."""
    prices = np.ones((2, 2))
    history(np.arange(2) * _GRANULARITY, prices, prices, prices, prices, prices, prices[0])
    engine, (row, _) = FeatureEngine(("A-USD", "B-USD"), _GRANULARITY, "A-USD"), prices
    for bar in range(2):
        engine.step(bar, row, row, row, row, row, 1.0)


if __name__ == "__main__":
    forget_others()
    translate()
