"""Predicts few rows with numpy alone: the trees of a loaded estimator as flat arrays, all splits of all trees at once.

The library spends its time on validation and on one call per tree, not on the trees. Here every split is compared in one
step; a split that sends the row to the right rules out the leaves on its left, and the first leaf that is left is the
row's (Lucchese et al. 2015, "QuickScorer"). Sums and softmax keep the estimator's own order, so that the bits are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from modelkit.candles import BoolArray, FloatArray, IntArray

MOST_ROWS: Final = 1_024
"""Above it the estimator serves. Up to it flat arrays were never slower: `python -m bench.predict` shows by how much."""
_BLOCK = 32
"""Rows whose splits fit into the processor's cache together; many more at once cost half as much again a row."""
_MOST_LEAVES: Final = 64
_MOST_TREES: Final = 6_000
_FIELDS: Final = ("is_leaf", "value", "left", "right", "feature_idx", "num_threshold", "missing_go_to_left")


class TreesMalformed(Exception):
    """The trees are none that training makes; walking them could run out of memory's bounds or never end."""


@dataclass(frozen=True, slots=True)
class FlatTrees:
    """(S, T) splits of T trees, padded with splits that always go left; `leaves` (T * width,) in order from the left.

    `ruled_out` holds a bit for each leaf to the left of a split; `trees` are iteration by iteration, class by class.
    """

    baseline: FloatArray
    feature: IntArray
    threshold: FloatArray
    missing_right: BoolArray
    ruled_out: npt.NDArray[np.unsignedinteger[Any]]
    leaves: FloatArray
    first_leaf: IntArray

    def probabilities(self, rows: FloatArray) -> FloatArray:
        """(n, features) to (n, classes), what `predict_proba` of the estimator gives."""
        columns, count = np.ascontiguousarray(rows.T), len(rows)
        trees, classes = len(self.first_leaf), self.baseline.shape[1]
        steps = np.empty((trees // classes + 1, classes, count))
        steps[0] = self.baseline.T
        values = steps[1:].reshape(trees, count)
        for begin in range(0, count, _BLOCK):
            values[:, begin : begin + _BLOCK] = self._values(columns[:, begin : begin + _BLOCK])
        # Baseline plus one tree after the other, as the rows lie side by side in memory: the order decides the last bit.
        return _softmax(np.ascontiguousarray(np.add.reduce(steps, axis=0).T))

    def _values(self, columns: FloatArray) -> FloatArray:
        """(T, n) value of the leaf that each row reaches in each tree, for (features, n) columns."""
        seen = columns.take(self.feature, axis=0)
        right = seen > self.threshold[:, :, None]
        if np.isnan(columns).any():
            right |= np.isnan(seen) & self.missing_right[:, :, None]
        out = np.bitwise_or.reduce(np.multiply(right, self.ruled_out[:, :, None]), axis=0)
        # As many bits as are set before the first that is not: the number of the leaf.
        first = np.bitwise_count(out & ~(out + out.dtype.type(1)))
        return np.asarray(self.leaves.take(first + self.first_leaf[:, None]))


def flatten(estimator: HistGradientBoostingClassifier) -> FlatTrees | None:
    """The trees as arrays; None if they hold what this cannot walk: categories, or too many leaves.

    Raises TreesMalformed, for trees that nothing should walk.
    """
    trees = list(_trees(estimator))
    for nodes in trees:
        _check(nodes, int(estimator.n_features_in_))
    most = max(int(np.count_nonzero(nodes["is_leaf"])) for nodes in trees)
    if most > _MOST_LEAVES or any(nodes["is_categorical"].any() for nodes in trees):
        return None
    shape = (max(most - 1, 1), len(trees))
    flat = FlatTrees(
        baseline=np.array(estimator._baseline_prediction, dtype=np.float64),
        feature=np.zeros(shape, dtype=np.int64),
        threshold=np.full(shape, np.inf),
        missing_right=np.zeros(shape, dtype=np.bool_),
        ruled_out=np.zeros(shape, dtype=_mask_type(most)),
        leaves=np.zeros(len(trees) * most),
        first_leaf=np.arange(len(trees), dtype=np.int64) * most,
    )
    for column, nodes in enumerate(trees):
        _lay_out(nodes, flat, column)
    return flat


def _trees(estimator: HistGradientBoostingClassifier) -> Iterator[npt.NDArray[Any]]:
    """Nodes of every tree in the order in which the estimator adds them up."""
    iterations = estimator._predictors
    classes = len(estimator.classes_)
    if not iterations or len(iterations) * classes > _MOST_TREES:
        raise TreesMalformed(f"there are {len(iterations)} iterations")
    if np.shape(estimator._baseline_prediction) != (1, classes):
        raise TreesMalformed("the baseline is not one number for each class")
    for iteration in iterations:
        if len(iteration) != classes:
            raise TreesMalformed("an iteration has not one tree for each class")
        for tree in iteration:
            if type(tree) is not TreePredictor or getattr(tree.nodes, "dtype", None) != PREDICTOR_RECORD_DTYPE:
                raise TreesMalformed("a tree is of another type")
            yield tree.nodes


def _check(nodes: npt.NDArray[Any], features: int) -> None:
    """Every node but the root has one parent, which comes before it; every split looks at a column that is there."""
    if nodes.ndim != 1 or not len(nodes):
        raise TreesMalformed("a tree has no nodes")
    splits = np.flatnonzero(nodes["is_leaf"] == 0)
    children = np.concatenate([nodes["left"][splits], nodes["right"][splits]]).astype(np.int64)
    parents = np.concatenate([splits, splits])
    if not (children > parents).all() or not np.array_equal(np.sort(children), np.arange(1, len(nodes))):
        raise TreesMalformed("the nodes of a tree do not form one")
    looked_at = nodes["feature_idx"][splits]
    if ((looked_at < 0) | (looked_at >= features)).any():
        raise TreesMalformed("a split looks at a column that is not there")


def _lay_out(nodes: npt.NDArray[Any], flat: FlatTrees, column: int) -> None:
    """Writes one tree into its column: splits in any order, leaves from the left to the right."""
    width = len(flat.leaves) // len(flat.first_leaf)
    is_leaf, value, left, right, feature, threshold, missing_left = (nodes[name].tolist() for name in _FIELDS)
    leaves: list[float] = []
    row = 0

    def descend(node: int) -> None:
        nonlocal row
        if is_leaf[node]:
            leaves.append(value[node])
            return
        mine, row = row, row + 1
        first = len(leaves)
        descend(left[node])
        flat.feature[mine, column] = feature[node]
        flat.threshold[mine, column] = threshold[node]
        flat.missing_right[mine, column] = not missing_left[node]
        flat.ruled_out[mine, column] = (1 << len(leaves)) - (1 << first)
        descend(right[node])

    descend(0)
    flat.leaves[column * width : column * width + len(leaves)] = leaves


def _mask_type(leaves: int) -> type[np.unsignedinteger[Any]]:
    if leaves <= 16:
        return np.uint16
    return np.uint32 if leaves <= 32 else np.uint64


def _softmax(raw: FloatArray) -> FloatArray:
    """In place, operation by operation as the library does it."""
    raw -= raw.max(axis=1).reshape(-1, 1)
    np.exp(raw, out=raw)
    raw /= raw.sum(axis=1).reshape(-1, 1)
    return raw
