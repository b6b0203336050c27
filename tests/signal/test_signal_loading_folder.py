"""The check before a start: of all models of a folder, the one that the service will take, or why it will take none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from cli.up.check_model import verdict
from modelkit.manifest import ARTIFACT_NAME
from supervisor.python_process import PYTHONPATH
from tests.signal.artifacts import KEY, WHEN
from training.artifact import model_version, write_model
from training.fit import TrainedModel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(
        KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return path


def test_the_verdict_is_on_the_model_that_will_serve(tmp_path: Path, key_file: Path, small_model: TrainedModel) -> None:
    root = tmp_path / "models"
    known = set(small_model.products)

    def write(folder: str, later: int, products: tuple[str, ...] = small_model.products) -> str:
        model = replace(small_model, train_to=small_model.train_to + later, products=products)
        write_model(root / folder, model, WHEN, "abc123", KEY)
        return model_version(model)

    def chosen(champion: str = "") -> object:
        found = verdict(root, key_file, 3600, known, champion)
        return found["model_version"] if found["usable"] else found["reason"]

    assert chosen() == "FILE_UNREADABLE"
    narrow = write("narrow", 300, small_model.products[:1])
    assert chosen() == narrow
    old, new = write("old", 0), write("new", 100)
    assert (chosen(), chosen(old), chosen(narrow)) == (new, old, new)
    top = write(".", 50)
    assert (chosen(), chosen(new), chosen("gone")) == (top, new, top)
    (root / ARTIFACT_NAME).write_bytes(b"x")
    assert (chosen(), chosen(old)) == (new, old)
    for folder in ("narrow", "old", "new"):
        (root / folder / ARTIFACT_NAME).write_bytes(b"x")
    assert chosen() == "HASH_MISMATCH"
    assert verdict(root, tmp_path / "nokey", 3600, known, "")["reason"] == "KEY_UNREADABLE"


def test_the_check_says_so_as_a_process_of_its_own(tmp_path: Path, key_file: Path, small_model: TrainedModel) -> None:
    write_model(tmp_path / "models", small_model, WHEN, "abc123", KEY)
    command = [sys.executable, "-m", "cli.up.check_model", str(tmp_path / "models"), str(key_file), "3600"]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    for champion in ("", model_version(small_model)):
        arguments = [*command, ",".join(small_model.products), champion]
        said = subprocess.run(arguments, env=environment, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout
        assert json.loads(said)["model_version"] == model_version(small_model)
