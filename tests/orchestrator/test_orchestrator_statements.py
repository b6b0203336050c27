"""A recommendation costs the orchestrator few statements: one for each change of state, two more for its end, one claim."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from tests.orchestrator.orchestrator_world import World

KINDS = {
    "WITH mine": "change",
    "UPDATE trade_recommendations SET lease_owner": "claim",
    "SELECT orchestrator_orders": "order",
    "SELECT trade_recommendations.recommendation_id": "lock",
    # One look at every notification, whose number is the other stages' affair.
    "SELECT (SELECT watermarks": "look",
}


@contextmanager
def statements(world: World) -> Iterator[Counter[str]]:
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
    async with world.orchestrator():
        (first,) = await world.propose()
        await world.until_ended(first)
        with statements(world) as found:
            items = [await world.propose(1, side=side) for side in ("BUY", "SELL")]
            rows = await world.until_ended(*(item for (item,) in items))
    assert {row["state"] for row in rows.values()} == {"EXECUTED"}
    # What looks after ends that contradict their orders, and leases, comes by time.
    by_time = {text for text in found if text.startswith(("UPDATE trade_recommendations SET lease_expires_at",))}
    counted = {kind: count for kind, count in found.items() if kind not in {"look", "lock", *by_time}}
    assert counted == {"change": 6, "claim": 2, "order": 2}
    assert found["lock"] >= 2
