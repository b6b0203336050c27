"""One mesh of real processes for all sweeps."""

import asyncio
from collections.abc import Iterator

import pytest
from live_mesh import LiveMesh, live_mesh
from sweep_world import World, make_world


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Every service, proven and with history."""
    root = tmp_path_factory.mktemp("mesh")
    root.chmod(0o755)
    with live_mesh(root) as running:
        yield running


@pytest.fixture(scope="session")
def world(mesh: LiveMesh) -> World:
    """The mesh with trades in its books, at rest."""
    return asyncio.run(make_world(mesh))
