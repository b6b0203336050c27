"""Puts a model folder to every check of the signal service's loader and prints the verdict as one JSON line.

A process of its own (`python -m cli.up.check_model FOLDER PUBLIC_KEY GRANULARITY_SECONDS`): loading a model runs code,
and its libraries are too large for a supervisor to carry.
"""

import json
import sys
from pathlib import Path

from svc_signal.loading import ModelRefused, load_model
from svc_signal.signing import Trust, public_key_from_pem
from tradekit.bars import utc


def verdict(folder: Path, key_file: Path, granularity: int) -> dict[str, object]:
    """What the loader says, as plain values."""
    try:
        trust = Trust(public_key_from_pem(key_file.read_bytes()))
        manifest = load_model(folder, trust, granularity).manifest
    except ModelRefused as refused:
        return {"usable": False, "reason": refused.reason.value, "detail": refused.detail, "products": []}
    except (OSError, ValueError) as error:
        return {"usable": False, "reason": "KEY_UNREADABLE", "detail": str(error), "products": []}
    return {
        "usable": True,
        "reason": "",
        "detail": "",
        "products": list(manifest.products),
        "train_to": utc(manifest.train_to).isoformat(),
        "model_version": manifest.model_version,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(verdict(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))) + "\n")
