"""Creations that come together share one transaction, and each is answered as if it had come alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from asyncpg import UniqueViolationError
from sqlalchemy import func, select, text
from waiting import eventually

from meshkit.errors import MeshError
from meshkit.kit import Kit
from meshkit.watch import DEFAULT_BATCH
from schema.operations import stored_requests
from schema.requests import RequestKey, body_hash
from svc_bridge.creation import CreationRequest, Creations
from svc_bridge.recommendation_watch import RecommendationWatch
from svc_bridge.settings import BridgeSettings
from svc_bridge.wire import parse_create
from tests.bridge.bridge_world import AS_OF, World
from tests.support.statements import statements
from tests.support.stored import unlock_rows
from tradekit import ids
from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.common.v1 import decimal_pb2

BUY, SELL = 1, 2
TOGETHER = 20


def asked(side: int, product: str = "ETH-USD", request_id: str = "", size: str = "") -> pb.CreateRecommendationRequest:
    given: dict[str, Any] = {}
    if size:
        given["quote_size" if side == BUY else "base_size"] = decimal_pb2.Decimal(value=size)
    chosen = request_id or str(ids.new_request_id())
    return pb.CreateRecommendationRequest(request_id=chosen, product_id=product, side=side, **given)  # type: ignore[arg-type]


def request(message: pb.CreateRecommendationRequest, caller: str = "operator") -> CreationRequest:
    parsed = parse_create(message)
    key = RequestKey("bridge", caller, parsed.request_id, "CreateRecommendation", body_hash(message))
    return CreationRequest(key, parsed)


@contextlib.asynccontextmanager
async def bridge_kit(world: World) -> AsyncIterator[Kit[BridgeSettings]]:
    """Of a bridge whose lives are measured by market time, so that answers do not hang on the clock."""
    settings = BridgeSettings(**world.database.settings_of("bridge"), port=0, venue="REPLAY", db_pool_size=2)
    kit: Kit[BridgeSettings] = Kit(settings)
    try:
        yield kit
    finally:
        await kit.close()


@contextlib.asynccontextmanager
async def creations(world: World) -> AsyncIterator[Creations]:
    async with bridge_kit(world) as kit:
        yield Creations(kit.settings, kit.dedicated)


async def market(world: World) -> None:
    """Two products with a price, of which one is held; a third that nobody has traded."""
    for product in ("BTC-USD", "ETH-USD", "SOL-USD"):
        await world.list_product(product)
    for product in ("BTC-USD", "ETH-USD"):
        await world.candle(product, "2500.25")
    await world.hold("ETH-USD", "2.00005", cost="4000")
    await world.watermark("market", AS_OF)


@pytest.mark.parametrize("side", [BUY, SELL], ids=["entry", "exit"])
async def test_a_creation_is_four_statements_in_one_transaction(world: World, side: int) -> None:
    await market(world)
    async with world.bridge() as stub:

        async def follows_signals() -> bool:
            return bool(world.signals.asked)

        await eventually(follows_signals)
        with statements(world.database.engine) as sent:
            made = await stub.CreateRecommendation(asked(side))
        assert sent.total == 4, sent.statements
        assert sent.transactions == 1
    assert made.record.sequence == 1


@pytest.mark.parametrize("side", [BUY, SELL], ids=["entries", "exits"])
async def test_many_creations_are_four_statements_too(world: World, side: int) -> None:
    await market(world)
    async with creations(world) as way:
        with statements(world.database.engine) as sent:
            answers = await asyncio.gather(*(way.create(request(asked(side))) for _ in range(TOGETHER)))
    assert sent.total == 4, sent.statements
    assert sent.transactions == 1
    assert sorted(answer.record.sequence for answer in answers) == list(range(1, TOGETHER + 1))
    events = await world.events()
    assert [row["sequence"] for row in events] == list(range(1, TOGETHER + 1))
    assert {row["to_state"] for row in events} == {"PROPOSED"}
    assert len(await world.run(select(stored_requests))) == TOGETHER


async def test_repeats_alone_are_one_statement(world: World) -> None:
    await market(world)
    wanted = [request(asked(BUY)) for _ in range(3)]
    async with creations(world) as way:
        first = await asyncio.gather(*(way.create(one) for one in wanted))
        with statements(world.database.engine) as sent:
            assert await asyncio.gather(*(way.create(one) for one in wanted)) == first
    assert sent.total == 1


def shown(answer: Any) -> Any:
    """An answer without the times at which it was made; an error as its caller sees it."""
    if isinstance(answer, MeshError):
        return type(answer).__name__, answer.reason, answer.message
    record = type(answer.record)()
    record.CopyFrom(answer.record)
    record.ClearField("create_time")
    record.ClearField("update_time")
    return record


async def outcome(world: World, answers: Sequence[Any]) -> tuple[list[Any], list[Any], set[tuple[UUID, str]]]:
    """What callers got and what is stored, in a form that does not hang on the clock."""
    rows = [
        {name: value for name, value in row.items() if name not in ("created_at", "updated_at")}
        for row in await world.recommendations()
    ]
    noted = await world.run(select(stored_requests))
    return [shown(one) for one in answers], rows, {(row["request_id"], row["body_sha256"]) for row in noted}


async def test_a_batch_equals_the_same_requests_one_after_the_other(world: World) -> None:
    """Repeats, refused ones among good ones, another body under one id, ids that were used before."""
    await market(world)
    before, sold, refused, bought = (str(ids.new_request_id()) for _ in range(4))
    earlier = request(asked(SELL, size="1", request_id=before))
    messages = [
        asked(SELL, request_id=sold),
        asked(SELL, request_id=sold),
        asked(SELL, request_id=sold, size="1"),
        asked(SELL, "BTC-USD", request_id=refused),
        asked(SELL, "BTC-USD", request_id=refused),
        # A refusal leaves the id free for another body.
        asked(SELL, "ETH-USD", request_id=refused, size="0.5"),
        asked(SELL, "ETH-USD", size="900000"),
        asked(SELL, request_id=before, size="1"),
        asked(SELL, request_id=before, size="2"),
        asked(SELL, "NO-USD"),
        asked(BUY, "SOL-USD"),
        asked(BUY, "ETH-USD", request_id=bought, size="12.5"),
        asked(BUY, "BTC-USD", request_id=bought),
        asked(BUY, "BTC-USD"),
    ]
    wanted = [request(message) for message in messages]
    # Exits and entries are worked on beside each other; here one kind follows the other, so that both runs have one order.
    exits = sum(message.side == SELL for message in messages)
    outcomes = []
    for together in (False, True):
        async with creations(world) as way:
            await way.create(earlier)
            if together:
                with statements(world.database.engine) as sent:
                    answers = [
                        answer
                        for kind in (wanted[:exits], wanted[exits:])
                        for answer in await asyncio.gather(*map(way.create, kind), return_exceptions=True)
                    ]
                assert sent.transactions == 2
            else:
                answers = [(await asyncio.gather(way.create(one), return_exceptions=True))[0] for one in wanted]
        outcomes.append(await outcome(world, answers))
        await unlock_rows(world.database.engine, "recommendation_events", "stored_requests")
        await world.run(
            text("TRUNCATE trade_recommendations, recommendation_events, stored_requests, stream_heads CASCADE")
        )
    assert outcomes[0] == outcomes[1]
    reasons = [answer[1] for answer in outcomes[0][0] if isinstance(answer, tuple)]
    assert reasons == [
        *("REQUEST_ID_REUSED", "NOT_HELD", "NOT_HELD", "REQUEST_ID_REUSED", "INVALID_REQUEST", "STALE_DATA"),
        "REQUEST_ID_REUSED",
    ]


async def test_a_creation_that_the_tables_refuse_takes_no_other_with_it(world: World) -> None:
    """A recommendation has its id of the request_id alone; two callers who chose the same one cannot both have it."""
    await market(world)
    taken = asked(BUY)
    async with creations(world) as way:
        answers = await asyncio.gather(
            way.create(request(taken)),
            way.create(request(taken, caller="another")),
            way.create(request(asked(BUY))),
            return_exceptions=True,
        )
    assert [type(answer) for answer in answers] == [
        pb.CreateRecommendationResponse,
        UniqueViolationError,
        pb.CreateRecommendationResponse,
    ]
    assert len(await world.recommendations()) == 2


async def test_two_bridges_never_wait_for_each_other_and_give_one_answer(world: World) -> None:
    """Both are asked the same, in opposite orders."""
    await market(world)
    async with creations(world) as one, creations(world) as other:
        for _ in range(5):
            wanted = [request(asked(SELL)) for _ in range(8)]
            first = asyncio.gather(*(one.create(item) for item in wanted))
            second = asyncio.gather(*(other.create(item) for item in reversed(wanted)))
            answers, reverse = await asyncio.gather(first, second)
            assert answers == list(reversed(reverse))
    assert len(await world.recommendations()) == 40


async def test_a_creation_wakes_watchers_and_whoever_claims(world: World) -> None:
    await market(world)
    heard: list[str] = []
    listening = await asyncpg.connect(host=world.database.host, database=world.database.name, user=world.database.user)
    try:
        for channel in ("recommendations", "decisions", "proposals"):
            await listening.add_listener(channel, lambda _c, _p, channel, _t: heard.append(channel))
        async with creations(world) as way:
            await asyncio.gather(*(way.create(request(asked(BUY))) for _ in range(3)))

        async def woken() -> bool:
            return len(heard) >= 3

        await eventually(woken)
    finally:
        await listening.close()
    assert sorted(heard) == ["decisions", "proposals", "recommendations"]


async def test_a_look_of_a_watcher_is_one_statement_of_one_moment(world: World) -> None:
    await market(world)
    await world.watermark("bridge", AS_OF)
    async with bridge_kit(world) as kit:
        way = Creations(kit.settings, kit.dedicated)
        await asyncio.gather(*(way.create(request(asked(SELL))) for _ in range(3)))
        watch = RecommendationWatch(kit.autocommit, 0)
        with statements(world.database.engine) as sent:
            watermark = await watch.watermark()
            seen = await watch.rows_after(0, DEFAULT_BATCH)
        assert sent.total == 1
        assert watermark is not None and watermark.as_of == AS_OF
        assert [row.sequence for row in seen] == [1, 2, 3]
        await watch.watermark()
        await way.create(request(asked(SELL)))
        # What came after the watermark was read belongs to the next look.
        assert await watch.rows_after(3, DEFAULT_BATCH) == []
        assert [row.sequence for row in await watch.rows_after(3, DEFAULT_BATCH)] == [4]
        assert [row.sequence for row in await watch.rows_after(1, 2)] == [2, 3]


async def test_an_exit_waits_for_no_entry(world: World) -> None:
    """Another transaction holds the id of an entry; the exit beside it goes on."""
    await market(world)
    entry, way_out = request(asked(BUY)), request(asked(SELL))
    async with creations(world) as way, world.database.engine.connect() as holder:
        await holder.execute(select(func.pg_advisory_xact_lock(entry.key.lock)))
        waiting = asyncio.create_task(way.create(entry))
        assert (await way.create(way_out)).record.sequence == 1
        assert not waiting.done()
        await holder.rollback()
        assert (await waiting).record.sequence == 2
