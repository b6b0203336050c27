"""A risk service over a real socket with a database of its own."""

import pytest

from tests.risk.risk_world import running


@pytest.fixture
async def world(database, tmp_path):
    async with running(database, tmp_path) as made:
        yield made
