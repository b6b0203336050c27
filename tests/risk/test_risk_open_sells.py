"""What open sell orders leave to an exit: all that they will not sell, and all that gives way to it."""

import pytest

from tests.risk.risk_calls import codes
from tests.risk.risk_world import D, World
from tradekit.states import Side
from trading.risk.v1 import risk_service_pb2 as pb


@pytest.mark.parametrize("state", ["OPEN", "UNKNOWN"])
async def test_what_protects_a_position_leaves_the_whole_of_it_to_an_exit(world: World, state: str) -> None:
    """The executor takes it back for the exit, or says that it cannot yet. Of no known end it keeps entries waiting."""
    await world.hold("SOL-USD", "1")
    await world.order("SOL-USD", "SELL", state, base="1", purpose="PROTECTION", recommendation_id=None)
    found = await world.ask(world.recommendation(Side.SELL, "1", "SOL-USD"))
    assert (found.decision, found.adjusted_size.value) == (pb.DECISION_APPROVE, "1")
    entry = await world.ask(world.recommendation(product="SOL-USD"))
    assert ("ORDER_UNKNOWN" in codes(entry)) is (state == "UNKNOWN")


@pytest.mark.parametrize(("done", "filled", "left"), [("0.4", "0.1", "0.7"), ("0.4", "0.4", "1"), (None, "0.1", "0.1")])
async def test_a_close_that_is_done_keeps_what_it_sold_and_nobody_booked(
    world: World, done: str | None, filled: str, left: str
) -> None:
    await world.hold("SOL-USD", "1")
    told = {"recommendation_id": None, "done_size": None if done is None else D(done)}
    await world.order("SOL-USD", "SELL", "OPEN", base="1", filled=filled, **told)
    found = await world.ask(world.recommendation(Side.SELL, "1", "SOL-USD"))
    assert found.adjusted_size.value == left
