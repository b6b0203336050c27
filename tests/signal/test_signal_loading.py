"""Hostile and unfit artifacts: each is refused with its reason, and code in a refused file never runs."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from modelkit import loading
from modelkit.loading import LoadedModel, RefusedBecause, load_model
from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME, canonical
from modelkit.signing import Trust, private_key_from_pem, public_key_from_pem, sign
from tests.signal.artifacts import KEY, TRUST, WHEN, refused, replace_artifact, resign
from training.artifact import write_model
from training.fit import TrainedModel


class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "ran")


def test_good_model_loads_and_answers_as_it_was_trained(folder: Path, small_model: TrainedModel) -> None:
    loaded = load_model(folder, TRUST, 3600)
    assert isinstance(loaded, LoadedModel)
    found = loaded.probabilities(small_model.self_test_rows)
    assert np.array_equal(found, small_model.self_test_probabilities)
    manifest = loaded.manifest
    assert manifest.label == small_model.settings.label
    assert manifest.thresholds == small_model.choice.thresholds
    assert manifest.train_to == small_model.train_to
    assert manifest.products == small_model.products
    assert manifest.document["code_revision"] == "abc123"
    assert manifest.created_at == "2025-01-01T00:00:00+00:00"


def test_manifest_is_canonical_and_complete(folder: Path) -> None:
    content = (folder / MANIFEST_NAME).read_bytes()
    document = json.loads(content)
    assert canonical(document) == content
    needed = "schema model_version created_at artifact feature_set classes label train versions metrics"
    needed += " calibration thresholds reference_bins self_test code_revision"
    assert set(document) == set(needed.split())
    assert len(document["self_test"]["rows"]) == 16


def test_pinned_hash_is_enough_and_a_wrong_pin_is_not(tmp_path: Path, small_model: TrainedModel) -> None:
    pin = write_model(tmp_path, small_model, WHEN, "abc123", None)
    assert load_model(tmp_path, Trust(manifest_sha256=pin.upper()), 3600).manifest.granularity == 3600
    assert refused(tmp_path, Trust(manifest_sha256="0" * 64)) is RefusedBecause.PIN_MISMATCH
    assert refused(tmp_path, Trust()) is RefusedBecause.NO_TRUST_CONFIGURED
    assert refused(tmp_path, TRUST) is RefusedBecause.FILE_UNREADABLE  # unsigned


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 1.0])
def test_one_flipped_bit_in_the_artifact(folder: Path, place: float) -> None:
    data = bytearray((folder / ARTIFACT_NAME).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (folder / ARTIFACT_NAME).write_bytes(data)
    assert refused(folder) is RefusedBecause.HASH_MISMATCH


def test_one_flipped_bit_in_the_manifest_or_another_key(folder: Path) -> None:
    other = Ed25519PrivateKey.generate()
    assert refused(folder, Trust(public_key=other.public_key())) is RefusedBecause.SIGNATURE_INVALID
    data = bytearray((folder / MANIFEST_NAME).read_bytes())
    data[100] ^= 1
    (folder / MANIFEST_NAME).write_bytes(data)
    assert refused(folder) is RefusedBecause.SIGNATURE_INVALID
    (folder / SIGNATURE_NAME).write_bytes(b"no base64 \xff")
    assert refused(folder) is RefusedBecause.SIGNATURE_INVALID


def test_code_in_a_replaced_artifact_does_not_run(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    joblib.dump(Bomb(target), folder / ARTIFACT_NAME)
    assert refused(folder) is RefusedBecause.HASH_MISMATCH
    assert not target.exists()
    joblib.load(folder / ARTIFACT_NAME)
    assert target.exists()  # the bomb was real


def test_artifact_swapped_between_check_and_load(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, checked = tmp_path / "ran", loading._check_versions

    def swap(manifest: Any) -> None:
        joblib.dump(Bomb(target), folder / ARTIFACT_NAME)
        checked(manifest)

    monkeypatch.setattr(loading, "_check_versions", swap)
    assert load_model(folder, TRUST, 3600).manifest.granularity == 3600
    assert not target.exists()


def test_links_pipes_folders_and_huge_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = folder / ARTIFACT_NAME
    moved = artifact.rename(tmp_path / "elsewhere")
    artifact.symlink_to(moved)
    assert refused(folder) is RefusedBecause.FILE_UNREADABLE
    artifact.unlink()
    assert refused(folder) is RefusedBecause.FILE_UNREADABLE
    os.mkfifo(artifact)
    assert refused(folder) is RefusedBecause.FILE_UNREADABLE
    artifact.unlink()
    artifact.mkdir()
    assert refused(folder) is RefusedBecause.FILE_UNREADABLE
    artifact.rmdir()
    moved.rename(artifact)
    monkeypatch.setattr(loading, "MAX_ARTIFACT_BYTES", 1000)
    assert refused(folder) is RefusedBecause.FILE_TOO_LARGE


def test_manifest_of_another_model(folder: Path, tmp_path: Path, small_model: TrainedModel) -> None:
    other = copy.deepcopy(small_model.estimator)
    other._baseline_prediction = other._baseline_prediction + np.asarray([[0.0, 0.0, 1e-6]])
    joblib.dump(other, folder / ARTIFACT_NAME)
    assert refused(folder) is RefusedBecause.HASH_MISMATCH
    replace_artifact(folder, other)
    assert refused(folder) is RefusedBecause.SELF_TEST_FAILED


@pytest.mark.parametrize(("library", "version"), [("sklearn", "1.8.2"), ("python", "3.10.4")])
def test_other_versions_are_refused_before_loading(folder: Path, tmp_path: Path, library: str, version: str) -> None:
    replace_artifact(folder, Bomb(tmp_path / "ran"), lambda document: document["versions"].update({library: version}))
    assert refused(folder) is RefusedBecause.VERSION_MISMATCH
    assert not (tmp_path / "ran").exists()


def test_estimator_pickled_by_another_version(folder: Path, small_model: TrainedModel) -> None:
    other = copy.deepcopy(small_model.estimator)
    state = other.__getstate__() | {"_sklearn_version": "1.8.0"}
    type(other).__getstate__, original = lambda self: state, type(other).__getstate__
    try:
        replace_artifact(folder, other)
    finally:
        type(other).__getstate__ = original
    assert refused(folder) is RefusedBecause.NOT_LOADABLE


def test_other_feature_set_granularity_or_classes(folder: Path) -> None:
    assert refused(folder, granularity=900) is RefusedBecause.FEATURE_SET_MISMATCH
    resign(folder, lambda document: document.update(classes=[0, 1]))
    assert refused(folder) is RefusedBecause.CLASSES_MISMATCH
    resign(folder, lambda document: document["feature_set"]["names"].reverse())
    assert refused(folder) is RefusedBecause.FEATURE_SET_MISMATCH


def fitted(columns: int, kind: type = HistGradientBoostingClassifier) -> Any:
    rng = np.random.default_rng(1)
    return kind(max_iter=200 if kind is LogisticRegression else 2).fit(
        rng.normal(size=(60, columns)), rng.integers(0, 3, 60)
    )


def test_other_types_and_other_widths_are_not_served(folder: Path) -> None:
    class Subclass(HistGradientBoostingClassifier):
        pass

    replace_artifact(folder, fitted(50))
    assert refused(folder) is RefusedBecause.WRONG_INPUTS
    replace_artifact(folder, fitted(51, LogisticRegression))
    assert refused(folder) is RefusedBecause.TYPE_NOT_ALLOWED
    replace_artifact(folder, {"predict_proba": 1})
    assert refused(folder) is RefusedBecause.TYPE_NOT_ALLOWED
    (folder / ARTIFACT_NAME).write_bytes(b"not a pickle")
    data = b"not a pickle"
    resign(folder, lambda document: document["artifact"].update(sha256=hashlib.sha256(data).hexdigest()))
    assert refused(folder) is RefusedBecause.NOT_LOADABLE


def test_nan_outputs_fail_the_self_test(folder: Path, small_model: TrainedModel) -> None:
    broken = copy.deepcopy(small_model.estimator)
    broken._baseline_prediction = np.full_like(broken._baseline_prediction, np.nan)
    replace_artifact(folder, broken)
    assert refused(folder) is RefusedBecause.SELF_TEST_FAILED


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("thresholds"),
        lambda d: d.update(schema="other/1"),
        lambda d: d["artifact"].update(file="../balanced_model.joblib"),
        lambda d: d["calibration"].update(kind="none"),
        lambda d: d["calibration"].update(class_shares=[0.5, 0.5]),
        lambda d: d["thresholds"].update(theta_buy=float("nan")),
        lambda d: d["self_test"].update(rows=[], probabilities=[]),
        lambda d: d["self_test"]["rows"][0].__setitem__(3, float("nan")),
        lambda d: d["self_test"]["rows"][0].pop(),
        lambda d: d["label"].update(horizon_bars="many"),
        lambda d: d.update(train=7),
    ],
)
def test_malformed_manifest_is_refused_even_when_signed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    resign(folder, change)
    assert refused(folder) is RefusedBecause.MANIFEST_MALFORMED


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_manifest_that_is_no_document(folder: Path, content: bytes) -> None:
    (folder / MANIFEST_NAME).write_bytes(content)
    (folder / SIGNATURE_NAME).write_bytes(sign(content, KEY))
    assert refused(folder) is RefusedBecause.MANIFEST_MALFORMED


def test_keys_travel_as_pem() -> None:
    pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert private_key_from_pem(pem).sign(b"x") == KEY.sign(b"x")
    public_key_from_pem(public).verify(KEY.sign(b"x"), b"x")
    with pytest.raises(ValueError):
        public_key_from_pem(pem)
