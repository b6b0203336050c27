"""The watcher over real sockets: a service that serves, closes, goes and comes back; one that hangs; the journal."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import structlog
from sqlalchemy import select, text
from waiting import eventually

from meshkit import lifecycle
from meshkit.errors import Misconfigured
from schema.operations import alerts, health_events
from supervisor.ports import free_ports
from svc_monitor.build import build
from svc_monitor.settings import MonitorSettings
from tests.monitor.monitor_mesh import (
    MARKET_TIME,
    id_of,
    order,
    record,
    running_mesh,
    running_monitor,
)
from tests.support.stored import store_order
from trading.monitor.v1 import monitor_service_pb2 as pb
from trading.monitor.v1 import monitor_service_pb2_grpc as pb_grpc

NO_DATABASE = {"db_host": "/nonexistent", "db_timeout_seconds": 1.0}


@contextlib.asynccontextmanager
async def asking(monitor: Any):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{monitor.port}") as channel:
        yield pb_grpc.MonitorServiceStub(channel)


async def until(stub: Any, service: str, state: int, entries: int) -> Any:
    for _ in range(400):
        status = await stub.GetStatus(pb.GetStatusRequest())
        found = next(one for one in status.services if one.service == service)
        if (found.state, found.entries_state) == (state, entries):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"{service} is {found}, wanted {state} {entries}")


async def test_every_change_is_seen_kept_and_told(database):
    serving, closed, gone = pb.SERVICE_STATE_SERVING, pb.SERVICE_STATE_NOT_SERVING, pb.SERVICE_STATE_UNREACHABLE
    with structlog.testing.capture_logs() as log:
        async with (
            running_mesh() as mesh,
            running_monitor(mesh, **database.settings_of("monitor")) as monitor,
            asking(monitor) as stub,
        ):
            risk = mesh.of["risk"]
            await until(stub, "risk", serving, serving)
            risk.health.set("trading.risk.v1.RiskService/entries", False)
            await until(stub, "risk", serving, closed)
            await risk.stop()
            found = await until(stub, "risk", gone, gone)
            assert found.HasField("change_time")
            assert found.HasField("seen_time")
            await risk.start()
            await until(stub, "risk", serving, serving)

            async def rows() -> Any:
                async with database.engine.connect() as connection:
                    query = select(health_events).where(health_events.c.service == "risk").order_by("event_id")
                    found = [row for row in await connection.execute(query) if row.health_name.endswith("/entries")]
                return found if len(found) == 4 else None

            stored = await eventually(rows)
    states = ["UNKNOWN", "SERVING", "NOT_SERVING", "UNREACHABLE", "SERVING"]
    assert [(row.from_state, row.to_state) for row in stored] == list(itertools.pairwise(states))
    told = [line for line in log if line["event"] == "health_changed" and line["name"].endswith("RiskService/entries")]
    assert [line["to_state"] for line in told] == states[1:]


async def test_a_service_that_freezes_is_unknown_after_a_bound():
    async with running_mesh() as mesh, running_monitor(mesh, **NO_DATABASE) as monitor, asking(monitor) as stub:
        await until(stub, "risk", pb.SERVICE_STATE_SERVING, pb.SERVICE_STATE_SERVING)
        mesh.of["risk"].health.frozen = True
        found = await until(stub, "risk", pb.SERVICE_STATE_UNKNOWN, pb.SERVICE_STATE_UNKNOWN)
        assert "no answer" in found.detail


async def test_changes_wait_for_the_database_and_are_written_in_order(database, tmp_path: Path):
    """The database appears under the monitor's feet, as a socket folder that is not there at first."""
    folder = tmp_path / "db"
    async with (
        running_mesh() as mesh,
        running_monitor(mesh, **{**database.settings_of("monitor"), "db_host": str(folder)}) as monitor,
        asking(monitor) as stub,
    ):
        # Told by the orchestrator while the monitor's own look at the rows is shut, and by the rows afterwards.
        mesh.orchestrator.funnel.unknown_orders = 1
        await store_order(database.engine, "BTC-USD", "BUY", "UNKNOWN", MARKET_TIME)
        await until(stub, "market", pb.SERVICE_STATE_SERVING, pb.SERVICE_STATE_SERVING)
        await mesh.of["market"].stop()
        await until(stub, "market", pb.SERVICE_STATE_UNREACHABLE, pb.SERVICE_STATE_UNREACHABLE)

        async def down() -> Any:
            status = await stub.GetStatus(pb.GetStatusRequest())
            return {"DATABASE_DOWN", "ORDER_UNKNOWN"} <= {alert.code for alert in status.alerts}

        await eventually(down)
        folder.symlink_to(database.host)

        async def written() -> Any:
            async with database.engine.connect() as connection:
                events = list(await connection.execute(select(health_events).order_by("event_id")))
                known = {row.code: row for row in await connection.execute(select(alerts))}
            resolved = "DATABASE_DOWN" in known and known["DATABASE_DOWN"].resolved_at is not None
            return (events, known) if resolved else None

        events, known = await eventually(written)

        folder.unlink()
        async with database.engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> :own"),
                {
                    "name": database.name,
                    "own": (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one(),
                },
            )
        await eventually(down)
        folder.symlink_to(database.host)

        async def up_again() -> Any:
            return not await down()

        await eventually(up_again)
    market = [row.to_state for row in events if row.health_name == "trading.market.v1.MarketService"]
    # A busy machine may have it unreachable before, until its first answer.
    assert market[-2:] == ["SERVING", "UNREACHABLE"] and all(a != b for a, b in pairwise(market)), market
    assert known["ORDER_UNKNOWN"].resolved_at is None
    assert [row.created_at for row in events] == sorted(row.created_at for row in events)


async def test_a_database_that_may_lose_what_it_stored_is_an_outage_and_no_end(database, monkeypatch):
    """The monitor goes on watching, and writes once an operator has mended the database."""
    broken = ["the database runs with fsync=off"]
    monkeypatch.setattr("meshkit.database.broken_promises", lambda row: "".join(broken))
    async with (
        running_mesh() as mesh,
        running_monitor(mesh, **database.settings_of("monitor")) as monitor,
        asking(monitor) as stub,
    ):

        async def told() -> set[str]:
            return {alert.code for alert in (await stub.GetStatus(pb.GetStatusRequest())).alerts}

        async def down() -> bool:
            return "DATABASE_DOWN" in await told()

        await eventually(down)
        await until(stub, "risk", pb.SERVICE_STATE_SERVING, pb.SERVICE_STATE_SERVING)
        async with database.engine.connect() as connection:
            assert not list(await connection.execute(select(health_events)))
        broken.clear()

        async def written() -> bool:
            async with database.engine.connect() as connection:
                events = list(await connection.execute(select(health_events)))
            return bool(events) and not await down()

        await eventually(written)


async def test_a_database_before_its_migration_is_an_outage_and_no_end(database):
    """The roles may be there before the tables, as where an operator of databases makes them."""
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE alerts RENAME TO later"))
    async with (
        running_mesh() as mesh,
        running_monitor(mesh, **database.settings_of("monitor")) as monitor,
        asking(monitor) as stub,
    ):

        async def down() -> bool:
            return "DATABASE_DOWN" in {alert.code for alert in (await stub.GetStatus(pb.GetStatusRequest())).alerts}

        await eventually(down)
        async with database.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE later RENAME TO alerts"))

        async def written() -> bool:
            async with database.engine.connect() as connection:
                return bool(list(await connection.execute(select(health_events)))) and not await down()

        await eventually(written)
        assert not monitor.stopped


async def test_an_alert_of_an_earlier_process_goes_on_under_its_id(database):
    await store_order(database.engine, "BTC-USD", "BUY", "UNKNOWN", MARKET_TIME)
    async with running_mesh() as mesh:
        given = database.settings_of("monitor")

        async def only_alert() -> Any:
            async with database.engine.connect() as connection:
                return (await connection.execute(select(alerts))).one_or_none()

        async with running_monitor(mesh, **given):
            first = await eventually(only_alert)
        async with running_monitor(mesh, **given) as monitor, asking(monitor) as stub:

            async def adopted() -> Any:
                status = await stub.GetStatus(pb.GetStatusRequest())
                return [alert.alert_id for alert in status.alerts] == [str(first.alert_id)]

            await eventually(adopted)
            async with database.engine.begin() as connection:
                await connection.execute(text("UPDATE orders SET state = 'REJECTED'"))

            async def resolved() -> Any:
                row = await only_alert()
                return row if row.resolved_at is not None else None

            last = await eventually(resolved)
    assert last.alert_id == first.alert_id
    assert last.sequence > first.sequence
    async with database.engine.connect() as connection:
        head = (await connection.execute(text("SELECT head FROM stream_heads WHERE stream = 'alerts'"))).scalar_one()
    assert head == last.sequence


async def test_a_watched_feed_resumes_where_it_was():
    async with running_mesh() as mesh:
        mesh.bridge.put(record("a", 7))
        mesh.executor.put(order("a", 3))
        async with running_monitor(mesh, **NO_DATABASE) as monitor:
            bridge = mesh.of["bridge"]

            async def shown() -> Any:
                return mesh.bridge.recommendations.resumed_after == [7]

            await eventually(shown)
            await bridge.stop()
            mesh.bridge.put(record("a", 9, state="FAILED"))
            mesh.bridge.put(record("b", 8, created=MARKET_TIME))
            await bridge.start()
            async with aiohttp.ClientSession() as http:

                async def caught_up() -> Any:
                    async with http.get(f"{monitor.page}/api/state") as answer:
                        recommendations = (await answer.json())["sections"]["recommendations"]
                    found = {one["recommendation_id"]: one["state"] for one in recommendations}
                    return found == {id_of("a"): "FAILED", id_of("b"): "EXECUTED"}

                await eventually(caught_up)
    assert mesh.bridge.recommendations.resumed_after[:2] == [7, 7]


async def test_a_taken_page_port_is_told_in_words():
    port = free_ports(1)[0]
    settings = MonitorSettings(port=0, monitor_page_port=port)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Misconfigured, match="MONITOR_PAGE_PORT"):
        await lifecycle.create(settings, build)
