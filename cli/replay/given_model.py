"""A model given to a replay by hand: looked at before anything starts, and copied with the key it was signed with."""

import shutil
from pathlib import Path

from cli.plan import MeshPlan
from cli.replay.options import ReplayOptions, ReplayRefused
from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME, Manifest, ManifestMalformed, parse
from supervisor.keys import key_files
from tradekit.bars import unix, utc


def examine_given(options: ReplayOptions) -> None:
    """Refuses a folder that holds no model, lacks its key, or saw the period, unless that was asked for."""
    if options.model is None:
        return
    folder = options.model
    manifest = _manifest(folder)
    if not _public_key(folder).is_file():
        raise ReplayRefused(
            f"--model {folder}: its public key {_public_key(folder)} is missing; use a model folder of an instance"
        )
    if manifest.train_to > unix(options.begin) and not options.in_sample:
        raise ReplayRefused(
            f"--model {folder} saw candles until {utc(manifest.train_to)}, after --from {options.begin}: "
            "its results would be in-sample. Choose another model, or say --in-sample"
        )


def adopt(folder: Path, plan: MeshPlan) -> dict[str, object]:
    """Copies the model and its public key into the replay's own folders; returns what its manifest says."""
    manifest = _manifest(folder)
    plan.model_folder.mkdir(parents=True, exist_ok=True)
    # This model only: folders of further versions may lie below it.
    for name in (ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, plan.model_folder / name)
    shutil.copyfile(_public_key(folder), plan.keys.model_public)
    return {"train_to": utc(manifest.train_to).isoformat(), "model_version": manifest.model_version}


def _manifest(folder: Path) -> Manifest:
    advice = "name the folder of a model, such as the `model` folder in MESH_HOME after `mesh up` or `mesh train`"
    if not (folder / MANIFEST_NAME).is_file():
        raise ReplayRefused(f"--model {folder}: there is no model in it ({MANIFEST_NAME} is missing); {advice}")
    try:
        return parse((folder / MANIFEST_NAME).read_bytes())
    except (OSError, ManifestMalformed) as error:
        raise ReplayRefused(f"--model {folder}: {MANIFEST_NAME} cannot be used: {error}") from error


def _public_key(folder: Path) -> Path:
    """Beside the model folder of an instance; a version below it has the key one level further up."""
    near = key_files(folder.parent / "keys").model_public
    far = key_files(folder.parent.parent / "keys").model_public
    return far if far.is_file() and not near.is_file() else near
