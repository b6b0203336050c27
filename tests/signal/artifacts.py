"""A signed model folder, and ways to spoil it."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelkit.loading import ModelRefused, RefusedBecause, load_model
from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME
from modelkit.signing import Trust, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


TRUST = Trust(public_key=KEY.public_key())


WHEN = datetime(2025, 1, 1, tzinfo=UTC)


def refused(folder: Path, trust: Trust = TRUST, granularity: int = 3600) -> RefusedBecause:
    with pytest.raises(ModelRefused) as caught:
        load_model(folder, trust, granularity)
    crossed = pickle.loads(pickle.dumps(caught.value))  # as it would where a worker process refuses
    assert (crossed.reason, crossed.detail, str(crossed)) == (*caught.value.args, str(caught.value))
    assert str(crossed) == f"{crossed.reason}: {crossed.detail}"
    return crossed.reason


def resign(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifest and signs it with the trusted key: only the checks after the signature can refuse."""
    document = json.loads((folder / MANIFEST_NAME).read_bytes())
    change(document)
    manifest = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    (folder / MANIFEST_NAME).write_bytes(manifest)
    (folder / SIGNATURE_NAME).write_bytes(sign(manifest, KEY))


def replace_artifact(folder: Path, content: Any, also: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Puts another object into the artifact, with a manifest that names its hash and is signed."""
    joblib.dump(content, folder / ARTIFACT_NAME)
    data = (folder / ARTIFACT_NAME).read_bytes()

    def change(document: dict[str, Any]) -> None:
        document["artifact"] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        if also is not None:
            also(document)

    resign(folder, change)
