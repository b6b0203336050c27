"""One mesh of real services behind real Envoys for all tests that look at one, and a small rig for those that count calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_mesh.process import EnvoyMissing, envoy_program
from envoy_mesh.replayed import ReplayedMesh, replayed_mesh
from envoy_mesh.rig import Rig, running_rig
from envoy_mesh.sidecars import running_sidecars
from replay_runs import BEGIN, END, PRODUCTS, Undisturbed


@pytest.fixture(scope="session")
def program() -> Path:
    """Envoy itself. Where it is not to be had, what needs it is skipped, and the translation is tested all the same."""
    try:
        return envoy_program()
    except EnvoyMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def mesh(program: Path, undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayedMesh]:
    """Every service and the simulated exchange, in the middle of the replay that ran undisturbed without sidecars before."""
    home = tmp_path_factory.mktemp("envoy-replay")
    home.chmod(0o755)
    replayed = {
        "file": str(undisturbed.file),
        "products": PRODUCTS,
        "begin": BEGIN.isoformat(),
        "end": END.isoformat(),
        "model": str(undisturbed.report.folder / "model"),
    }
    with (
        running_sidecars(tmp_path_factory.mktemp("envoys")) as sidecars,
        replayed_mesh(sidecars, home, **replayed) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def rig(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two Envoys: a caller's, and one in front of all workloads, behind which one stand-in listens."""
    with running_rig(tmp_path_factory.mktemp("rig")) as running:
        yield running
