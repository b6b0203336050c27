"""One world per test: a fresh ledger and a signal service in memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.bridge.bridge_world import StandInSignals, World, signal_server


@pytest.fixture
async def world(database: Any) -> AsyncIterator[World]:
    stand_in = StandInSignals()
    async with signal_server(stand_in) as port:
        yield World(database, stand_in, port)
