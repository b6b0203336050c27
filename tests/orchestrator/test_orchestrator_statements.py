"""A recommendation costs the orchestrator few statements, and fewer the more come together."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from tests.orchestrator.orchestrator_world import World

KINDS = {
    "WITH given": "changes",
    "WITH exits": "claim",
    "SELECT recommendation_id, order_id": "orders",
}


@contextmanager
def counted(world: World) -> Iterator[Counter[str]]:
    """Statements of every engine of this process but the world's own, by kind."""
    found: Counter[str] = Counter()

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if connection.engine is not world.database.engine.sync_engine:
            text = " ".join(statement.split())
            found[next((kind for start, kind in KINDS.items() if text.startswith(start)), text[:80])] += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_an_executed_recommendation_costs_few_statements(world: World) -> None:
    """One claim; three changes of state, of which the first goes with the claim; one look at the order before the end."""
    async with world.orchestrator():
        (first,) = await world.propose()
        await world.until_ended(first)
        with counted(world) as found:
            items = [await world.propose(1, side=side) for side in ("BUY", "SELL")]
            rows = await world.until_ended(*(item for (item,) in items))
    assert {row["state"] for row in rows.values()} == {"EXECUTED"}
    # Looks come by time; a claim may find what another notification told of, and two changes may share a statement.
    assert 3 <= found["changes"] <= 6
    assert 1 <= found["orders"] <= 2
    assert 1 <= found["claim"] <= 3


async def test_recommendations_that_come_together_share_their_statements(world: World) -> None:
    async with world.orchestrator(orchestrator_concurrency=40):
        (first,) = await world.propose()
        await world.until_ended(first)
        with counted(world) as found:
            items = await world.propose(40)
            rows = await world.until_ended(*items)
    assert {rows[item]["state"] for item in items} == {"EXECUTED"}
    assert found["claim"] <= 3
    # One by one these would be 120 and 40.
    assert found["changes"] <= 60
    assert found["orders"] <= 30
    await world.check_once()
