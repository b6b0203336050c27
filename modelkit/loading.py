"""Decides whether a model may be served; a file that fails a check is refused before anything worse can
happen.

joblib files are pickles: loading one runs code. So the manifest is authenticated first, the artifact is read
once and hashed, versions and feature set are compared, and only then are those same bytes unpickled, their trees
looked through, and put to a self-test.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import io
import os
import platform
import stat
import warnings
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import InconsistentVersionWarning
from threadpoolctl import threadpool_limits

from modelkit.candles import FloatArray
from modelkit.features.definition import FEATURE_COUNT, NAMES, feature_set_hash
from modelkit.flat_trees import MOST_ROWS, FlatTrees, TreesMalformed, flatten
from modelkit.manifest import (
    ARTIFACT_NAME,
    MANIFEST_NAME,
    SIGNATURE_NAME,
    Manifest,
    ManifestMalformed,
    parse,
)
from modelkit.model_folders import ModelFolder
from modelkit.sampling import CLASSES, correct_for_prior
from modelkit.signing import Trust, pin_holds, signature_holds

MAX_ARTIFACT_BYTES: Final = 64 * 1024 * 1024
_MAX_MANIFEST_BYTES: Final = 2 * 1024 * 1024  # GetModel tells all of it in one message
_MAX_SIGNATURE_BYTES: Final = 1024
_SELF_TEST_TOLERANCE: Final = 1e-9
_ENGINE_TOLERANCE: Final = 1e-12
_UNSIGNED: Final = (
    f"the model is not signed: there is no {SIGNATURE_NAME}. Train it with `mesh train`, which signs, or on a file with"
    " `mesh train --file FILE --report DIR --serve`"
)


class RefusedBecause(StrEnum):
    """The check a candidate failed, in the order in which they are made."""

    NO_TRUST_CONFIGURED = "NO_TRUST_CONFIGURED"
    FILE_UNREADABLE = "FILE_UNREADABLE"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    PIN_MISMATCH = "PIN_MISMATCH"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    MANIFEST_MALFORMED = "MANIFEST_MALFORMED"
    HASH_MISMATCH = "HASH_MISMATCH"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    FEATURE_SET_MISMATCH = "FEATURE_SET_MISMATCH"
    CLASSES_MISMATCH = "CLASSES_MISMATCH"
    NOT_LOADABLE = "NOT_LOADABLE"
    TYPE_NOT_ALLOWED = "TYPE_NOT_ALLOWED"
    WRONG_INPUTS = "WRONG_INPUTS"
    SELF_TEST_FAILED = "SELF_TEST_FAILED"


class ModelRefused(Exception):
    """The candidate must not be served; the operator acts, the model in service stays."""

    def __init__(self, reason: RefusedBecause, detail: str) -> None:
        super().__init__(reason, detail)  # both, or it could not be unpickled where it leaves a worker process
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class ServingEngine(StrEnum):
    """What predicts few rows; many are always the estimator's."""

    FLAT_ARRAYS = "FLAT_ARRAYS"
    ESTIMATOR = "ESTIMATOR"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that has passed every check; `flat` is None where it did not agree with the estimator."""

    manifest: Manifest
    manifest_sha256: str
    estimator: HistGradientBoostingClassifier
    flat: FlatTrees | None

    @property
    def version(self) -> str:
        return self.manifest.model_version

    @property
    def engine(self) -> ServingEngine:
        return ServingEngine.FLAT_ARRAYS if self.flat else ServingEngine.ESTIMATOR

    def probabilities(self, rows: FloatArray) -> FloatArray:
        """(n, 51) ready rows to (n, 3) calibrated probabilities DOWN, NEUTRAL, UP."""
        if self.flat is not None and len(rows) <= MOST_ROWS:
            return correct_for_prior(self.flat.probabilities(rows), self.manifest.shares)
        return correct_for_prior(_predict(self.estimator, rows), self.manifest.shares)


def limit_native_threads() -> None:
    """One thread per native pool, once at start: threads that wait for each other cost a single row 5 times
    more."""
    threadpool_limits(limits=1)


def load_model(folder: Path, trust: Trust, granularity: int) -> LoadedModel:
    """Raises `ModelRefused` with the first check that fails."""
    manifest, sha256 = _trusted_manifest(folder, trust)
    content = _read_once(folder / ARTIFACT_NAME, MAX_ARTIFACT_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if not hmac.compare_digest(found.encode(), manifest.artifact_sha256.encode()):
        raise ModelRefused(RefusedBecause.HASH_MISMATCH, f"the artifact's sha256 is {found}")
    _check_versions(manifest)
    _check_contract(manifest, granularity)
    estimator = _unpickle(content)
    flat = _look_through(estimator)
    _self_test(estimator, manifest)
    return LoadedModel(
        manifest, sha256, estimator, flat if flat and _engines_agree(estimator, flat, manifest) else None
    )


def load_folder(folder: ModelFolder, trust: Trust, granularity: int) -> LoadedModel:
    """As `load_model`, of a folder found inside MODEL_DIR."""
    if folder.linked:
        raise _link("the folder")
    return load_model(folder.path, trust, granularity)


def _link(name: str) -> ModelRefused:
    """What a link points to can be changed from elsewhere, after the checks."""
    detail = f"{name} is a symbolic link, which is not followed: put a copy of what it points to in its place"
    return ModelRefused(RefusedBecause.FILE_UNREADABLE, detail)


def _trusted_manifest(folder: Path, trust: Trust) -> tuple[Manifest, str]:
    if trust.public_key is None and trust.manifest_sha256 is None:
        raise ModelRefused(RefusedBecause.NO_TRUST_CONFIGURED, "set a public key or pin the manifest's sha256")
    content = _read_once(folder / MANIFEST_NAME, _MAX_MANIFEST_BYTES)
    if trust.manifest_sha256 is not None and not pin_holds(content, trust.manifest_sha256):
        raise ModelRefused(RefusedBecause.PIN_MISMATCH, "the manifest is not the pinned one")
    if trust.public_key is not None:
        if not os.path.lexists(folder / SIGNATURE_NAME):
            raise ModelRefused(RefusedBecause.FILE_UNREADABLE, _UNSIGNED)
        signature = _read_once(folder / SIGNATURE_NAME, _MAX_SIGNATURE_BYTES)
        if not signature_holds(content, signature, trust.public_key):
            raise ModelRefused(RefusedBecause.SIGNATURE_INVALID, "the manifest is not signed by the trusted key")
    try:
        return parse(content), hashlib.sha256(content).hexdigest()
    except ManifestMalformed as error:
        raise ModelRefused(RefusedBecause.MANIFEST_MALFORMED, str(error)) from error


def _read_once(path: Path, limit: int) -> bytes:
    """The whole regular file through one descriptor, so that nothing can be swapped between check and use."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link(path.name) from error
        raise ModelRefused(RefusedBecause.FILE_UNREADABLE, f"{path.name}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ModelRefused(RefusedBecause.FILE_UNREADABLE, f"{path.name} is not a regular file")
            content = file.read(limit + 1)
    except OSError as error:
        raise ModelRefused(RefusedBecause.FILE_UNREADABLE, f"{path.name}: {error.strerror}") from error
    if len(content) > limit:
        raise ModelRefused(RefusedBecause.FILE_TOO_LARGE, f"{path.name} is larger than {limit} bytes")
    return content


def _check_versions(manifest: Manifest) -> None:
    """Pickles are promised to load only under the version that wrote them."""
    pairs = (
        ("scikit-learn", manifest.sklearn_version, sklearn.__version__),
        ("Python", manifest.python_version, platform.python_version()),
    )
    for name, wanted, here in pairs:
        if wanted.split(".")[:2] != here.split(".")[:2]:
            raise ModelRefused(RefusedBecause.VERSION_MISMATCH, f"trained with {name} {wanted}, this is {here}")


def _check_contract(manifest: Manifest, granularity: int) -> None:
    same_features = manifest.feature_set_hash == feature_set_hash(granularity) and manifest.feature_names == NAMES
    if not same_features or manifest.granularity != granularity:
        raise ModelRefused(RefusedBecause.FEATURE_SET_MISMATCH, "trained on another feature set or granularity")
    if manifest.classes != CLASSES:
        raise ModelRefused(RefusedBecause.CLASSES_MISMATCH, f"classes are {manifest.classes}")
    if manifest.self_test_rows.shape[1] != FEATURE_COUNT:
        raise ModelRefused(
            RefusedBecause.WRONG_INPUTS, f"self-test rows have {manifest.self_test_rows.shape[1]} columns"
        )


def _unpickle(content: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            return joblib.load(io.BytesIO(content))
    except (Exception, SystemExit) as error:
        raise ModelRefused(RefusedBecause.NOT_LOADABLE, _said(error)) from error


def _look_through(estimator: Any) -> FlatTrees | None:
    """The trees, before anything walks them; None if only the estimator can."""
    if type(estimator) is not HistGradientBoostingClassifier:
        raise ModelRefused(RefusedBecause.TYPE_NOT_ALLOWED, f"{type(estimator).__qualname__} is not served")
    inputs = getattr(estimator, "n_features_in_", None)
    if not isinstance(inputs, int) or inputs != FEATURE_COUNT:
        raise ModelRefused(RefusedBecause.WRONG_INPUTS, f"the estimator takes {inputs} columns")
    if not np.array_equal(getattr(estimator, "classes_", ()), CLASSES):
        raise ModelRefused(RefusedBecause.CLASSES_MISMATCH, "the estimator knows other classes")
    try:
        return flatten(estimator)
    except (TreesMalformed, AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ModelRefused(RefusedBecause.TYPE_NOT_ALLOWED, f"the trees cannot be read: {_said(error)}") from error


def _self_test(estimator: HistGradientBoostingClassifier, manifest: Manifest) -> None:
    try:
        found = correct_for_prior(_predict(estimator, manifest.self_test_rows), manifest.shares)
        worst = float(np.max(np.abs(found - manifest.self_test_probabilities)))
    except Exception as error:
        raise ModelRefused(RefusedBecause.SELF_TEST_FAILED, _said(error)) from error
    if not worst <= _SELF_TEST_TOLERANCE:  # also true for NaN
        raise ModelRefused(RefusedBecause.SELF_TEST_FAILED, f"probabilities are off by {worst:.3g}")


def _engines_agree(estimator: HistGradientBoostingClassifier, flat: FlatTrees, manifest: Manifest) -> bool:
    """The self-test's rows, the same with every third value missing, and rows that lie on the splits themselves."""
    rows = manifest.self_test_rows
    holes = np.where(np.arange(rows.size).reshape(rows.shape) % 3 == 0, np.nan, rows)
    edges = rows.copy()
    edges[np.arange(flat.feature.size) % len(rows), flat.feature.ravel()] = flat.threshold.ravel()
    asked = np.concatenate([rows, holes, edges])
    worst = np.max(np.abs(flat.probabilities(asked) - _predict(estimator, asked)))
    return bool(worst <= _ENGINE_TOLERANCE)


def _predict(estimator: HistGradientBoostingClassifier, rows: FloatArray) -> FloatArray:
    """`predict_proba` in the thread that asks: left to itself, OpenMP counts anew in every thread that calls it, and no
    limit set in another thread holds."""
    return np.asarray(estimator._loss.predict_proba(estimator._raw_predict(rows, n_threads=1)))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
