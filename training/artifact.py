"""Writes a trained model as `balanced_model.joblib` with its manifest and signature.

Each file appears whole or not at all, the manifest last: a reader in between sees a hash that does not match,
refuses the candidate, and goes on with the model it has.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelkit.features.definition import DEFINITION_VERSION, NAMES, feature_set_hash
from modelkit.manifest import (
    ARTIFACT_NAME,
    MANIFEST_NAME,
    SCHEMA,
    SIGNATURE_NAME,
    canonical,
    library_versions,
)
from modelkit.sampling import CLASSES
from modelkit.signing import sign
from training.fit import TrainedModel


def model_version(trained: TrainedModel) -> str:
    """Derived, so that the same training gives the same version: end of the data and hash of the
    predictions."""
    seen = datetime.fromtimestamp(trained.train_to, UTC)
    return f"{DEFINITION_VERSION}-{seen:%Y%m%dT%H%M}Z-{trained.predictions_sha256[:12]}"


def write_model(
    folder: Path,
    trained: TrainedModel,
    created_at: datetime,
    code_revision: str,
    signing_key: Ed25519PrivateKey | None,
) -> str:
    """Writes the files and returns the sha256 of the manifest, which is what an operator may pin."""
    buffer = io.BytesIO()
    joblib.dump(trained.estimator, buffer)
    artifact = buffer.getvalue()
    manifest = canonical(describe(trained, artifact, created_at, code_revision))
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / ARTIFACT_NAME, artifact)
    if signing_key is None:
        (folder / SIGNATURE_NAME).unlink(missing_ok=True)
    else:
        _replace(folder / SIGNATURE_NAME, sign(manifest, signing_key))
    _replace(folder / MANIFEST_NAME, manifest)
    return hashlib.sha256(manifest).hexdigest()


def describe(trained: TrainedModel, artifact: bytes, created_at: datetime, code_revision: str) -> dict[str, Any]:
    """The manifest document of a trained model whose artifact has these bytes."""
    settings, rule = trained.settings, trained.settings.label
    return {
        "schema": SCHEMA,
        "model_version": model_version(trained),
        "created_at": created_at.astimezone(UTC).isoformat(timespec="seconds"),
        "code_revision": code_revision,
        "artifact": {
            "file": ARTIFACT_NAME,
            "bytes": len(artifact),
            "sha256": hashlib.sha256(artifact).hexdigest(),
        },
        "feature_set": {
            "id": DEFINITION_VERSION,
            "hash": feature_set_hash(settings.granularity),
            "g": settings.granularity,
            "names": list(NAMES),
        },
        "classes": list(CLASSES),
        "label": {
            "horizon_bars": rule.horizon_bars,
            "barrier_width": rule.barrier_width,
            "fee_ratio": rule.fee_ratio,
            "slippage_ratio": rule.slippage_ratio,
            "margin_ratio": rule.margin_ratio,
            "tie_rule": "DOWN",
        },
        "train": {
            "from": trained.train_from,
            "to": trained.train_to,
            "products": list(trained.products),
            "factor_product": settings.factor_product,
            "rows": trained.rows,
            "stride": settings.stride,
            "seed": settings.seed,
            "settings_tried": trained.settings_tried,
            "candles_sha256": trained.candles_sha256,
            "source_sha256": list(settings.source_sha256),
        },
        "versions": library_versions(),
        "calibration": {
            "kind": "prior_correction",
            "class_shares": trained.shares.tolist(),
            "temperature_in_estimator": trained.temperature,
        },
        "metrics": _metrics(trained),
        "thresholds": _thresholds(trained),
        "reference_bins": dict(zip(NAMES, trained.reference_bins.tolist(), strict=True)),
        "self_test": {
            "rows": trained.self_test_rows.tolist(),
            "probabilities": trained.self_test_probabilities.tolist(),
            "predictions_sha256": trained.predictions_sha256,
        },
    }


def _metrics(trained: TrainedModel) -> dict[str, Any]:
    folds = [
        {
            "from": fold.begin,
            "to": fold.end,
            "train_rows": fold.train_rows,
            "rows": fold.rows,
            "log_loss": fold.log_loss,
            "prior_log_loss": fold.prior_log_loss,
            "auc_up_down": fold.auc_up_down,
        }
        for fold in trained.folds
    ]
    return {
        "folds": folds,
        "baselines": {"always_hold": 0.0, "buy_and_hold_log_return": trained.buy_and_hold},
        **({"walk_forward": dict(trained.evidence)} if trained.evidence else {}),
    }


def _thresholds(trained: TrainedModel) -> dict[str, Any]:
    chosen = trained.choice
    tried = [
        {
            "theta": result.theta,
            "net_log_return": result.net_return,
            "bootstrap_quantile_05": result.quantile_05,
            "trades": result.trades,
        }
        for result in chosen.results
    ]
    return {
        "theta_buy": chosen.thresholds.theta_buy,
        "theta_sell": chosen.thresholds.theta_sell,
        "has_evidence": chosen.has_evidence,
        "protective_exits": trained.settings.way.protective,
        "tried": tried,
    }


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
