"""Where models lie: the top of MODEL_DIR and one folder per version below it; and whether anything there has changed.

Only names and file states are looked at. Who may write there could write anything, so the number of folders is bounded,
the answer counts what was left out, and the loader checks what is in them before anybody relies on it.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME

TOP = "."
MOST_FOLDERS = 16
_MOST_ENTRIES = 2_000
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with a manifest; `state` changes whenever the loader could come to another verdict.

    `linked` is True where the name is a symbolic link to the folder.
    """

    name: str
    path: Path
    state: str
    written: int
    linked: bool

    @property
    def shown(self) -> str:
        """The name as it can be told: file names may be no text."""
        return self.name.encode("utf-8", "backslashreplace").decode()[:_MOST_SHOWN]


def model_folders(root: Path, wanted: Collection[str] = ()) -> tuple[tuple[ModelFolder, ...], int]:
    """The top first, then the folders of these names, then the newest written; and how many of them are beyond
    `MOST_FOLDERS` and left out."""
    found = [folder for name in (TOP, *_names(root)) if (folder := _folder(root, name)) is not None]
    found.sort(key=lambda each: (each.name != TOP, each.name not in wanted, -each.written, each.name))
    return tuple(found[:MOST_FOLDERS]), max(len(found) - MOST_FOLDERS, 0)


def file_state(path: Path) -> str:
    """Identity, length and times of a file, "" if there is none; a changed permission counts too."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    return f"{found.st_ino}.{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}"


def _names(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return [entry.name for entry in islice(entries, _MOST_ENTRIES) if entry.is_dir()]
    except OSError:
        return []


def _folder(root: Path, name: str) -> ModelFolder | None:
    path = root if name == TOP else root / name
    try:
        written = (path / MANIFEST_NAME).lstat().st_mtime_ns
    except OSError:
        return None
    linked = name != TOP and path.is_symlink()
    states = [str(linked), *(file_state(path / file) for file in (MANIFEST_NAME, SIGNATURE_NAME, ARTIFACT_NAME))]
    return ModelFolder(name, path, "|".join(states), written, linked)
