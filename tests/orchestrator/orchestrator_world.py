"""Orchestrators on real ports and a real database, and the ledger they share with the stages beside them."""

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4

import grpc
from sqlalchemy import func, insert, select, text, update
from waiting import eventually

from meshkit import lifecycle
from meshkit.serve import ServiceSpec
from schema import streams
from schema.recommendations import recommendation_events, trade_recommendations
from svc_orchestrator.service import build
from svc_orchestrator.settings import OrchestratorSettings
from tests.orchestrator.stand_ins import AS_OF, D, StandIns, served
from tests.support.stored import store_order
from tradekit import ids
from tradekit.states import RECOMMENDATION_TERMINAL
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as rpc

HOUR = timedelta(hours=1)
TERMINAL = {state.value for state in RECOMMENDATION_TERMINAL}


@dataclass
class World:
    """The ledger and the stages."""

    database: Any
    stages: StandIns
    made: int = field(default=0)

    async def run(self, statement: Any, given: Any = None) -> Any:
        async with self.database.engine.begin() as connection:
            result = await connection.execute(statement, given)
            return list(result.mappings()) if result.returns_rows else None

    async def propose(self, count: int = 1, **changes: Any) -> list[str]:
        """Recommendations as the bridge writes them, with their first event."""
        numbers = range(self.made, self.made + count)
        self.made += count
        rows = []
        async with self.database.engine.begin() as connection:
            now = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
            for number in numbers:
                row = {
                    "recommendation_id": uuid4(),
                    "run_id": "main",
                    "origin": "OPERATOR",
                    "request_id": uuid4(),
                    "product_id": f"C{number:03d}-USD",
                    "side": "BUY",
                    "size": D(100),
                    "reference_price": D(2500),
                    "as_of": AS_OF,
                    "expire_at": now + timedelta(seconds=120),
                    "life_clock": "MACHINE",
                    "profile": "EXERCISE",
                    "priority": 0.5,
                    **changes,
                }
                rows.append(row)
            taken = await streams.take_sequences(connection, streams.RECOMMENDATIONS, count)
            told = await streams.take_sequences(connection, streams.DECISIONS, count)
            for row, sequence, event in zip(rows, taken, told, strict=True):
                await connection.execute(insert(trade_recommendations).values(**row, sequence=sequence))
                await connection.execute(
                    insert(recommendation_events).values(
                        sequence=event,
                        recommendation_id=row["recommendation_id"],
                        to_state="PROPOSED",
                        decided_by="bridge",
                        reasons=[],
                        as_of=row["as_of"],
                    )
                )
            await streams.notify(connection, streams.RECOMMENDATIONS)
            await streams.notify(connection, streams.PROPOSALS)
        return [str(row["recommendation_id"]) for row in rows]

    async def change(self, item: str, **values: Any) -> None:
        """Sets columns of one row behind everybody's back, and wakes the orchestrators."""
        async with self.database.engine.begin() as connection:
            where = trade_recommendations.c.recommendation_id == UUID(item)
            await connection.execute(update(trade_recommendations).where(where).values(**values))
            await streams.notify(connection, streams.PROPOSALS)

    async def write_order(self, item: str, state: str, filled: str = "0") -> None:
        """An order as the executor writes it down."""
        row = (await self.rows())[item]
        size = {"quote_size" if row["side"] == "BUY" else "base_size": row["size"]}
        about = {"order_id": ids.order_id(UUID(item)), "recommendation_id": UUID(item), "filled_size": D(filled)}
        await store_order(self.database.engine, row["product_id"], row["side"], state, AS_OF, **about, **size)

    async def notify_orders(self) -> None:
        """News of orders as the executor tells it."""
        async with self.database.engine.begin() as connection:
            await streams.notify(connection, streams.ORDERS)

    async def watermark(self, stage: str, as_of: datetime) -> None:
        async with self.database.engine.begin() as connection:
            await streams.advance_watermark(connection, stage, as_of, 0)

    async def rows(self) -> dict[str, Any]:
        return {str(row["recommendation_id"]): row for row in await self.run(select(trade_recommendations))}

    async def until_ended(self, *items: str) -> dict[str, Any]:
        """Waits until these (or all) are in a terminal state; gives all rows."""
        found: dict[str, Any] = {}

        async def ended() -> bool:
            nonlocal found
            found = await self.rows()
            return all(found[item]["state"] in TERMINAL for item in items or found)

        try:
            await eventually(ended)
        except TimeoutError:
            stuck = {key: row["state"] for key, row in found.items() if row["state"] not in TERMINAL}
            raise AssertionError(f"not ended: {stuck}") from None
        return found

    async def until_state(self, item: str, state: str) -> None:
        async def reached() -> bool:
            return (await self.rows())[item]["state"] == state

        await eventually(reached)

    async def histories(self) -> dict[str, list[str]]:
        """The states of each item in the order of their events; checks that the stream of events has no gap."""
        events = await self.run(select(recommendation_events).order_by(recommendation_events.c.sequence))
        assert [row["sequence"] for row in events] == list(range(1, len(events) + 1))
        found: dict[str, list[str]] = defaultdict(list)
        for row in events:
            history = found[str(row["recommendation_id"])]
            assert row["from_state"] == (history[-1] if history else None)
            history.append(row["to_state"])
        return dict(found)

    async def check_once(self) -> None:
        """Each item has one end and each at most one order; no state came twice, but EXECUTING for a later attempt."""
        rows, histories = await self.rows(), await self.histories()
        for item, history in histories.items():
            states = [state for state, _ in groupby(history)]
            assert len(set(states)) == len(states), history
            assert {state for state in states if history.count(state) > 1} <= {"EXECUTING"}, history
            assert history[-1] == rows[item]["state"]
            assert sum(state in TERMINAL for state in history) <= 1
        created = [item for item, _ in self.stages.executor.created]
        assert len(created) == len(set(created))
        executed = {item for item, row in rows.items() if row["state"] == "EXECUTED"}
        assert executed <= set(created)
        for row in rows.values():
            if row["state"] in TERMINAL:
                assert (row["lease_owner"], row["lease_expires_at"]) == (None, None)

    async def steal(self) -> None:
        """What a pause longer than a lease looks like to the others."""
        past = text("clock_timestamp() - interval '1 second'")
        await self.run(
            update(trade_recommendations)
            .where(trade_recommendations.c.lease_owner.is_not(None))
            .values(lease_expires_at=past)
        )

    @contextlib.asynccontextmanager
    async def orchestrator(self, kill: bool = False, **changes: Any) -> AsyncIterator[Any]:
        """An orchestrator on a free port; `kill` ends it without giving its leases back, as kill -9 would."""
        address = f"127.0.0.1:{self.stages.port}"
        given = {
            "port": 0,
            **self.database.settings_of("orchestrator"),
            "db_pool_size": 4,
            "validator_address": address,
            "risk_address": address,
            "executor_address": address,
            "decision_profile": "EXERCISE",
            "lease_seconds": 2.0,
            "stage_deadline_seconds": 5.0,
            "exit_risk_seconds": 0.5,
            "drain_seconds": 0.2,
            "drain_notice_seconds": 0.0,
        }

        def made(settings: Any, kit: Any) -> ServiceSpec:
            spec = build(settings, kit)
            return ServiceSpec(spec.servicers, spec.background, spec.ready, spec.entries) if kill else spec

        service = await lifecycle.create(OrchestratorSettings(**{**given, **changes}), made)
        async with served(service), grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
            stub: Any = rpc.OrchestratorServiceStub(channel)
            stub.service = service
            yield stub
