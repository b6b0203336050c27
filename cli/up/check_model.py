"""Puts every model of a folder to every check of the signal service's loader and prints one verdict as a JSON line.

A process of its own (`python -m cli.up.check_model FOLDER PUBLIC_KEY GRANULARITY_SECONDS PRODUCTS [CHAMPION]`): loading
a model runs code, and its libraries are too large for a supervisor to carry.
"""

import json
import sys
from pathlib import Path

from modelkit.loading import LoadedModel, ModelRefused, load_folder
from modelkit.model_folders import TOP, model_folders
from modelkit.signing import Trust, public_key_from_pem
from tradekit.bars import utc


def verdict(root: Path, key_file: Path, granularity: int, products: set[str], champion: str) -> dict[str, object]:
    """The model that the service will take, or why it will take none, as plain values."""
    try:
        trust = Trust(public_key_from_pem(key_file.read_bytes()))
    except (OSError, ValueError) as error:
        return _refused("KEY_UNREADABLE", str(error))
    loaded: list[tuple[tuple[object, ...], LoadedModel]] = []
    refusals = []
    for folder in model_folders(root, {champion})[0]:
        try:
            model = load_folder(folder, trust, granularity)
        except ModelRefused as refused:
            refusals.append(_refused(refused.reason.value, refused.detail))
            continue
        knows = products <= set(model.manifest.products)
        rank = (
            knows,
            model.version == champion,
            folder.name == TOP,
            model.manifest.train_to,
            model.manifest.created_at,
        )
        loaded.append((rank, model))
    if not loaded:
        return refusals[0] if refusals else _refused("FILE_UNREADABLE", f"{root} holds no manifest")
    manifest = max(loaded, key=lambda each: each[0])[1].manifest
    return {
        "usable": True,
        "reason": "",
        "detail": "",
        "products": list(manifest.products),
        "train_to": utc(manifest.train_to).isoformat(),
        "model_version": manifest.model_version,
        "theta_buy": manifest.thresholds.theta_buy,
    }


def _refused(reason: str, detail: str) -> dict[str, object]:
    return {"usable": False, "reason": reason, "detail": detail, "products": []}


if __name__ == "__main__":
    folder, key, seconds, followed, *rest = sys.argv[1:]
    found = verdict(Path(folder), Path(key), int(seconds), set(followed.split(",")), rest[0] if rest else "")
    sys.stdout.write(json.dumps(found) + "\n")
