"""What an executed recommendation may cost the database, all services and the page together, by PostgreSQL's own log."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.pipeline.load import Creator
from bench.pipeline.mesh import PRODUCTS, Bench, attached, running_mesh
from bench.pipeline.statement_log import Part
from bench.pipeline.statements import carried_out, statements_logged
from tests.support.live_mesh import LiveMesh
from tradekit.services import SERVICES

STATEMENTS, TRANSACTIONS = 40, 12
REST_SECONDS, AFTER_SECONDS, ENDED_SECONDS = 8.0, 2.0, 240.0


@pytest.fixture
def mesh() -> Iterator[LiveMesh]:
    with tempfile.TemporaryDirectory(prefix="mesh-budget-") as folder, running_mesh(Path(folder) / "mesh") as running:
        yield running


def per_item(kind: str, part: Part, rest: Part) -> float:
    return sum(part.per_item(kind, service.name, rest) for service in SERVICES)


async def costs(bench: Bench) -> tuple[Part, Part, Part]:
    """At rest, of entries and exits one after the other, and of entries that come together."""
    for product in PRODUCTS:
        # Connections are opened, statements prepared and volatilities known before anything is counted.
        await carried_out(bench, product, "SIDE_BUY")
    async with statements_logged(bench) as log:
        await asyncio.sleep(REST_SECONDS)
        rest = log.part()
        for product in PRODUCTS:
            await carried_out(bench, product, "SIDE_BUY")
            await carried_out(bench, product, "SIDE_SELL")
        await asyncio.sleep(AFTER_SECONDS)
        alone = log.part(2 * len(PRODUCTS))
        load = await Creator(bench.bridge, PRODUCTS).burst(40)
        assert await bench.rows.until_ended(ENDED_SECONDS)
        await asyncio.sleep(AFTER_SECONDS)
        together = log.part(40)
    assert {one.state for one in await bench.rows.moments(load.ids)} == {"EXECUTED"}
    return rest, alone, together


def test_an_executed_recommendation_stays_within_its_budget(mesh: LiveMesh) -> None:
    async def measured() -> tuple[Part, Part, Part]:
        async with attached(mesh) as bench:
            return await costs(bench)

    rest, alone, together = asyncio.run(measured())
    assert per_item("statements", alone, rest) <= STATEMENTS
    assert per_item("statements", together, rest) <= STATEMENTS
    assert per_item("all_transactions", together, rest) <= TRANSACTIONS
    # One by one each also costs looks of the page's watchers, which those that come together share.
    assert per_item("transactions", alone, rest) <= TRANSACTIONS
