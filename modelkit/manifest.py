"""The manifest beside a model: what serving must know before and after it loads the artifact.

The typed part is what the service acts on; the whole document is kept for those who ask about the model.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import joblib
import numpy as np
import scipy
import sklearn

from modelkit.candles import FloatArray
from modelkit.decision import Thresholds
from modelkit.labels import LabelRule

SCHEMA: Final = "trading.signal.model/1"
ARTIFACT_NAME: Final = "balanced_model.joblib"
MANIFEST_NAME: Final = "balanced_model.manifest.json"
SIGNATURE_NAME: Final = "balanced_model.manifest.sig"
MOST_VERSION: Final = 200
_EARLIEST: Final = 0
_LATEST: Final = 4_102_444_800  # 2100
_MOST_HORIZON: Final = 10_000
_MOST_WIDTH: Final = 100.0


class ManifestMalformed(Exception):
    """The manifest does not say what it must, or says it in another form."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`shares` are the class shares for the prior correction; `train_to` is the close time of the last bar
    the model has seen (labels included), unix seconds; `document` is the manifest as read."""

    model_version: str
    created_at: str
    artifact_sha256: str
    feature_set_hash: str
    feature_names: tuple[str, ...]
    granularity: int
    classes: tuple[int, ...]
    label: LabelRule
    products: tuple[str, ...]
    train_from: int
    train_to: int
    python_version: str
    sklearn_version: str
    shares: FloatArray
    thresholds: Thresholds
    self_test_rows: FloatArray
    self_test_probabilities: FloatArray
    document: Mapping[str, Any]


def library_versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "sklearn": sklearn.__version__,
        "joblib": joblib.__version__,
    }


def canonical(document: Mapping[str, Any]) -> bytes:
    """Sorted keys, no spaces, no NaN: one document has one form."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def parse(content: bytes) -> Manifest:
    """Raises `ManifestMalformed` for anything but a complete manifest of this schema."""
    try:
        document = json.loads(content)
        _check_form(document, content)
        if document["schema"] != SCHEMA:
            raise ManifestMalformed(f"schema is {document['schema']!r}, not {SCHEMA!r}")
        if document["artifact"]["file"] != ARTIFACT_NAME:
            raise ManifestMalformed(f"the artifact has to be called {ARTIFACT_NAME}")
        if document["calibration"]["kind"] != "prior_correction":
            raise ManifestMalformed(f"unknown calibration {document['calibration']['kind']!r}")
        return _typed(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ManifestMalformed(f"{type(error).__name__}: {error}") from error


def _check_form(document: Any, content: bytes) -> None:
    """One document has one form; and it has to fit into the database, which takes neither NUL nor half a character."""
    if not isinstance(document, dict):
        raise ManifestMalformed("it is no document")
    if canonical(document) != content:
        raise ManifestMalformed("it is not in canonical form")
    text = json.dumps(document, ensure_ascii=False)
    if "\\u0000" in text:
        raise ManifestMalformed("it holds a NUL character")
    text.encode()


def _typed(document: Mapping[str, Any]) -> Manifest:
    features, label, train = document["feature_set"], document["label"], document["train"]
    probe = document["self_test"]
    manifest = Manifest(
        model_version=str(document["model_version"]),
        created_at=str(document["created_at"]),
        artifact_sha256=str(document["artifact"]["sha256"]),
        feature_set_hash=str(features["hash"]),
        feature_names=tuple(str(name) for name in features["names"]),
        granularity=int(features["g"]),
        classes=tuple(int(code) for code in document["classes"]),
        label=LabelRule(
            horizon_bars=int(label["horizon_bars"]),
            barrier_width=float(label["barrier_width"]),
            fee_ratio=float(label["fee_ratio"]),
            slippage_ratio=float(label["slippage_ratio"]),
            margin_ratio=float(label["margin_ratio"]),
        ),
        products=tuple(str(product) for product in train["products"]),
        train_from=int(train["from"]),
        train_to=int(train["to"]),
        python_version=str(document["versions"]["python"]),
        sklearn_version=str(document["versions"]["sklearn"]),
        shares=np.asarray(document["calibration"]["class_shares"], dtype=np.float64),
        thresholds=Thresholds(float(document["thresholds"]["theta_buy"]), float(document["thresholds"]["theta_sell"])),
        self_test_rows=np.asarray(probe["rows"], dtype=np.float64),
        self_test_probabilities=np.asarray(probe["probabilities"], dtype=np.float64),
        document=document,
    )
    _check_numbers(manifest)
    return manifest


def _check_numbers(manifest: Manifest) -> None:
    rows, expected, shares = manifest.self_test_rows, manifest.self_test_probabilities, manifest.shares
    if rows.ndim != 2 or len(rows) == 0 or expected.shape != (len(rows), 3):
        raise ValueError("the self-test needs rows, and three probabilities for each")
    if shares.shape != (3,) or not (np.isfinite(shares).all() and (shares > 0.0).all()):
        raise ValueError("class shares have to be three positive numbers")
    if not (np.isfinite(rows).all() and np.isfinite(expected).all()):
        raise ValueError("the self-test holds a value that is not finite")
    thresholds = manifest.thresholds
    if not (0.0 < thresholds.theta_buy <= 1.0 and 0.0 < thresholds.theta_sell <= 1.0):
        raise ValueError("thresholds have to be above 0 and at most 1")
    if not 0 < len(manifest.model_version) <= MOST_VERSION or not manifest.model_version.isprintable():
        raise ValueError(f"the version has to be 1 to {MOST_VERSION} printable characters")
    if not _EARLIEST <= manifest.train_from < manifest.train_to <= _LATEST:
        raise ValueError("the period of the training is none")
    _check_label(manifest.label)


def _check_label(rule: LabelRule) -> None:
    if not (0 < rule.horizon_bars <= _MOST_HORIZON and 0.0 < rule.barrier_width <= _MOST_WIDTH):
        raise ValueError("horizon and barrier width have to be above 0, and not beyond all measure")
    if not all(0.0 <= ratio < 1.0 for ratio in (rule.fee_ratio, rule.slippage_ratio, rule.margin_ratio)):
        raise ValueError("costs have to be ratios from 0 to 1")
