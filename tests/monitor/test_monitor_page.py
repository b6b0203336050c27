"""The page over real HTTP: state, pushes, health, metrics, acknowledgement, stories, and who is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from schema.operations import alerts
from svc_monitor.feeds.account import COURSE_POINTS, CoursePoint, extended
from svc_monitor.feeds.latest import latest
from svc_monitor.feeds.orders import read as read_order
from svc_monitor.page.events import CLIENTS_OF_ONE_ADDRESS
from tests.monitor.monitor_mesh import (
    MARKET_TIME,
    funnel,
    id_of,
    orchestrator_pb,
    order,
    record,
    running_mesh,
    running_monitor,
    trade_pb2,
)
from tests.support.stored import store_order

HOSTILE = "<script>alert('no')</script>"


@asynccontextmanager
async def page(database: Any = None, without: str = "") -> AsyncIterator[tuple[Any, Any, aiohttp.ClientSession]]:
    given = {"db_host": "/nonexistent"} if database is None else database.settings_of("monitor")
    async with running_mesh() as mesh:
        if without:
            await mesh.of[without].stop()
        async with running_monitor(mesh, **given) as service, aiohttp.ClientSession(service.page) as http:
            yield mesh, service, http


async def sections(http: aiohttp.ClientSession, ready: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The state, once it is as wanted."""
    for _ in range(400):
        async with http.get("/api/state") as answer:
            found: dict[str, Any] = (await answer.json())["sections"]
        if ready(found):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"the state never became as wanted: {found}")


def all_known(found: dict[str, Any]) -> bool:
    names = ("pipeline", "recommendations", "orders", "account", "risk", "model", "reviewer")
    return all(found[name] for name in names) and all(one["state"] == "SERVING" for one in found["health"])


async def test_the_state_holds_what_the_services_said_exactly(database):
    async with page(database) as (mesh, _, http):
        reason = trade_pb2.Reason(code="PORTFOLIO_HEAT", limit="0.06", observed="0.0634", unit="ratio", scope="account")
        mesh.bridge.put(record("a", 1, state="REJECTED", reasons=[reason], decided_by="risk", adjusted="0"))
        mesh.executor.put(order("b", 1))
        mesh.executor.account.equity.value = "10012.340000000000000001"
        found = await sections(http, lambda s: all_known(s) and s["account"]["equity"].endswith("1"))
        async with http.get("/") as answer:
            assert answer.status == 200
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert found["mesh"]["venue"] == "SIMULATED"
    assert found["mesh"]["profile"] == "EXERCISE"
    assert found["mesh"]["real_money"] is False
    recommendation = found["recommendations"][0]
    assert (
        recommendation["state"],
        recommendation["decided_by"],
        recommendation["size"],
        recommendation["allowed_size"],
    ) == (
        "REJECTED",
        "risk",
        "100.00",
        "0",
    )
    assert recommendation["reasons"][0]["observed"] == "0.0634"
    assert found["account"]["equity"] == "10012.340000000000000001"
    assert found["reviewer"]["reviewer"] == "rules"
    assert found["model"]["always_hold"] is True
    assert found["course"][-1]["equity"] == "10012.340000000000000001"
    assert len(found["health"]) == 8


async def test_why_the_risk_engine_changed_a_size_is_shown_and_asked_for_once(database):
    async with page(database) as (mesh, _, http):
        why = trade_pb2.Reason(code="VOL_TARGET", limit="0.6", observed="0.65", unit="ratio", scope="product:BTC-USD")
        story = orchestrator_pb.ExplainRecommendationResponse()
        story.steps.add(stage="risk", outcome="REDUCE", reasons=[why])
        story.steps.add(stage="order", outcome="FILLED")
        mesh.orchestrator.stories[id_of("reduced")] = story
        mesh.bridge.put(record("reduced", 1, adjusted="91.92"))
        mesh.bridge.put(record("whole", 2, adjusted="100.00"))
        mesh.bridge.put(record("refused", 3, state="REJECTED", reasons=[why], decided_by="risk", adjusted="0"))
        mesh.bridge.put(record("unknown", 4, adjusted="50"))
        found = await sections(http, lambda s: s["reductions"] and len(s["reductions"]) == 2)
        told = {one["recommendation_id"]: [reason["code"] for reason in one["reasons"]] for one in found["reductions"]}
        assert told == {id_of("reduced"): ["VOL_TARGET"], id_of("unknown"): []}
        mesh.bridge.put(record("later", 5, adjusted="1"))
        await sections(http, lambda s: len(s["reductions"]) == 3)
    assert sorted(mesh.orchestrator.asked) == sorted(id_of(name) for name in ("reduced", "unknown", "later"))


async def next_event(response: aiohttp.ClientResponse) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            line = await response.content.readline()
            if line.startswith(b"data: "):
                return json.loads(line[6:])["sections"]


async def test_every_open_page_is_pushed_what_changed_and_only_that():
    async with page() as (mesh, _, http):
        await sections(http, lambda s: all(s[name] for name in ("pipeline", "risk", "model", "reviewer")))
        async with http.get("/api/events") as one, http.get("/api/events") as two:
            first = await next_event(one), await next_event(two)
            assert all({"mesh", "pipeline", "health"} <= found.keys() for found in first)
            mesh.orchestrator.funnel = funnel(signals=40)
            for response in (one, two):
                seen: set[str] = set()
                while True:
                    found = await next_event(response)
                    seen |= found.keys()
                    if "pipeline" in found:
                        break
                assert found["pipeline"]["stages"][1]["total"] == 40
                assert not seen & {"mesh", "risk", "model", "reviewer", "recommendations", "orders"}


async def test_the_number_of_open_pages_is_bounded_and_a_place_becomes_free_again():
    async with page() as (_, service, _unused):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(service.page, connector=connector) as http:
            pages = [await http.get("/api/events") for _ in range(CLIENTS_OF_ONE_ADDRESS)]
            async with http.get("/api/events") as refused:
                assert refused.status == 503
            for response in pages:
                response.close()
            for _ in range(200):
                async with http.get("/api/events") as again:
                    if again.status == 200:
                        return
                await asyncio.sleep(0.05)
            raise AssertionError("no place became free")


async def test_values_stay_with_their_age_when_a_service_dies_and_the_database_is_away():
    async with page() as (mesh, _, http):
        mesh.bridge.put(record("a", 1))
        mesh.executor.put(order("a", 1))
        before = await sections(http, lambda s: all_known(s) and not s["database"]["up"])
        await mesh.of["executor"].stop()
        after = await sections(http, lambda s: s["ages"]["feeds"]["account"]["fault"])
        assert after["account"] == before["account"]
        assert after["orders"] == before["orders"]
        assert after["ages"]["feeds"]["account"]["received_at"] >= before["ages"]["feeds"]["account"]["received_at"]
        await mesh.of["executor"].start()
        await sections(http, lambda s: not s["ages"]["feeds"]["account"]["fault"])


async def test_health_is_503_while_a_service_is_down_and_tells_closed_entries():
    async with page() as (mesh, _, http):

        async def health(path: str, wanted: int) -> dict[str, Any]:
            for _ in range(400):
                async with http.get(path) as answer:
                    body = await answer.json()
                    if answer.status == wanted:
                        return body
                await asyncio.sleep(0.02)
            raise AssertionError(f"{path} never gave {wanted}: {body}")

        assert (await health("/health", 200))["status"] in ("ok", "entries_closed")
        await mesh.of["risk"].stop()
        down = await health("/health", 503)
        assert down["services"]["risk"]["state"] == "UNREACHABLE"
        await health("/health/risk", 503)
        await health("/health/monitor", 200)
        async with http.get("/health/nobody") as answer:
            assert answer.status == 404


async def test_metrics_are_prometheus_text_and_leave_out_what_is_not_known():
    async with page(without="risk") as (mesh, _, http):
        mesh.orchestrator.funnel.unknown_orders = 3
        await sections(http, lambda s: s["pipeline"] and s["pipeline"]["unknown_orders"] == 3 and s["alerts"])
        async with http.get("/metrics") as answer:
            text = await answer.text()
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    up = {sample.labels["service"]: sample.value for sample in families["mesh_service_up"]}
    assert up["monitor"] == 1.0
    assert up["risk"] == 0.0
    assert families["mesh_unknown_orders"][0].value == 3.0
    items = {(s.labels["stage"], s.labels["outcome"]): s.value for s in families["mesh_stage_items"]}
    assert items["signals", "BUY"] == 3.0
    raised = {(s.labels["code"], s.labels["severity"]): s.value for s in families["mesh_alerts_raised"]}
    assert raised["ORDER_UNKNOWN", "CRITICAL"] == 1.0
    assert raised["MODEL_ABSENT", ""] == 0.0
    assert "mesh_heat_ratio" not in families


async def test_an_alert_is_acknowledged_from_the_page_itself_only(database):
    await store_order(database.engine, "BTC-USD", "BUY", "UNKNOWN", MARKET_TIME)

    def of_the_order(state: Any) -> Any:
        """On a busy machine a service that is silent for a second may have an alert of its own."""
        return next((one for one in state["alerts"] if one["code"] == "ORDER_UNKNOWN"), None)

    async with page(database) as (_, _service, http):
        raised = of_the_order(await sections(http, of_the_order))["alert_id"]
        path = f"/api/alerts/{raised}/acknowledge"
        own = str(http._base_url).rstrip("/")
        refused = [
            {"headers": {"Origin": "https://elsewhere.example"}, "json": {}},
            {"headers": {"Sec-Fetch-Site": "cross-site"}, "json": {}},
            {"headers": {"Sec-Fetch-Site": "same-site"}, "json": {}},
            {"data": {"note": "a form"}},
        ]
        for given_request in refused:
            async with http.post(path, **given_request) as answer:
                assert answer.status == 403
        for body in ("[]", "{", '{"note": 3}', '{"note": "\\ud83d"}', json.dumps({"note": "x" * 201})):
            async with http.post(path, data=body, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 400
        missing = "/api/alerts/00000000-0000-4000-8000-000000000000/acknowledge"
        async with http.post(missing, json={}) as answer:
            assert answer.status == 404
        async with http.post(path, json={"note": HOSTILE}, headers={"Origin": own}) as answer:
            assert answer.status == 200
        found = await sections(http, lambda s: (one := of_the_order(s)) and one["acknowledged_at"])
        assert of_the_order(found)["acknowledged_by"] == "operator"
    async with database.engine.connect() as connection:
        noted = select(alerts.c.alert_id, alerts.c.acknowledge_note).where(alerts.c.acknowledge_note != "")
        assert [(str(row[0]), row[1]) for row in await connection.execute(noted)] == [(raised, HOSTILE)]


async def test_a_host_name_of_somebody_else_is_not_answered():
    async with page() as (_, _service, http):
        async with http.get("/api/state", headers={"Host": "rebound.example:8031"}) as answer:
            assert answer.status == 421
        async with http.get("/api/state", headers={"Host": "localhost:8031"}) as answer:
            assert answer.status == 200


async def test_a_story_is_told_or_its_absence_explained():
    async with page() as (mesh, _, http):
        story = orchestrator_pb.ExplainRecommendationResponse(record=record("a", 1), verdict=HOSTILE)
        step = story.steps.add(stage="risk", outcome="REDUCE", summary="less", facts={"score": "0.49"})
        step.as_of.FromDatetime(MARKET_TIME)
        mesh.orchestrator.stories[id_of("a")] = story
        async with http.get(f"/api/explain/{id_of('a')}") as answer:
            told = await answer.json()
        assert told["verdict"] == HOSTILE
        assert told["steps"][0]["facts"] == {"score": "0.49"}
        assert told["steps"][0]["as_of"] == "2025-03-01T12:00:00Z"
        async with http.get(f"/api/explain/{id_of('b')}") as answer:
            assert answer.status == 404
        async with http.get("/api/explain/nonsense") as answer:
            assert answer.status == 400
        await mesh.of["orchestrator"].stop()
        async with http.get(f"/api/explain/{id_of('a')}") as answer:
            assert answer.status == 503


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 2000))
def test_the_course_is_bounded_ordered_and_keeps_its_beginning(looks):
    course: tuple[CoursePoint, ...] = ()
    every = 1
    for look in range(looks):
        if look % every == 0:
            course, every = extended(course, CoursePoint(MARKET_TIME, str(look)), every)
    values = [int(point.equity) for point in course]
    assert len(values) <= COURSE_POINTS
    assert values[0] == 0
    assert values == list(range(0, values[-1] + 1, every))
    assert looks - values[-1] <= 2 * every


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(1, 13)), st.integers(1, 6))
def test_the_latest_rows_do_not_depend_on_the_order_of_news(sequences, cut):
    def news(sequence: int) -> Any:
        name = f"o{sequence % 5}"
        return read_order(order(name, sequence, created=MARKET_TIME.replace(minute=sequence % 5)))

    rows: dict[str, Any] = {}
    for start in range(0, 12, cut):
        rows = latest(rows, [news(sequence) for sequence in sequences[start : start + cut]], 50)
    assert {row.sequence for row in rows.values()} == {8, 9, 10, 11, 12}
    assert [row.created_at.minute for row in rows.values()] == [4, 3, 2, 1, 0]
    assert list(latest(rows, [], 2)) == list(rows)[:2]
