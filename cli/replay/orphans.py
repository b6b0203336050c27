"""Ends and removes what replays left behind that were killed: a database that runs on, processes, a folder with a ledger.

A replay that ends by itself, even in failure, lets go of its folder's lock and empties it; one that was killed leaves its
name in it. So a folder kept for its logs is never taken for an orphan, and neither is one whose owner lives.
"""

import os
import shutil
from pathlib import Path

from cli.stack import DATABASE
from supervisor.embedded_postgres import EmbeddedPostgres
from supervisor.home import MeshHome
from supervisor.instance import bring_down, died_holding

# A folder of its own for each replay, inside the state folder.
FOLDER = "replays"
DATABASE_NAME = "trading"


def postgres_of(home: MeshHome) -> EmbeddedPostgres:
    """The database server of a replay."""
    return EmbeddedPostgres(home.postgres, home.log_file(DATABASE), DATABASE_NAME)


def orphans(root: Path) -> list[MeshHome]:
    """Folders of replays whose owner died in them."""
    folder = root / FOLDER
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a folder above may not be entered
        return []
    homes = (MeshHome.at(path) for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink())
    return [home for home in homes if died_holding(home)]


def remove_orphans(root: Path) -> list[str]:
    """Stops and removes them; what was done, in words."""
    said = []
    for home in orphans(root):
        report = bring_down(home, postgres_of(home))
        shutil.rmtree(home.root, ignore_errors=True)
        parts = [f"{len(report.swept_pids)} process(es) ended"] if report.swept_pids else []
        parts += ["its database stopped"] if report.postgres_stopped else []
        said.append(f"replay {home.root.name} was killed: {', '.join([*parts, 'its folder removed'])}")
    return said
