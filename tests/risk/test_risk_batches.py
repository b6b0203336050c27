"""A batch gives what its items would have been given one after the other: the same answers, errors and rows."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update

from meshkit.kit import Kit
from schema.operations import stored_requests
from schema.requests import RequestKey
from schema.risk import accounts, equity_snapshots, risk_assessments, risk_locks, risk_reservations
from svc_risk.assessments import Item
from svc_risk.assessor import METHOD, Assessor, Call, Decided
from svc_risk.settings import RiskSettings
from svc_risk.ticket import load_signer
from tests.risk.risk_world import AS_OF, HOUR, D, World, seed, write_key
from tests.support.stored import unlock_rows
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.states import LifeClock, Side

# What a machine's clock or a key makes of a row.
BY_CLOCK = {"created_at", "updated_at", "expires_at", "ticket"}
TABLES = (risk_assessments, risk_reservations, risk_locks, equity_snapshots, stored_requests, accounts)
LIMITS = {
    "loose": {"risk_orders_per_minute": 60, "risk_product_orders_per_minute": 60, "risk_cooldown_entry_minutes": 0},
    "headroom": {
        "risk_orders_per_minute": 60,
        "risk_product_orders_per_minute": 60,
        "risk_cooldown_entry_minutes": 0,
        "risk_max_position_ratio": D("0.08"),
        "risk_gross_exposure_ratio": D("0.16"),
    },
    "slots": {"risk_max_open_positions": 2, "risk_product_orders_per_minute": 3, "risk_cooldown_entry_minutes": 0},
    "rates": {"risk_orders_per_minute": 3, "risk_product_orders_per_minute": 2, "risk_cooldown_entry_minutes": 90},
}


@dataclass
class Bench:
    """A seeded database with recommendations to choose from, and assessors over it."""

    world: World
    made: RiskSettings
    key_file: Path
    pool: list[Recommendation]

    @asynccontextmanager
    async def assessor(self, limits: str) -> AsyncIterator[Assessor]:
        changed = RiskSettings.model_validate({**self.made.model_dump(), **LIMITS[limits]})
        kit = Kit(changed)
        try:
            yield Assessor(changed, kit, load_signer(self.key_file))
        finally:
            await kit.close()

    async def reset(self, start: "Start") -> None:
        await unlock_rows(self.world.engine, "risk_assessments", "stored_requests")
        async with self.world.engine.begin() as connection:
            for table in (risk_reservations, risk_assessments, risk_locks, stored_requests, equity_snapshots):
                await connection.execute(delete(table))
            await connection.execute(update(accounts).values(snapshot_version=3, high_water_mark=start.high))
            await connection.execute(
                text("INSERT INTO equity_snapshots VALUES (:as_of, :high, 0, 0, 0, 0)"),
                {"as_of": AS_OF - HOUR * 3, "high": start.high},
            )
        await self.world.reconciled(clean=start.clean)

    async def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that is stored, but for clocks; the locks' and marks' own order does not matter."""
        found = {}
        async with self.world.engine.connect() as connection:
            for table in TABLES:
                rows = (await connection.execute(select(table))).mappings().all()
                found[table.name] = sorted(
                    ({name: value for name, value in row.items() if name not in BY_CLOCK} for row in rows), key=repr
                )
        return found


@dataclass(frozen=True)
class Start:
    """What the account is before the batch: its high-water mark, whether it is reconciled, and what was assessed then."""

    high: Decimal
    clean: bool
    before: tuple[int, ...]
    overdue: bool


@dataclass(frozen=True)
class Ask:
    """An item: which of the pool, under which request_id, and whether with another size than is stored."""

    number: int
    request: int
    changed: bool


@pytest.fixture
async def bench(database: Any, tmp_path: Path) -> Bench:
    key_file, key = write_key(tmp_path)
    world = World(database.engine, None, key, None, None)  # type: ignore[arg-type]
    await seed(world, "3000")
    await world.hold("SOL-USD", "1")
    await world.hold("BTC-USD", "0.001")
    for product, price in (("SOL-USD", 151.0), ("BTC-USD", 99000.0), ("ETH-USD", 2510.0)):
        await world.candles(product, AS_OF + HOUR, [price])
    made = RiskSettings(
        **database.settings_of("risk"),
        products=("BTC-USD", "ETH-USD", "SOL-USD"),
        ticket_signing_key_file=key_file,
    )
    return Bench(world, made, key_file, await pool_of(world))


async def pool_of(world: World) -> list[Recommendation]:
    """Entries and exits of three products and four market times, and some that end in an error or a refusal."""
    source, found = random.Random(7), []
    times = (AS_OF, AS_OF, AS_OF, AS_OF - HOUR, AS_OF - HOUR / 3, AS_OF + HOUR)
    for number in range(26):
        side = Side.SELL if number % 4 == 0 else Side.BUY
        product = source.choice(("BTC-USD", "ETH-USD", "SOL-USD") if side is Side.BUY else ("SOL-USD", "BTC-USD"))
        size = f"{source.uniform(20, 120):.2f}" if side is Side.BUY else ("0.4" if product == "SOL-USD" else "0.0004")
        item = world.recommendation(side, size, product, recommendation_id=UUID(int=number), as_of=source.choice(times))
        found.append(await world.propose(item))
    common = {"as_of": AS_OF}
    over = {"expire_time": AS_OF - HOUR, "life_clock": LifeClock.MACHINE}
    found.append(await world.propose(world.recommendation(recommendation_id=UUID(int=90), **common, **over)))
    found.append(await world.propose(world.recommendation(recommendation_id=UUID(int=91)), reviewed=False))
    found.append(await world.propose(world.recommendation(recommendation_id=UUID(int=92)), state="EXECUTED"))
    found.append(world.recommendation(recommendation_id=UUID(int=93)))
    return found


def outcome(result: Decided | Exception) -> Any:
    if isinstance(result, Exception):
        return type(result), str(result), getattr(result, "reason", None)
    made = result.assessment
    return made.assessment_id, made.attempt, made.decision, made.adjusted_size, made.reasons, made.score


def calls(bench: Bench, asks: Sequence[Ask]) -> list[Call]:
    found = []
    for ask in asks:
        item = bench.pool[ask.number]
        item = replace(item, size=item.size + 1) if ask.changed else item
        key = RequestKey("risk", "orchestrator", UUID(int=1000 + ask.request), METHOD, terms_hash(item))
        found.append(Call(Item(key, item)))
    return found


async def run(bench: Bench, start: Start, limits: str, asks: Sequence[Ask], together: bool) -> tuple[list[Any], Any]:
    await bench.reset(start)
    async with bench.assessor(limits) as assessor:
        for number in start.before:
            await assessor.assess_all(calls(bench, [Ask(number, 500 + number, False)]))
        if start.overdue:
            await bench.world.expire()
        batches = [calls(bench, asks)] if together else [[call] for call in calls(bench, asks)]
        results = [result for batch in batches for result in await assessor.assess_all(batch)]
    return [outcome(result) for result in results], await bench.rows()


numbers = st.one_of(st.integers(0, 25), st.integers(0, 29))
asks_of = st.lists(
    st.builds(Ask, numbers, st.integers(0, 12), st.sampled_from([False] * 9 + [True])), min_size=2, max_size=9
)
starts = st.builds(
    Start,
    high=st.sampled_from([D(3249), D(3300), D(3400), D(3700)]),
    clean=st.sampled_from([True, True, True, False]),
    before=st.lists(st.integers(0, 29), max_size=3).map(tuple),
    overdue=st.booleans(),
)


@given(start=starts, limits=st.sampled_from(sorted(LIMITS)), asks=asks_of)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_batch_is_its_items_one_after_the_other(
    bench: Bench, start: Start, limits: str, asks: list[Ask]
) -> None:
    together, stored = await run(bench, start, limits, asks, together=True)
    alone, expected = await run(bench, start, limits, asks, together=False)
    assert together == alone
    if not any(isinstance(result[0], type) for result in alone):
        assert stored == expected
        return
    # An item that ends in an error leaves nothing but the marks of its bar, if others of its batch are answered: whoever makes
    # a mark, it is the same.
    for name in (risk_assessments.name, risk_reservations.name, stored_requests.name):
        assert stored[name] == expected[name]
    for name in (equity_snapshots.name, risk_locks.name):
        assert all(row in stored[name] for row in expected[name])


async def test_headroom_runs_out_in_the_middle_of_a_batch(bench: Bench) -> None:
    """What the test above rests on: its batches do meet their limits, and repeats their own first answer."""
    start = Start(D(3249), True, (), False)
    entries = [number for number, item in enumerate(bench.pool[:26]) if item.side is Side.BUY and item.as_of == AS_OF]
    asks = [Ask(number, number, False) for number in (*entries, entries[0])]
    results, stored = await run(bench, start, "headroom", asks, together=True)
    decisions = [result[2].value for result in results]
    assert {"APPROVE", "REDUCE", "REJECT"} == set(decisions)
    assert results[-1] == results[0]
    versions = sorted(row["snapshot"]["snapshot"]["version"] for row in stored[risk_assessments.name])
    assert versions == list(range(3, 3 + len(entries)))
    (account,) = stored[accounts.name]
    assert account["snapshot_version"] == 3 + len(entries)
