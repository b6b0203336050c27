"""One mesh of real processes for all sweeps."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from live_mesh import SERVING, LiveMesh, live_mesh
from sweep_calls import METHODS
from sweep_world import World, fingerprint, make_world


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Every service, proven and with history."""
    root = tmp_path_factory.mktemp("mesh")
    root.chmod(0o755)
    with live_mesh(root) as running:
        yield running


@pytest.fixture(scope="session")
def world(mesh: LiveMesh) -> World:
    """The mesh with trades in its ledger, at rest."""
    return asyncio.run(make_world(mesh))


@pytest.fixture
async def unharmed(mesh: LiveMesh, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Whatever a test did: the same processes, what it asked still serving, and no defect in any log."""
    pids, sizes = mesh.pids(), {name: len(mesh.log(name)) for name in mesh.pids()}
    yield
    assert mesh.pids() == pids
    asked = METHODS.get(getattr(request.node, "callspec", None) and request.node.callspec.params.get("name"))
    for service in mesh.plan.services if asked is None else asked[:1]:
        assert await mesh.health(service) == SERVING, service.name
    for name, size in sizes.items():
        news = mesh.log(name)[size:]
        bad = [
            line
            for line in news.splitlines()
            if "Traceback" in line or '"level": "error"' in line or "Exception" in line
        ]
        assert not bad, f"{name}: {bad[0][:3000]}"


@pytest.fixture
async def untouched(world: World) -> AsyncIterator[None]:
    """Nothing may be stored, changed or lost by the test."""
    before = await fingerprint(world.mesh)
    yield
    after = await fingerprint(world.mesh)
    assert after == before, {name: (before.get(name), after[name]) for name in after if after[name] != before.get(name)}
