"""Flat arrays say what the estimator says, to the last bit; hostile trees are refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from modelkit.flat_trees import FlatTrees, TreesMalformed, flatten

COLUMNS = 51


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other would cost more than the trees."""
    with threadpool_limits(limits=1):
        yield


def fitted(leaves: int = 15, iterations: int = 6, holes: float = 0.0, seed: int = 1, **more: Any) -> Any:
    """Three classes from 51 columns; `holes` is the share of values that are missing."""
    rng = np.random.default_rng(seed)
    rows = np.round(rng.normal(size=(900, COLUMNS)), 2)
    rows[:, 3] = rng.integers(0, 5, 900)
    labels = np.digitize(rows[:, 0] + 0.5 * rows[:, 1] * rows[:, 2] + rng.normal(0.0, 0.5, 900), [-0.5, 0.5])
    rows[rng.random(rows.shape) < holes] = np.nan
    given: dict[str, Any] = {"min_samples_leaf": 5, "max_bins": 64, "early_stopping": False, "random_state": seed}
    model = HistGradientBoostingClassifier(max_iter=iterations, max_leaf_nodes=leaves, **{**given, **more})
    return model.fit(rows, labels)


def asked(estimator: Any, flat: FlatTrees, count: int, seed: int = 2) -> Any:
    """Ordinary rows, rows on the splits themselves, missing and infinite values."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, COLUMNS)) * 2.0
    splits = np.isfinite(flat.threshold)
    for row in rows[::2]:
        row[flat.feature[splits]] = flat.threshold[splits]
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[rng.random(rows.shape) < 0.02] = np.inf
    rows[rng.random(rows.shape) < 0.02] = -np.inf
    rows[rng.random(rows.shape) < 0.02] = -0.0
    return rows


@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(lambda: fitted(), id="15 leaves"),
        pytest.param(lambda: fitted(2, 1), id="one split"),
        pytest.param(lambda: fitted(16), id="16 leaves, all bits"),
        pytest.param(lambda: fitted(17, holes=0.2), id="17 leaves, holes"),
        pytest.param(lambda: fitted(31, holes=0.3), id="31 leaves, holes"),
        pytest.param(lambda: fitted(32), id="32 leaves, all bits"),
        pytest.param(lambda: fitted(64, min_samples_leaf=1), id="64 leaves, all bits"),
        pytest.param(lambda: fitted(15, min_samples_leaf=10_000), id="no split at all"),
    ],
)
def test_the_bits_are_the_estimators(estimator: Any) -> None:
    model = estimator()
    flat = flatten(model)
    assert flat is not None
    for count in (1, 2, 7, 32, 33, 70):
        rows = asked(model, flat, count)
        found = flat.probabilities(rows)
        assert np.array_equal(found, model.predict_proba(rows))
        # A row's bits do not depend on the rows beside it.
        assert all(np.array_equal(flat.probabilities(row[None]), found[[index]]) for index, row in enumerate(rows))


def test_what_it_cannot_walk_it_leaves_to_the_estimator() -> None:
    assert flatten(fitted(65, min_samples_leaf=1, iterations=2)) is None
    assert flatten(fitted(categorical_features=[3])) is None


def change(nodes: Any, field: str, index: int, value: Any) -> None:
    nodes[field][index] = value


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda nodes: change(nodes, "left", 0, 0), id="a loop"),
        pytest.param(lambda nodes: change(nodes, "right", 0, 1), id="two parents"),
        pytest.param(lambda nodes: change(nodes, "left", 0, 2**31), id="outside"),
        pytest.param(lambda nodes: change(nodes, "is_leaf", 0, 1), id="orphans"),
        pytest.param(lambda nodes: change(nodes, "feature_idx", 0, COLUMNS), id="a column too many"),
        pytest.param(lambda nodes: change(nodes, "feature_idx", 0, -1), id="a negative column"),
    ],
)
def test_malformed_trees_are_told_before_anybody_walks_them(break_it: Any) -> None:
    model = copy.deepcopy(fitted())
    break_it(model._predictors[-1][2].nodes)
    with pytest.raises(TreesMalformed):
        flatten(model)


def test_other_objects_in_the_place_of_trees_are_told() -> None:
    model = fitted()
    nodes = model._predictors[0][0].nodes
    for broken in (
        nodes[:0],
        nodes.astype([(name, "<f8") for name in nodes.dtype.names]),
        nodes[None],
        "nodes",
    ):
        other = copy.deepcopy(model)
        other._predictors[0][0].nodes = broken
        with pytest.raises(TreesMalformed):
            flatten(other)
    for predictors in ([], [model._predictors[0][:2]], [[1, 2, 3]]):
        other = copy.deepcopy(model)
        other._predictors = predictors
        with pytest.raises(TreesMalformed):
            flatten(other)
    other = copy.deepcopy(model)
    other._baseline_prediction = np.zeros((1, 2))
    with pytest.raises(TreesMalformed):
        flatten(other)
