"""An assessment costs few statements, and those that wait together cost as few as one."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import text

from tests.risk.risk_world import AS_OF, HOUR, World
from tests.support.statements import Sent, statements
from tradekit import wire
from tradekit.ids import new_request_id
from tradekit.recommendation import Recommendation
from tradekit.states import Side
from trading.risk.v1 import risk_service_pb2 as pb

KINDS = {
    "SELECT accounts.account_id": "lock",
    "WITH wanted AS": "items",
    "WITH parts AS": "exposure",
    "SELECT given.as_of": "market time",
    "SELECT product_id, start, close": "volatility",
    "WITH expired AS": "write",
}
ONE = dict.fromkeys(("lock", "items", "exposure", "market time", "write"), 1)


def sent(world: World) -> AbstractContextManager[Sent]:
    """What the service sends in its transactions."""
    return statements(world.engine, KINDS, in_transactions_only=True)


async def marked(world: World) -> None:
    """The bar has its equity mark, which the service makes by itself."""

    async def done() -> bool:
        return bool(await world.run(text("SELECT 1 FROM equity_snapshots")))

    await world.until(done)


async def test_an_entry_and_an_exit_cost_five_statements_and_one_more_at_a_new_bar(world: World) -> None:
    await marked(world)
    await world.hold("SOL-USD", "1")
    entry, other, leaves = (
        await world.propose(world.recommendation()),
        await world.propose(world.recommendation(product="SOL-USD")),
        await world.propose(world.recommendation(Side.SELL, "0.5", "SOL-USD")),
    )
    with sent(world) as first:
        assert (await world.ask(entry)).decision == pb.DECISION_APPROVE
    assert (first.statements, first.transactions) == ({**ONE, "volatility": 1}, 1)
    for item in (other, leaves):
        with sent(world) as found:
            assert (await world.ask(item)).decision in (pb.DECISION_APPROVE, pb.DECISION_REDUCE)
        assert (found.statements, found.transactions) == (ONE, 1)
    with sent(world) as repeated:
        await world.ask(entry)
    assert (repeated.statements, repeated.transactions) == ({"lock": 1, "items": 1, "write": 1}, 1)


@pytest.mark.parametrize("several_bars", [False, True])
async def test_twenty_that_wait_cost_as_few_statements_as_one_and_exits_come_first(
    world: World, several_bars: bool
) -> None:
    await marked(world)
    await world.hold("SOL-USD", "9")
    times = [AS_OF - HOUR / 4 * (n % 3 if several_bars else 0) for n in range(20)]
    entries = [await world.propose(world.recommendation(as_of=times[n], product="BTC-USD")) for n in range(14)]
    exits = [
        await world.propose(world.recommendation(Side.SELL, "0.1", "SOL-USD", as_of=times[14 + n])) for n in range(6)
    ]
    # Every volatility is known afterwards, but for those of bars other than the newest.
    await world.ask(world.recommendation(product="ETH-USD"))
    await world.ask(world.recommendation(product="BTC-USD"))
    with sent(world) as found:
        async with world.engine.begin() as connection:
            await connection.execute(text("SELECT 1 FROM accounts FOR UPDATE"))
            first = asyncio.create_task(world.ask(entries[0]))
            await asyncio.sleep(0.5)
            others = [asyncio.create_task(streamed(world, items)) for items in (entries[1:], exits)]
            await asyncio.sleep(1.5)
        await first
        answered = [identity for task in others for identity in await task]
    found.statements.pop("volatility", None)
    # One that found nobody, and all who came while it was there.
    assert (found.statements, found.transactions) == (dict.fromkeys(ONE, 2), 2)
    assert set(answered) == {str(item.recommendation_id) for item in (*entries[1:], *exits)}
    order = [row.recommendation_id for row in sorted(await world.assessments(), key=version)][2:]
    assert order[0] == entries[0].recommendation_id
    assert set(order[1:7]) == {item.recommendation_id for item in exits}


async def streamed(world: World, items: Sequence[Recommendation]) -> list[str]:
    """Sends all of them in one stream; the ids that were answered."""
    call = world.stub.StreamAssessments(timeout=20)
    await call.write(pb.StreamAssessmentsRequest(open=pb.StreamAssessmentsOpen(client="test", max_in_flight=16)))
    assert (await call.read()).opened.max_in_flight >= len(items)
    for item in items:
        request = pb.AssessRecommendationRequest(
            request_id=str(new_request_id()), recommendation=wire.recommendation_message(item)
        )
        await call.write(pb.StreamAssessmentsRequest(item=request))
    found = []
    while len(found) < len(items):
        frame = await call.read()
        if frame.WhichOneof("frame") == "answer":
            found.append(frame.answer.assessment.recommendation_id)
        else:
            assert frame.WhichOneof("frame") == "heartbeat", frame
    call.cancel()
    return found


def version(row: Any) -> int:
    found: int = row.snapshot["snapshot"]["version"]
    return found
