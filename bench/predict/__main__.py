"""Flat arrays against stock `predict_proba`: medians and ratios of one run, one thread (`python -m bench.predict`).

The model has the size of the default training; its rows are drawn from a seed, because what a walk costs depends on the
shape of the trees and not on what they say. All figures are processor time, and both engines take turns, so that
neighbours on the machine count for little.
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from modelkit.features.definition import FEATURE_COUNT
from modelkit.flat_trees import MOST_ROWS, flatten
from training.fit import trees
from training.settings import EstimatorSettings

ROWS = (1, 10, 32, 100, 1000, 3000)
LEARNED_ROWS = 25_000
SECONDS_PER_SIZE = 3.0
LEAST_TURNS = 15


def model() -> HistGradientBoostingClassifier:
    """120 iterations of three trees with 15 leaves."""
    rng = np.random.default_rng(51)
    rows = rng.normal(size=(LEARNED_ROWS, FEATURE_COUNT))
    score = 0.3 * rows[:, 0] + 0.3 * rows[:, 1] * rows[:, 2] + rng.normal(size=LEARNED_ROWS)
    return trees(EstimatorSettings(), seed=51).fit(rows, np.digitize(score, [-0.5, 0.5]))


def seconds(call: Callable[[Any], Any], rows: Any) -> float:
    """Processor time of all threads of this process."""
    began = time.process_time()
    call(rows)
    return time.process_time() - began


def measure(estimator: HistGradientBoostingClassifier) -> list[dict[str, Any]]:
    """One entry for each number of rows; times in microseconds."""
    flat = flatten(estimator)
    if flat is None:
        raise SystemExit("these trees cannot be laid flat")
    rng = np.random.default_rng(7)
    found = []
    for count in ROWS:
        rows = rng.normal(size=(count, FEATURE_COUNT))
        difference = float(np.max(np.abs(estimator.predict_proba(rows) - flat.probabilities(rows))))
        stock: list[float] = []
        ours: list[float] = []
        end = time.perf_counter() + SECONDS_PER_SIZE
        while len(stock) < LEAST_TURNS or time.perf_counter() < end:
            stock.append(seconds(estimator.predict_proba, rows))
            ours.append(seconds(flat.probabilities, rows))
        stock_us, flat_us = float(np.median(stock)) * 1e6, float(np.median(ours)) * 1e6
        found.append(
            {
                "rows": count,
                "turns": len(stock),
                "estimator_us": round(stock_us, 1),
                "flat_us": round(flat_us, 1),
                "ratio": round(stock_us / flat_us, 2),
                "largest_difference": difference,
                "serves": "flat arrays" if count <= MOST_ROWS else "estimator",
            }
        )
    return found


def main() -> None:
    """The table on standard error, the figures as JSON on standard output."""
    estimator = model()
    with threadpool_limits(limits=1):
        sizes = measure(estimator)
    table = Table("rows", "estimator, us", "flat arrays, us", "times faster", "largest difference", "serves")
    for each in sizes:
        table.add_row(
            str(each["rows"]),
            f"{each['estimator_us']:.0f}",
            f"{each['flat_us']:.0f}",
            f"{each['ratio']:.1f}",
            f"{each['largest_difference']:.1g}",
            str(each["serves"]),
        )
    Console(stderr=True, highlight=False).print(table)
    versions = {"python": platform.python_version(), "numpy": np.__version__, "sklearn": sklearn.__version__}
    sys.stdout.write(json.dumps({"bench": "predict", "versions": versions, "sizes": sizes}) + "\n")


if __name__ == "__main__":
    main()
