"""MonitorService over a real gRPC socket and a real database."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from sqlalchemy import select

from meshkit import paging
from meshkit.errors import InvalidRequest, NotFound, RequestIdReused, Unavailable, from_rpc_error
from schema.operations import alerts
from svc_monitor import store
from svc_monitor.alerts import Alert, Severity
from tests.monitor.monitor_mesh import MARKET_TIME, running_mesh, running_monitor
from tests.support.arriving import Arriving
from tests.support.stored import store_order
from trading.monitor.v1 import monitor_service_pb2 as pb
from trading.monitor.v1 import monitor_service_pb2_grpc as pb_grpc

NOW = datetime(2025, 3, 1, tzinfo=UTC)


@asynccontextmanager
async def monitor(database: Any = None):
    given = {"db_host": "/nonexistent"} if database is None else database.settings_of("monitor")
    async with (
        running_mesh() as mesh,
        running_monitor(mesh, **given) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        yield mesh, pb_grpc.MonitorServiceStub(channel)


async def answer(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def raised(stub: Any, code: str) -> Any:
    for _ in range(400):
        status = await stub.GetStatus(pb.GetStatusRequest())
        for alert in status.alerts:
            if alert.code == code:
                return alert
        await asyncio.sleep(0.02)
    raise AssertionError(f"{code} was not raised")


async def test_an_acknowledgement_is_stored_once_with_who_gave_it(database):
    async with monitor(database) as (_, stub):
        await store_order(database.engine, "BTC-USD", "BUY", "UNKNOWN", MARKET_TIME)
        alert = await raised(stub, "ORDER_UNKNOWN")
        request = pb.AcknowledgeAlertRequest(request_id=str(uuid4()), alert_id=alert.alert_id, note="on it")
        first = await answer(stub.AcknowledgeAlert(request))
        again = await answer(stub.AcknowledgeAlert(request))
        other = await answer(
            stub.AcknowledgeAlert(pb.AcknowledgeAlertRequest(request_id=str(uuid4()), alert_id=alert.alert_id))
        )
        request.note = "something else"
        with pytest.raises(RequestIdReused):
            await answer(stub.AcknowledgeAlert(request))
        shown = (await stub.GetStatus(pb.GetStatusRequest())).alerts
    assert first == again
    assert other.alert.acknowledge_time == first.alert.acknowledge_time
    assert [one.acknowledged_by for one in shown if one.alert_id == alert.alert_id] == ["operator"]
    async with database.engine.connect() as connection:
        row = (await connection.execute(select(alerts).where(alerts.c.alert_id == UUID(alert.alert_id)))).one()
    assert (row.acknowledged_by, row.acknowledge_note) == ("operator", "on it")
    assert row.resolved_at is None


async def test_bad_requests_name_every_fault(database):
    async with monitor(database) as (_, stub):
        with pytest.raises(InvalidRequest) as bad:
            await answer(stub.AcknowledgeAlert(pb.AcknowledgeAlertRequest(request_id="1", alert_id="", note="x" * 201)))
        assert {one.field for one in bad.value.violations} == {"request_id", "alert_id", "note"}
        with pytest.raises(NotFound):
            await answer(
                stub.AcknowledgeAlert(pb.AcknowledgeAlertRequest(request_id=str(uuid4()), alert_id=str(uuid4())))
            )
        forged = [
            paging.encode({"x": 1}, scope="alerts|0"),
            paging.encode({"at": "yesterday", "id": str(uuid4())}, scope="alerts|0"),
            paging.encode({"at": NOW.isoformat(), "id": str(uuid4())}, scope="alerts|1"),
            "%%%",
        ]
        for token in forged:
            with pytest.raises(InvalidRequest):
                await answer(stub.ListAlerts(pb.ListAlertsRequest(page_token=token)))
        with pytest.raises(InvalidRequest) as bad:
            await answer(stub.ListAlerts(pb.ListAlertsRequest(state=9, page_size=-1)))
        assert {one.field for one in bad.value.violations} == {"state", "page_size"}


async def test_pages_hold_every_alert_once_newest_first(database):
    made = [
        Alert(UUID(int=n + 1), "OLD", f"s:{n}", Severity.WARNING, "m", NOW + timedelta(seconds=n // 3), NOW)
        for n in range(10)
    ]
    async with database.engine.begin() as connection:
        await store.put_alerts(connection, made)
    async with monitor(database) as (_, stub):
        found, token = [], ""
        for _ in range(5):
            request = pb.ListAlertsRequest(state=pb.ALERT_STATE_RESOLVED, page_size=3, page_token=token)
            page = await answer(stub.ListAlerts(request))
            found += [one.alert_id for one in page.alerts]
            token = page.next_page_token
            if not token:
                break
        none = await answer(stub.ListAlerts(pb.ListAlertsRequest(state=pb.ALERT_STATE_RAISED, page_size=3)))
    newest_first = sorted(made, key=lambda one: (one.raised_at, one.alert_id), reverse=True)
    assert found == [str(one.alert_id) for one in newest_first]
    assert {one.code for one in none.alerts} <= {"SERVICE_DOWN"}


async def test_without_a_database_the_status_is_told_and_the_rest_is_unavailable():
    async with monitor() as (mesh, stub):
        mesh.orchestrator.funnel.unknown_orders = 1
        alert = await raised(stub, "ORDER_UNKNOWN")
        with pytest.raises(Unavailable):
            await answer(stub.ListAlerts(pb.ListAlertsRequest()))
        with pytest.raises(Unavailable):
            request = pb.AcknowledgeAlertRequest(request_id=str(uuid4()), alert_id=alert.alert_id)
            await answer(stub.AcknowledgeAlert(request))
        assert (await raised(stub, "DATABASE_DOWN")).severity == pb.SEVERITY_CRITICAL


async def test_a_watch_tells_changes_and_says_when_the_server_goes():
    async with running_mesh() as mesh:
        frames = []
        async with running_monitor(mesh, db_host="/nonexistent") as service:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{service.port}")
            call = Arriving(pb_grpc.MonitorServiceStub(channel).WatchStatus(pb.WatchStatusRequest()))

            async def read() -> None:
                while (frame := await call.read()) is not grpc.aio.EOF:
                    frames.append(frame)

            reading = asyncio.ensure_future(read())

            async def told(healthy: bool) -> None:
                for _ in range(400):
                    if frames and frames[-1].status.healthy is healthy and frames[-1].WhichOneof("frame") == "status":
                        return
                    await asyncio.sleep(0.02)
                raise AssertionError(f"healthy={healthy} was not told")

            await told(True)
            mesh.of["risk"].health.set("trading.risk.v1.RiskService/entries", False)
            await told(False)
        async with asyncio.timeout(60):
            await reading
        await channel.close()
    assert frames[-1].WhichOneof("frame") == "draining"
