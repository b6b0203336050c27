"""A recommendation costs the orchestrator few statements, and fewer the more come together."""

from tests.orchestrator.orchestrator_world import World
from tests.support.statements import statements

KINDS = {
    "WITH given": "changes",
    "WITH exits": "claim",
    "SELECT recommendation_id, order_id": "orders",
}


async def test_an_executed_recommendation_costs_few_statements(world: World) -> None:
    """One claim; three changes of state, of which the first goes with the claim; one look at the order before the end."""
    async with world.orchestrator():
        (first,) = await world.propose()
        await world.until_ended(first)
        with statements(world.database.engine, KINDS) as sent:
            items = [await world.propose(1, side=side) for side in ("BUY", "SELL")]
            rows = await world.until_ended(*(item for (item,) in items))
    assert {row["state"] for row in rows.values()} == {"EXECUTED"}
    # Looks come by time; a claim may find what another notification told of, and two changes may share a statement.
    assert 3 <= sent.statements["changes"] <= 6
    assert 1 <= sent.statements["orders"] <= 2
    assert 1 <= sent.statements["claim"] <= 3


async def test_recommendations_that_come_together_share_their_statements(world: World) -> None:
    async with world.orchestrator(orchestrator_concurrency=40):
        (first,) = await world.propose()
        await world.until_ended(first)
        with statements(world.database.engine, KINDS) as sent:
            items = await world.propose(40)
            rows = await world.until_ended(*items)
    assert {rows[item]["state"] for item in items} == {"EXECUTED"}
    assert sent.statements["claim"] <= 3
    # One by one these would be 120 and 40.
    assert sent.statements["changes"] <= 60
    assert sent.statements["orders"] <= 30
    await world.check_once()
