"""Changes that are written together: each is written, or refused for its own reason, and the streams stay without a gap."""

from uuid import UUID

from sqlalchemy import func, select

from schema.recommendations import recommendation_events, trade_recommendations
from svc_orchestrator.transitions import Cancelled, LeaseLost, OrderStands, Transition, change_states
from tests.orchestrator.orchestrator_world import World
from tests.orchestrator.stand_ins import AS_OF
from tradekit.reasons import Reason
from tradekit.states import RecommendationState

OWNER = "orchestrator-1"
PROPOSED, IN_REVIEW = RecommendationState.PROPOSED, RecommendationState.IN_REVIEW
REJECTED, EXPIRED = RecommendationState.REJECTED, RecommendationState.EXPIRED
WHY = Reason("VOL_TARGET", "1", "2", "ratio", "product:C000-USD")


def change(item: str, to_state: RecommendationState, from_state: RecommendationState = PROPOSED) -> Transition:
    return Transition(UUID(item), from_state, to_state, "test", (WHY,), AS_OF)


async def test_each_of_many_is_written_or_refused_for_its_own_reason(world: World) -> None:
    goes, ends, lost, elsewhere, cancelled, filled, twice = await world.propose(7, lease_owner=OWNER)
    await world.change(lost, lease_owner="another")
    await world.change(cancelled, cancel_requested_at=func.now(), cancel_note="no")
    await world.write_order(filled, "FILLED", "0.5")
    changes = [
        change(goes, IN_REVIEW),
        change(ends, REJECTED),
        change(lost, IN_REVIEW),
        change(elsewhere, IN_REVIEW, from_state=IN_REVIEW),
        change(cancelled, IN_REVIEW),
        change(filled, REJECTED),
        change(twice, IN_REVIEW),
    ]
    async with world.database.engine.begin() as connection:
        refused = await change_states(connection, OWNER, changes)
    kinds = [type(refusal) for refusal in refused]
    assert kinds == [type(None), type(None), LeaseLost, LeaseLost, Cancelled, OrderStands, type(None)]
    assert str(refused[4]) == "no"
    rows = await world.rows()
    states = [rows[item]["state"] for item in (goes, ends, lost, elsewhere, cancelled, filled, twice)]
    assert states == ["IN_REVIEW", "REJECTED", "PROPOSED", "PROPOSED", "PROPOSED", "PROPOSED", "IN_REVIEW"]
    assert (rows[goes]["lease_owner"], rows[ends]["lease_owner"]) == (OWNER, None)
    assert rows[ends]["reasons"][0]["code"] == WHY.code
    histories = await world.histories()
    assert [len(histories[item]) for item in (goes, ends, lost, twice)] == [2, 2, 1, 2]
    sequences = await world.run(select(trade_recommendations.c.sequence).order_by(trade_recommendations.c.sequence))
    assert len({row["sequence"] for row in sequences}) == 7
    assert sequences[-1]["sequence"] == 10


async def test_one_that_was_cancelled_does_not_expire_and_ends_otherwise(world: World) -> None:
    expires, ends = await world.propose(2, lease_owner=OWNER, cancel_requested_at=func.now(), cancel_note="no")
    async with world.database.engine.begin() as connection:
        refused = await change_states(connection, OWNER, [change(expires, EXPIRED), change(ends, REJECTED)])
    assert [type(refusal) for refusal in refused] == [Cancelled, type(None)]
    rows = await world.rows()
    assert [rows[item]["state"] for item in (expires, ends)] == ["PROPOSED", "REJECTED"]


async def test_two_changes_of_one_recommendation_are_one_after_the_other(world: World) -> None:
    (item,) = await world.propose(1, lease_owner=OWNER)
    async with world.database.engine.begin() as connection:
        refused = await change_states(connection, OWNER, [change(item, IN_REVIEW), change(item, REJECTED)])
    assert [type(refusal) for refusal in refused] == [type(None), LeaseLost]
    assert (await world.histories())[item] == ["PROPOSED", "IN_REVIEW"]
    count = await world.run(select(func.count().label("events")).select_from(recommendation_events))
    assert count[0]["events"] == 2
