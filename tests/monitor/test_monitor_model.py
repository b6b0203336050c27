"""The model over real sockets: what the page and the metrics say of it, and alerts that come and go; a mesh that starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from svc_monitor.feeds.feed import Pace
from tests.monitor.monitor_mesh import running_mesh, running_monitor
from trading.monitor.v1 import monitor_service_pb2 as pb
from trading.monitor.v1 import monitor_service_pb2_grpc as pb_grpc

NO_DATABASE = {"db_host": "/nonexistent", "db_timeout_seconds": 1.0}
Codes = dict[str, pb.Severity]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is asked often, and a fault need not last long."""
    monkeypatch.setattr("svc_monitor.feeds.model.PACE", Pace(0.2))
    monkeypatch.setattr("svc_monitor.rules.DOWN_SECONDS", 0.0)


async def until(monitor: Any, holds: Callable[[Codes], bool]) -> Codes:
    """Waits until the alerts in force, without that of the missing database, are as wanted."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{monitor.port}") as channel:
        stub: Any = pb_grpc.MonitorServiceStub(channel)
        for _ in range(300):
            status = await stub.GetStatus(pb.GetStatusRequest())
            found = {alert.code: alert.severity for alert in status.alerts if alert.code != "DATABASE_DOWN"}
            if holds(found):
                return found
            await asyncio.sleep(0.05)
    raise AssertionError(f"alerts stayed {found}")


async def test_alerts_about_the_model_come_and_go() -> None:
    async with running_mesh() as mesh, running_monitor(mesh, **NO_DATABASE) as monitor:
        mesh.signal.look(beta_168=0.41, rsi_14=0.02)
        warned = await until(monitor, lambda codes: "MODEL_DRIFT" in codes)
        assert warned == {"MODEL_DRIFT": pb.SEVERITY_WARNING}
        mesh.signal.look(beta_168=0.95, rsi_14=0.02)
        mesh.signal.model.suspended = True
        mesh.signal.model.refusal_code = "SIGNATURE_INVALID"
        found = await until(monitor, lambda codes: codes.get("MODEL_DRIFT") == pb.SEVERITY_CRITICAL and len(codes) == 3)
        assert found == {
            "MODEL_DRIFT": pb.SEVERITY_CRITICAL,
            "MODEL_SUSPENDED": pb.SEVERITY_WARNING,  # the stand-in mesh runs the exercise profile
            "MODEL_REFUSED": pb.SEVERITY_WARNING,
        }
        mesh.signal.look(beta_168=0.05)
        mesh.signal.model.suspended = False
        mesh.signal.model.refusal_code = ""
        assert await until(monitor, lambda codes: not codes) == {}


async def test_metrics_tell_how_the_model_does_and_leave_out_what_nobody_has_looked_at() -> None:
    async def gauges(page: str) -> dict[str, list[Any]]:
        async with aiohttp.ClientSession() as http, http.get(f"{page}/metrics") as answer:
            text = await answer.text()
        return {family.name: family.samples for family in text_string_to_metric_families(text)}

    async with running_mesh() as mesh, running_monitor(mesh, **NO_DATABASE) as monitor:
        mesh.signal.look(beta_168=0.41, rsi_14=0.02)
        await until(monitor, lambda codes: "MODEL_DRIFT" in codes)
        found = await gauges(monitor.page)
        psi = {sample.labels["feature"]: sample.value for sample in found["mesh_model_feature_psi"]}
        assert psi == {"beta_168": 0.41, "rsi_14": 0.02}
        assert (found["mesh_model_loaded"][0].value, found["mesh_model_suspended"][0].value) == (1.0, 0.0)
        assert found["mesh_model_log_loss"][0].value == 1.0312
        assert found["mesh_model_prior_log_loss"][0].value == 1.0498
        mesh.signal.model.ClearField("drift")
        await until(monitor, lambda codes: not codes)
        assert not {"mesh_model_feature_psi", "mesh_model_log_loss"} & (await gauges(monitor.page)).keys()


async def test_a_service_that_is_still_to_come_is_no_outage_and_one_that_never_comes_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_mesh() as mesh:
        await mesh.of["risk"].stop()
        async with running_monitor(mesh, **NO_DATABASE) as monitor:
            await until(monitor, lambda codes: "ENTRIES_CLOSED" not in codes)
            await asyncio.sleep(2.5)  # two looks of the alert_manager
            assert await until(monitor, lambda codes: True) == {}, "the mesh is still coming up"
            await mesh.of["executor"].stop()
            fallen = await until(monitor, lambda codes: "SERVICE_DOWN" in codes)
            assert fallen["SERVICE_DOWN"] == pb.SEVERITY_CRITICAL, "what has served and fell is an outage at once"
            await mesh.of["executor"].start()
            assert "SERVICE_DOWN" not in await until(monitor, lambda codes: "SERVICE_DOWN" not in codes)
            monkeypatch.setattr("svc_monitor.health.STARTUP_SECONDS", 0.0)
            await until(monitor, lambda codes: "SERVICE_DOWN" in codes)
            await mesh.of["risk"].start()
            await until(monitor, lambda codes: "SERVICE_DOWN" not in codes)
