"""Files that are signed and wrong all the same, and files that are no files: told by name, without harm to the process."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from modelkit import loading
from modelkit.flat_trees import MOST_ROWS, FlatTrees
from modelkit.loading import LoadedModel, ModelRefused, RefusedBecause, ServingEngine, load_folder, load_model
from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME, canonical
from modelkit.model_folders import MOST_FOLDERS, model_folders
from modelkit.signing import sign
from tests.signal.artifacts import KEY, TRUST, refused, replace_artifact, resign
from training.fit import TrainedModel


def sign_as_it_is(folder: Path, manifest: bytes) -> None:
    (folder / MANIFEST_NAME).write_bytes(manifest)
    (folder / SIGNATURE_NAME).write_bytes(sign(manifest, KEY))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace('"seed":51', '"seed":NaN'), id="NaN where nobody looks"),
        pytest.param(lambda text: text.replace('"seed":51', '"seed":1e999'), id="infinite"),
        pytest.param(lambda text: text.replace('"abc123"', '"a\\u0000c"'), id="NUL"),
        pytest.param(lambda text: text.replace('"abc123"', '"\\ud800"'), id="half a character"),
        pytest.param(lambda text: text.replace('"seed":51', '"seed": 51'), id="another form"),
        pytest.param(lambda text: text.replace('"seed":51', '"seed":51,"seed":52'), id="a name twice"),
        pytest.param(lambda text: text[:-1], id="cut short"),
        pytest.param(lambda text: text + " ", id="more behind it"),
    ],
)
def test_a_signed_manifest_that_the_database_or_a_message_could_not_hold(
    folder: Path, change: Callable[[str], str]
) -> None:
    text = (folder / MANIFEST_NAME).read_text()
    assert change(text) != text
    sign_as_it_is(folder, change(text).encode())
    assert refused(folder) is RefusedBecause.MANIFEST_MALFORMED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model_version",), ""),
        (("model_version",), "x" * 201),
        (("model_version",), "two\nlines"),
        (("train", "to"), 10**15),
        (("train", "from"), -1),
        (("train", "from"), 4_102_444_800),
        (("label", "horizon_bars"), 10**9),
        (("label", "horizon_bars"), 0),
        (("label", "barrier_width"), 1e300),
        (("label", "fee_ratio"), -0.1),
        (("label", "slippage_ratio"), 7.0),
    ],
)
def test_a_signed_manifest_beyond_all_measure(folder: Path, path: tuple[str, ...], value: object) -> None:
    def change(document: dict[str, Any]) -> None:
        *outer, last = path
        for name in outer:
            document = document[name]
        document[last] = value

    resign(folder, change)
    assert refused(folder) is RefusedBecause.MANIFEST_MALFORMED


def test_manifest_and_signature_may_be_no_link_pipe_or_flood(folder: Path, tmp_path: Path) -> None:
    for name, limit in ((MANIFEST_NAME, 2 * 1024 * 1024), (SIGNATURE_NAME, 1024)):
        path = folder / name
        good = path.read_bytes()
        elsewhere = tmp_path / f"other-{name}"
        elsewhere.write_bytes(good)
        path.unlink()
        path.symlink_to(elsewhere)
        assert refused(folder) is RefusedBecause.FILE_UNREADABLE
        path.unlink()
        os.mkfifo(path)
        assert refused(folder) is RefusedBecause.FILE_UNREADABLE
        path.unlink()
        path.write_bytes(b" " * (limit + 1))
        assert refused(folder) is RefusedBecause.FILE_TOO_LARGE
        path.write_bytes(good)
    assert load_model(folder, TRUST, 3600)


def test_a_file_without_end_is_cut_off_and_not_taken_into_memory(folder: Path) -> None:
    with (folder / ARTIFACT_NAME).open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of holes
    assert refused(folder) is RefusedBecause.FILE_TOO_LARGE


@pytest.mark.parametrize("columns", [50, 52])
def test_another_number_of_columns(folder: Path, columns: int) -> None:
    rng = np.random.default_rng(1)
    model = HistGradientBoostingClassifier(max_iter=2).fit(rng.normal(size=(60, columns)), rng.integers(0, 3, 60))
    replace_artifact(folder, model)
    assert refused(folder) is RefusedBecause.WRONG_INPUTS


def broken_tree(model: Any) -> None:
    model._predictors[0][0].nodes["left"][0] = 0


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        pytest.param(broken_tree, "TYPE_NOT_ALLOWED", id="a tree that never ends"),
        pytest.param(lambda model: delattr(model, "_predictors"), "TYPE_NOT_ALLOWED", id="no trees"),
        pytest.param(lambda model: setattr(model, "_predictors", 7), "TYPE_NOT_ALLOWED", id="trees of another type"),
        pytest.param(lambda model: setattr(model, "classes_", np.eye(3)), "CLASSES_MISMATCH", id="a matrix of classes"),
        pytest.param(lambda model: setattr(model, "classes_", None), "CLASSES_MISMATCH", id="no classes"),
        pytest.param(lambda model: setattr(model, "n_features_in_", "51"), "WRONG_INPUTS", id="columns as text"),
        pytest.param(lambda model: delattr(model, "_loss"), "SELF_TEST_FAILED", id="no link to probabilities"),
        pytest.param(lambda model: model._bin_mapper.__dict__.clear(), "SELF_TEST_FAILED", id="no bins"),
    ],
)
def test_a_signed_estimator_that_is_none(
    folder: Path, small_model: TrainedModel, break_it: Callable[[Any], Any], reason: str
) -> None:
    model = copy.deepcopy(small_model.estimator)
    break_it(model)
    replace_artifact(folder, model)
    assert refused(folder) == reason


class Quits:
    """Unpickling this ends the process, if it may."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.sys.exit, (3,)  # type: ignore[attr-defined]


def test_an_artifact_that_ends_the_process_does_not(folder: Path) -> None:
    replace_artifact(folder, Quits())
    assert refused(folder) is RefusedBecause.NOT_LOADABLE


def test_engines_that_do_not_agree_leave_the_estimator_serving(
    folder: Path, small_model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_model(folder, TRUST, 3600).engine is ServingEngine.FLAT_ARRAYS
    said = FlatTrees.probabilities
    for wrong in (1e-11, np.nan):
        monkeypatch.setattr(FlatTrees, "probabilities", lambda self, rows, wrong=wrong: said(self, rows) + wrong)
        loaded = load_model(folder, TRUST, 3600)
        assert loaded.engine is ServingEngine.ESTIMATOR
        assert np.array_equal(loaded.probabilities(small_model.self_test_rows), small_model.self_test_probabilities)
    monkeypatch.setattr(loading, "flatten", lambda estimator: None)
    assert load_model(folder, TRUST, 3600).engine is ServingEngine.ESTIMATOR


def test_one_row_and_many_are_the_same_bits(folder: Path, small_model: TrainedModel) -> None:
    loaded: LoadedModel = load_model(folder, TRUST, 3600)
    few = small_model.self_test_rows
    rows = np.concatenate([few] * (MOST_ROWS // len(few) + 1))
    assert len(rows) > MOST_ROWS
    alone = np.concatenate([loaded.probabilities(row[None]) for row in few])
    assert np.array_equal(loaded.probabilities(few), alone)
    assert np.array_equal(loaded.probabilities(rows), np.tile(alone, (len(rows) // len(few), 1)))


# ---- folders ---------------------------------------------------------------------------------------------------------


def model_at(path: Path, written: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / MANIFEST_NAME).write_bytes(b"{}")
    os.utime(path / MANIFEST_NAME, (written, written))


def test_folders_are_bounded_and_those_with_a_part_come_first(tmp_path: Path) -> None:
    for number in range(30):
        model_at(tmp_path / f"v{number:02d}", number + 1)
    model_at(tmp_path, 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "v01")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    found, left_out = model_folders(tmp_path, {"v03"})
    assert [each.name for each in found] == [
        ".", "v03", *(f"v{number}" for number in range(29, 29 - MOST_FOLDERS + 2, -1)),
    ]  # fmt: skip
    assert left_out == 30 + 2 - MOST_FOLDERS
    assert model_folders(tmp_path / "nowhere") == ((), 0)
    assert model_folders(tmp_path / MANIFEST_NAME) == ((), 0)


def test_a_link_is_found_and_refused_with_what_to_do(tmp_path: Path, folder: Path) -> None:
    """A folder that is one, and a file that is one; MODEL_DIR itself may be one."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "linked").symlink_to(folder)
    shutil.copytree(folder, models / "whole")
    real = tmp_path / "elsewhere"
    (models / "whole" / ARTIFACT_NAME).rename(real)
    (models / "whole" / ARTIFACT_NAME).symlink_to(real)
    (tmp_path / "top").symlink_to(folder)
    found = {each.name: each for each in model_folders(models)[0]}
    assert {name: each.linked for name, each in found.items()} == {"linked": True, "whole": False}
    for name, told in (("linked", "the folder is a symbolic link"), ("whole", f"{ARTIFACT_NAME} is a symbolic link")):
        with pytest.raises(ModelRefused, match="put a copy") as refused:
            load_folder(found[name], TRUST, 3600)
        assert refused.value.reason == "FILE_UNREADABLE" and told in refused.value.detail
    [top], _ = model_folders(tmp_path / "top")
    assert load_folder(top, TRUST, 3600).version


def test_a_model_without_a_signature_is_told_how_to_get_one(folder: Path) -> None:
    (folder / SIGNATURE_NAME).unlink()
    with pytest.raises(ModelRefused, match=r"not signed.*mesh train") as refused:
        load_model(folder, TRUST, 3600)
    assert refused.value.reason == "FILE_UNREADABLE"


def test_a_folder_whose_name_is_no_text_can_be_told(tmp_path: Path) -> None:
    name = os.fsdecode(b"v\xff\xfe")
    model_at(tmp_path / name, 1)
    [found], _ = model_folders(tmp_path)
    found.shown.encode()
    json.dumps(found.shown)


def test_whatever_could_change_the_verdict_changes_the_state(folder: Path) -> None:
    def state() -> str:
        return model_folders(folder)[0][0].state

    before = [state()]
    for name in (MANIFEST_NAME, SIGNATURE_NAME, ARTIFACT_NAME):
        path = folder / name
        times = path.stat()
        (folder / f"{name}.bak").write_bytes(path.read_bytes())
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # a clock set back hides nothing
        before.append(state())
        path.chmod(0o600)
        before.append(state())
        path.unlink()
        before.append(state() if name != MANIFEST_NAME else "")
        (folder / f"{name}.bak").rename(path)
        before.append(state())
    assert len(set(before)) == len(before)
    assert canonical(json.loads((folder / MANIFEST_NAME).read_bytes())) == (folder / MANIFEST_NAME).read_bytes()
    assert joblib.load(folder / ARTIFACT_NAME)
    with pytest.raises(ModelRefused):
        load_model(folder / "nowhere", TRUST, 3600)
