"""Fixtures of the executor's tests: one simulated exchange for all, a fault proxy and a risk issuer for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.executor.issuer import Issuer, environment, public_key_file
from tests.executor.venue import FaultProxy, Simulator, start_simulator


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    running = start_simulator(tmp_path_factory.mktemp("exchange"))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
async def proxy(simulator: Simulator) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(simulator)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@pytest.fixture(scope="session")
def ticket_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def issuer(database: Any, ticket_key: Ed25519PrivateKey) -> Issuer:
    return Issuer(database, ticket_key)


@pytest.fixture
def environ(
    database: Any, simulator: Simulator, proxy: FaultProxy, ticket_key: Ed25519PrivateKey, tmp_path: Path
) -> dict[str, str]:
    """An executor's environment; its exchange is the fault proxy."""
    return environment(database, simulator, proxy.host, public_key_file(ticket_key, tmp_path))


@pytest.fixture
def halting(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An executor's environment with a halt file."""
    return {**environ, "HALT_FILE": str(tmp_path / "halt.json")}
