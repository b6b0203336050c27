"""One world per test: a fresh ledger and three stages."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.orchestrator.orchestrator_world import World
from tests.orchestrator.stand_ins import StandIns


@pytest.fixture
async def world(database: Any) -> AsyncIterator[World]:
    stages = StandIns()
    async with stages.running():
        yield World(database, stages)
