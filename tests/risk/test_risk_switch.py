"""The trading switch as the risk engine sets it and obeys it."""

from tests.risk.risk_calls import codes, refused
from tests.risk.risk_world import World
from tradekit.ids import new_request_id
from tradekit.states import Side
from trading.risk.v1 import risk_service_pb2 as pb


async def test_the_switch_works_at_the_decision_and_at_the_commit(world: World):
    await world.hold("SOL-USD", "1")
    entry, exit_ = (
        await world.ask(world.recommendation()),
        await world.ask(world.recommendation(Side.SELL, "0.5", "SOL-USD")),
    )
    assert (await world.switch("REDUCING")).previous_state == pb.TRADING_STATE_ACTIVE
    assert await world.commit(entry.reservation_id) == "TRADING_HALTED"
    assert codes(await world.ask(world.recommendation(product="BTC-USD")))[0] == "KILL_SWITCH"
    assert (await world.ask(world.recommendation(Side.SELL, "0.1", "SOL-USD"))).decision == pb.DECISION_APPROVE
    await world.switch("HALTED")
    assert await world.commit(exit_.reservation_id) == "TRADING_HALTED"
    assert codes(await world.ask(world.recommendation(Side.SELL, "0.1", "SOL-USD")))[0] == "KILL_SWITCH"
    await world.switch("ACTIVE")
    assert await world.commit(exit_.reservation_id) == "OK"
    assert await world.commit(entry.reservation_id) == "OK"


async def test_the_switch_that_only_tightens_leaves_what_is_stricter(world: World):
    await world.switch("HALTED")
    stays = await world.switch("REDUCING", only_tighten=True)
    assert (stays.state, (await world.account()).trading_state) == (pb.TRADING_STATE_HALTED, "HALTED")
    await world.switch("ACTIVE")
    assert (await world.switch("REDUCING", only_tighten=True)).state == pb.TRADING_STATE_REDUCING


async def test_the_switch_answers_a_repeated_request_without_turning_again(world: World):
    request_id = str(new_request_id())
    first = await world.switch("HALTED", request_id=request_id)
    await world.switch("ACTIVE")
    assert await world.switch("HALTED", request_id=request_id) == first
    assert (await world.account()).trading_state == "ACTIVE"
    reused = await refused(world.switch("REDUCING", request_id=request_id))
    assert reused.reason == "REQUEST_ID_REUSED"
