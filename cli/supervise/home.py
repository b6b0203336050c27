"""Where everything of one instance lies: the state folder `MESH_HOME` and the names inside it.

One folder is one instance. Other users may pass through it only when the database runs as an account of its
own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


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
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def lock_file(self) -> Path:
        return self.run / "instance.lock"

    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Makes the folders. The root is private; as root it can be passed through (the database's account
        must).
        """
        passable = 0o711 if os.geteuid() == 0 else 0o700
        if not self.root.exists():
            self.root.mkdir(parents=True, mode=passable)
        for folder in (self.logs, self.run):
            folder.mkdir(mode=0o700, exist_ok=True)
