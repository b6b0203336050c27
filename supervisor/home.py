"""Where everything of one instance lies: the state folder `MESH_HOME` and the names inside it.

One folder is one instance, and nobody else's to look into.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


class HomeUnwritable(Exception):
    """Nothing can be written where the instance is to lie; the text says why."""


@dataclass(frozen=True, slots=True)
class MeshHome:
    """Paths of one instance. `root` is absolute and free of symbolic links, so that two spellings are one."""

    root: Path

    @classmethod
    def at(cls, folder: Path | str) -> MeshHome:
        return cls(Path(folder).expanduser().resolve())

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def identity(self) -> Path:
        """Tokens by which callers prove who they are."""
        return self.root / "identity"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def lock_file(self) -> Path:
        return self.run / "instance.lock"

    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    @property
    def halt_file(self) -> Path:
        """What `mesh halt` writes and the executor looks at before every send."""
        return self.root / "halt.json"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def nearest(self) -> Path:
        """The folder itself, or the nearest one above it that is there already."""
        # Path.exists raises where a folder above may not be entered.
        return next(path for path in (self.root, *self.root.parents) if os.path.exists(path))  # noqa: PTH110

    def why_not_writable(self) -> str | None:
        """Why nothing can be written here, None if it can. Known only by making a file, which does not stay."""
        try:
            with tempfile.TemporaryFile(dir=self.nearest):
                return None
        except OSError as error:
            return f"{self.root} cannot be written: {self.nearest}: {error.strerror}"

    def require_writable(self) -> None:
        """Raises HomeUnwritable."""
        reason = self.why_not_writable()
        if reason is not None:
            raise HomeUnwritable(reason)

    def prepare(self) -> None:
        """Makes the folders, private to this account. What is there already keeps its mode."""
        if not self.root.exists():
            self.root.mkdir(parents=True, mode=0o700)
        for folder in (self.logs, self.run):
            folder.mkdir(mode=0o700, exist_ok=True)
