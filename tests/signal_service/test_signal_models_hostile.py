"""Whatever is laid into the folder of models while one serves: it is reported by name, and the serving model goes on."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from waiting import eventually

from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME, canonical
from modelkit.signing import sign
from tests.signal_service.conftest import KEY
from tests.signal_service.signal_world import BARS, World
from trading.signal.v1 import signal_service_pb2 as pb

LAST = BARS - 1


class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "ran")


def resign(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the manifest and signs it with the trusted key."""
    document = json.loads((folder / MANIFEST_NAME).read_bytes())
    document["artifact"]["sha256"] = hashlib.sha256((folder / ARTIFACT_NAME).read_bytes()).hexdigest()
    change(document)
    (folder / MANIFEST_NAME).write_bytes(canonical(document))
    (folder / SIGNATURE_NAME).write_bytes(sign(canonical(document), KEY))


def fitted(columns: int) -> Any:
    rng = np.random.default_rng(1)
    return HistGradientBoostingClassifier(max_iter=2).fit(rng.normal(size=(60, columns)), rng.integers(0, 3, 60))


def nan_outputs(folder: Path) -> None:
    model = joblib.load(folder / ARTIFACT_NAME)
    model._baseline_prediction = np.full_like(model._baseline_prediction, np.nan)
    joblib.dump(model, folder / ARTIFACT_NAME)
    resign(folder, lambda document: None)


def with_artifact(folder: Path, content: Any) -> None:
    joblib.dump(content, folder / ARTIFACT_NAME)
    resign(folder, lambda document: None)


def pipe(folder: Path) -> None:
    (folder / ARTIFACT_NAME).unlink()
    os.mkfifo(folder / ARTIFACT_NAME)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


async def test_nothing_that_is_laid_into_the_folder_takes_the_place_of_what_serves(
    world: World, tmp_path: Path, model_dir: Path, keys: Path
) -> None:
    models, target = tmp_path / "models", tmp_path / "ran"
    shutil.copytree(model_dir, models)
    cases: list[tuple[str, Callable[[Path], Any]]] = [
        ("HASH_MISMATCH", lambda folder: flip(folder / ARTIFACT_NAME)),
        ("HASH_MISMATCH", lambda folder: joblib.dump(Bomb(target), folder / ARTIFACT_NAME)),
        ("SIGNATURE_INVALID", lambda folder: flip(folder / MANIFEST_NAME)),
        ("SIGNATURE_INVALID", lambda folder: (folder / SIGNATURE_NAME).write_bytes(b"?")),
        ("FILE_UNREADABLE", lambda folder: (folder / SIGNATURE_NAME).unlink()),
        ("FILE_UNREADABLE", pipe),
        ("MANIFEST_MALFORMED", lambda folder: resign(folder, lambda document: document["label"].clear())),
        ("VERSION_MISMATCH", lambda folder: resign(folder, lambda document: document["versions"].update(sklearn="1.8"))),
        ("VERSION_MISMATCH", lambda folder: resign(folder, lambda document: document["versions"].update(python="3.10"))),
        ("FEATURE_SET_MISMATCH", lambda folder: resign(folder, lambda document: document["feature_set"].update(hash="0"))),
        ("WRONG_INPUTS", lambda folder: with_artifact(folder, fitted(50))),
        ("WRONG_INPUTS", lambda folder: with_artifact(folder, fitted(52))),
        ("SELF_TEST_FAILED", lambda folder: with_artifact(folder, fitted(51))),
        ("SELF_TEST_FAILED", nan_outputs),
    ]  # fmt: skip
    await world.store(0, LAST)
    await world.complete(LAST)
    given = {"model_dir": models, "model_public_key_file": keys / "public.pem"}
    async with world.service(**given) as stub:
        rows = await world.until_decided(LAST)
        version = rows[0]["model_version"]
        for number, (_, spoil) in enumerate(cases):
            folder = tmp_path / "draft"
            shutil.copytree(model_dir, folder)
            spoil(folder)
            folder.rename(models / f"case{number:02d}")

        async def all_told() -> bool:
            listed = await stub.ListModels(pb.ListModelsRequest())
            nonlocal told
            told = {info.folder: info.refusal_code for info in listed.models if info.refusal_code}
            return len(told) == len(cases)

        told: dict[str, str] = {}
        await eventually(all_told)
        assert told == {f"case{number:02d}": reason for number, (reason, _) in enumerate(cases)}
        found = await stub.GetModel(pb.GetModelRequest())
        assert (found.loaded, found.model_version, found.challenger_version) == (True, version, "")
        assert found.refusal_code and found.refusal_detail.startswith("case")
        await world.store(LAST + 1, LAST + 1)
        await world.complete(LAST + 1)
        assert {row["model_version"] for row in await world.until_decided(LAST + 1)} == {version}
        assert not target.exists()
        for number in range(len(cases)):
            shutil.rmtree(models / f"case{number:02d}")

        async def mended() -> bool:
            return (await stub.GetModel(pb.GetModelRequest())).refusal_code == ""

        await eventually(mended)
        assert not stub.service.stopped
