"""Drift: the index against a plain count, ties that are no drift, grades, and when a model has to hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.features.cleaning import clean
from modelkit.features.definition import FEATURE_COUNT, FEATURES, INDEX, NAMES
from modelkit.serving import grid_stage
from svc_signal.drift.measures import (
    MIN_BARS,
    MIN_LABELS,
    DriftReport,
    FeatureDrift,
    Grade,
    Tally,
    bin_shares,
    edge_drift,
    feature_drift,
    grade,
    is_suspended,
    prior_loss,
    stability_index,
    total,
)
from svc_signal.drift.wire import drift_message
from tests.signal.signal_series import real, synthetic
from trading.signal.v1 import signal_service_pb2 as pb

NOW = datetime(2025, 3, 1, tzinfo=UTC)


def deciles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, np.linspace(0.0, 1.0, 11)[1:-1])


def counted(values: list[float], edges: list[float]) -> float:
    """The index by its textbook sum, one value at a time."""
    counts = [0.5] * 10
    for value in values:
        counts[sum(value > edge for edge in edges)] += 1
    return sum((count / sum(counts) - 0.1) * log(count / sum(counts) / 0.1) for count in counts)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(20, 400), st.floats(-2.0, 2.0), st.floats(0.2, 3.0))
def test_the_index_is_the_textbook_sum(seed: int, rows: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    edges = deciles(rng.normal(size=1000))
    values = rng.normal(shift, scale, rows)
    found = stability_index(bin_shares(values[:, None], edges[None, :]), rows)
    assert found[0] == pytest.approx(counted(values.tolist(), edges.tolist()), abs=1e-9)
    assert found[0] >= 0.0


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0.0, Grade.NONE), (0.4, Grade.NOTICE), (0.6, Grade.WARNING), (1.0, Grade.ALARM)],
)
def test_known_shifts_of_a_normal_cross_the_grades(shift: float, expected: Grade) -> None:
    """For a normal moved by d standard deviations the index of fine bins is d * d; ten bins see a little less."""
    rng = np.random.default_rng(1)
    edges = deciles(rng.normal(size=200_000))
    values = rng.normal(shift, 1.0, 20_000)
    psi = float(stability_index(bin_shares(values[:, None], edges[None, :]), len(values))[0])
    assert psi == pytest.approx(shift * shift, rel=0.2, abs=0.01)
    assert grade(psi) is expected


def test_grades_begin_at_their_limits() -> None:
    assert [grade(psi) for psi in (0.0, 0.0999, 0.1, 0.2499, 0.25, 0.4999, 0.5, 9.0)] == [
        Grade.NONE, Grade.NONE, Grade.NOTICE, Grade.NOTICE, Grade.WARNING, Grade.WARNING, Grade.ALARM, Grade.ALARM,
    ]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.0, 0.7))
def test_values_that_repeat_are_no_drift(seed: int, levels: int, always: float) -> None:
    """A feature of few values, or with one value for a third of its rows, against itself."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, 30_000) / levels
    values[rng.uniform(size=len(values)) < always] = 1.0
    reference, seen = values[:20_000], values[20_000:] + rng.normal(0.0, 1e-13, 10_000)
    psi = float(stability_index(bin_shares(seen[:, None], deciles(reference)[None, :]), len(seen))[0])
    assert psi < 0.01


def test_a_value_that_was_common_and_is_gone_is_drift() -> None:
    reference = np.concatenate([np.full(500, 1.0), np.linspace(0.0, 0.9, 500)])
    psi = float(stability_index(bin_shares(np.full((500, 1), 0.5), deciles(reference)[None, :]), 500)[0])
    assert grade(psi) is Grade.ALARM


def test_features_are_sorted_times_left_out_and_too_little_is_said_to_be_nothing() -> None:
    rng = np.random.default_rng(2)
    values = rng.uniform(size=(900, FEATURE_COUNT))
    values[:, INDEX["adx_14"]] *= 0.5
    values[:, INDEX["hour_sin"]] = 0.0
    bins = {name: (np.arange(1, 10) / 10).tolist() for name in NAMES}
    found = feature_drift(values, MIN_BARS, bins)
    assert found[0].name == "adx_14" and found[0].grade is Grade.ALARM
    assert [one.psi for one in found] == sorted((one.psi for one in found), reverse=True)
    assert {one.name for one in found} == {feature.name for feature in FEATURES if feature.group != "time"}
    assert feature_drift(values, MIN_BARS - 1, bins) == ()
    assert feature_drift(values, MIN_BARS, {}) == ()
    assert {one.name for one in feature_drift(values, MIN_BARS, {"adx_14": bins["adx_14"]})} == {"adx_14"}


def test_edges_are_compared_by_their_counts() -> None:
    assert edge_drift(()) == edge_drift([0] * 10) == 0.0
    assert edge_drift([100] * 10) == pytest.approx(0.0)
    assert edge_drift([1000] + [0] * 9) > 2.0


def test_the_priors_lose_what_always_saying_them_loses() -> None:
    outcomes = [0] * 30 + [1] * 50 + [2] * 20
    said = (0.25, 0.45, 0.3)
    expected = -sum(log(said[outcome]) for outcome in outcomes) / len(outcomes)
    assert prior_loss((30, 50, 20), said) == pytest.approx(expected)
    assert prior_loss((0, 0, 0), said) == 0.0


def test_parts_add_up_and_edges_only_where_all_were_counted() -> None:
    first = Tally(3, 1, 0, 10**12, (1, 2), (1, 0, 2), 6 * 10**12)
    second = Tally(5, 0, 2, 3 * 10**12, (4, 1), (0, 3, 0), 3 * 10**12)
    whole = total([first, second])
    assert whole == Tally(8, 1, 2, 4 * 10**12, (5, 3), (1, 3, 2), 9 * 10**12)
    assert (whole.labels, whole.log_loss, whole.share(whole.buys)) == (6, 1.5, 0.125)
    assert total([first, replace(second, edge_counts=())]).edge_counts == ()
    empty = total([Tally(0, 0, 0, 0, (), (0, 0, 0), 0)])
    assert (empty.log_loss, empty.share(0)) == (0.0, 0.0)


def test_a_suspension_needs_labels_and_ends_only_when_the_model_is_clearly_better() -> None:
    assert is_suspended(False, MIN_LABELS, 1.01, 1.0)
    assert not is_suspended(False, MIN_LABELS - 1, 9.0, 1.0)
    assert not is_suspended(False, MIN_LABELS, 1.0, 1.0)
    assert is_suspended(True, MIN_LABELS, 0.999, 1.0)
    assert not is_suspended(True, MIN_LABELS, 0.994, 1.0)
    assert is_suspended(True, MIN_LABELS - 1, 0.1, 1.0)


def test_the_message_says_what_the_report_says() -> None:
    report = DriftReport(
        model_version="m", as_of=NOW, rows=393, features=(FeatureDrift("rsi_14", 0.6), FeatureDrift("body", 0.01)),
        edge_psi=0.2, buy_share=0.1, sell_share=0.05, mean_confidence=0.6, matured_labels=700, log_loss=1.02,
        prior_log_loss=1.05, suspended=False, own_since=NOW, edge_bins=(),
        part=Tally(0, 0, 0, 0, (), (0, 0, 0), 0),
    )  # fmt: skip
    message = drift_message(report)
    assert message.as_of.ToDatetime(UTC) == NOW
    assert [(one.name, one.psi, one.level) for one in message.features] == [
        ("rsi_14", 0.6, pb.DRIFT_LEVEL_ALARM),
        ("body", 0.01, pb.DRIFT_LEVEL_NONE),
    ]
    for name in ("rows", "edge_psi", "buy_share", "sell_share", "mean_confidence", "matured_labels", "log_loss"):
        assert getattr(message, name) == getattr(report, name)
    assert message.prior_log_loss == report.prior_log_loss


def _features(candles: dict, bars: int) -> np.ndarray:
    """(51, P, bars) of the last bars."""
    return grid_stage(clean(candles, 3600, "BTC-USD")).values[:, :, -bars:]


def _index_of(reference: np.ndarray, seen: np.ndarray) -> tuple[FeatureDrift, ...]:
    rows = reference.reshape(FEATURE_COUNT, -1).T
    bins = np.quantile(rows[np.isfinite(rows[:, 0])], np.linspace(0.0, 1.0, 11)[1:-1], axis=0).T
    values = seen[:, :, ::11].reshape(FEATURE_COUNT, -1).T
    return feature_drift(values[np.isfinite(values[:, 0])], MIN_BARS, dict(zip(NAMES, bins.tolist(), strict=True)))


def test_a_market_that_stays_as_it_was_is_below_the_alarm_and_a_wilder_one_is_not() -> None:
    values = _features(synthetic(3, 9000, seed=4), 8600)
    calm = _index_of(values[:, :, :7000], values[:, :, 7160:])
    assert max(one.psi for one in calm) < 0.5
    assert sum(one.psi >= 0.25 for one in calm) <= 2
    wild = synthetic(3, 9000, seed=4)
    for one in wild.values():
        for column in one.prices():
            column[:] = np.exp(np.log(column) * 2.0)
    moved = _index_of(values[:, :, :7000], _features(wild, 8600)[:, :, 7160:])
    assert {one.name for one in moved if one.grade is Grade.ALARM} >= {"vol_cc_24", "natr_14", "parkinson_24"}


def test_real_candles_of_the_same_months_are_below_the_alarm() -> None:
    values = _features(real(("BTC-USD", "ETH-USD", "SOL-USD"), "2024-08-01", "2025-02-01"), 4000)
    found = _index_of(values, values)
    assert max(one.psi for one in found) < 0.1
