"""The proxy does to a request exactly what each fault says, and remembers it; plans are the same for the same seed."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from waiting import eventually

from exchange_sim.tls import ensure_tls, server_context
from supervisor.ports import free_ports
from tests.drill.faults import BY_NAME, PASS, READS, SENDS, THEMES, Answer, Delivery, Fault
from tests.drill.plan import DATABASE, SAMPLE, VICTIMS, drill_plan, plan_of
from tests.drill.proxy import ORDERS, FaultProxy, Moment, Passage, Timeouts
from tradekit.services import SERVICES

# Short, so that all faults together take a second or two; what is asserted is an order of events, never how fast one came.
PATIENCE = Timeouts(answer=0.4, token=1.2)
# For an answer that must come, also on a machine that has other work to do.
ANSWER_SECONDS = 30.0
REPLY = {
    "success": True,
    "success_response": {"order_id": "x1", "client_order_id": "c1"},
    "order": {
        "order_id": "x1",
        "status": "FILLED",
        "filled_size": "1",
        "settled": True,
        "order_configuration": {"market_market_ioc": {"quote_size": "10"}},
    },
}


@dataclass
class OneFault:
    """A plan of one fault for every request."""

    fault: Fault
    stale: bool = False

    def of_send(self, number: int) -> Fault:
        return self.fault

    def of_read(self, number: int) -> Fault:
        return self.fault


@dataclass
class Upstream:
    """An exchange that takes everything and counts it."""

    got: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(await request.read())
        return web.json_response(REPLY)


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[tuple[Upstream, FaultProxy, aiohttp.ClientSession]]:
    upstream = Upstream()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    tls = ensure_tls(tmp_path / "exchange")
    ports = free_ports(2)
    await web.TCPSite(runner, "127.0.0.1", ports[0], ssl_context=server_context(tls)).start()
    own = ensure_tls(tmp_path / "proxy")
    proxy = FaultProxy(ports[1], own, f"127.0.0.1:{ports[0]}", tls.ca, PATIENCE)
    await proxy.start()
    trust = ssl.create_default_context(cafile=own.ca)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as client:
        yield upstream, proxy, client
    await proxy.stop()
    await runner.cleanup()


async def ask(client: aiohttp.ClientSession, proxy: FaultProxy, fault: Fault) -> tuple[int, bytes] | None:
    """The whole answer, None if none came; a client is impatient only where the fault is that none comes in time."""
    url = f"https://127.0.0.1:{proxy.port}{ORDERS}"
    seconds = PATIENCE.answer if fault.answer in (Answer.SILENCE, Answer.DRIP) else ANSWER_SECONDS
    timeout = aiohttp.ClientTimeout(total=seconds)
    body = b'{"client_order_id":"c1","side":"BUY"}'
    try:
        async with client.post(url, data=body, timeout=timeout) as response:
            return response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


@pytest.mark.parametrize("fault", [PASS, *SENDS], ids=lambda fault: fault.name)
async def test_each_fault_of_a_send(ground: Any, fault: Fault):
    upstream, proxy, client = ground
    proxy.begin(OneFault(fault))
    answer = await ask(client, proxy, fault)
    expected = {Delivery.NEVER: 0, Delivery.TWICE: 2}.get(fault.delivery, 1)
    await proxy.quiet()
    # A client that is impatient may have gone before its request was passed on.
    await eventually(lambda: len(upstream.got) >= expected)
    assert len(upstream.got) == expected
    passage = proxy.passages[0]
    assert (passage.client_order_id, passage.side, passage.fault) == ("c1", "BUY", fault.name)
    assert len(passage.delivered) == expected
    held_back = {Delivery.LATE: PATIENCE.answer, Delivery.STALE: PATIENCE.token}.get(fault.delivery, 0.0)
    assert all(moment - passage.arrived >= held_back for moment in passage.delivered)
    whole = json.dumps(REPLY).encode()
    match fault.answer:
        case Answer.REPLY:
            assert answer == (200, whole)
        case Answer.HTML:
            assert answer is not None and answer[0] == fault.status and answer[1].startswith(b"<html>")
        case Answer.CHANGED:
            assert fault.change is not None and answer == (200, fault.change(whole))
            assert fault.change(whole) != whole
        case _:
            assert answer is None
    proxy.begin(OneFault(PASS))
    assert await ask(client, proxy, PASS) == (200, whole), "the proxy itself is unharmed"


async def test_a_late_request_takes_most_of_its_tokens_life_where_the_plan_has_the_time(ground: Any):
    upstream, proxy, client = ground
    late = BY_NAME["late"]
    proxy.begin(OneFault(late, stale=True))
    assert await ask(client, proxy, late) is None
    await proxy.quiet()
    assert len(upstream.got) == 1
    assert proxy.passages[0].delivered[0] - proxy.passages[0].arrived >= PATIENCE.token * 0.75


@dataclass
class OneMoment:
    """Holds every request at a moment until it is let go, and gives it a fault of its own."""

    moment: Moment
    fault: Fault
    held: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def fault_of(self, passage: Passage) -> Fault:
        return self.fault

    async def at(self, passage: Passage, moment: Moment) -> None:
        if moment is self.moment:
            self.held.set()
            await self.free.wait()


@pytest.mark.parametrize(("moment", "got"), [(Moment.ARRIVED, 0), (Moment.DELIVERED, 1)])
async def test_a_gate_holds_a_request_before_the_exchange_has_it_and_before_its_client_has_the_answer(
    ground: Any, moment: Moment, got: int
):
    upstream, proxy, client = ground
    gate = OneMoment(moment, BY_NAME["html_503"])
    proxy.begin(OneFault(PASS), gate)
    asking = asyncio.ensure_future(ask(client, proxy, PASS))
    await gate.held.wait()
    assert len(upstream.got) == got and not asking.done()
    gate.free.set()
    answer = await asking
    assert answer is not None and answer[0] == 503, "the gate's fault goes before the plan's"
    await proxy.quiet()
    assert await ask(client, proxy, PASS) == (200, json.dumps(REPLY).encode()), "nobody stands there any more"


def test_changes_of_bodies_do_what_their_names_say():
    whole = json.dumps(REPLY, separators=(",", ":")).encode()
    changed = {fault.name: fault.change(whole) for fault in (*SENDS, *READS) if fault.change is not None}
    broken = {"half_json", "doubled_body"}
    for name in broken:
        with pytest.raises(ValueError):
            json.loads(changed[name])
    read = {name: json.loads(body) for name, body in changed.items() if name not in broken}
    assert "success" not in read["no_success"] and "success_response" not in read["no_order_id"]
    order = {name: body["order"] for name, body in read.items()}
    assert "order_configuration" not in order["no_configuration"] and "settled" not in order["no_settled"]
    assert order["zero_size"]["order_configuration"] == {"market_market_ioc": {"quote_size": "10", "base_size": "0"}}
    assert order["null_variant"]["order_configuration"]["limit_limit_gtc"] is None
    pairs: list[Any] = []
    json.loads(changed["doubled_keys"], object_pairs_hook=lambda found: pairs.append(found) or dict(found))
    assert any(max(Counter(key for key, _ in found).values()) > 1 for found in pairs)
    one_order = json.dumps({"order": REPLY["order"]}, separators=(",", ":")).encode()
    doubled = next(fault.change for fault in READS if fault.name == "doubled_keys")
    assert doubled is not None and json.loads(doubled(one_order))["order"]["status"] == "FAILED"


def test_a_seed_is_a_plan():
    assert [plan_of(seed) for seed in SAMPLE] == [plan_of(seed) for seed in SAMPLE]
    assert {fault.theme for fault in (*SENDS, *READS)} == set(THEMES)
    assert set(VICTIMS) == {DATABASE, "exchange_sim", *(one.name for one in SERVICES)}


def test_the_sample_has_everything():
    plans = [plan_of(seed) for seed in SAMPLE]
    assert {plan.faults.theme for plan in plans} == set(THEMES)
    kinds = {kind for plan in plans for kind in plan.kinds}
    assert kinds == {*(f"kill {name}" for name in VICTIMS), "HALTED", "REDUCING", "close", "hand trade", "foreign hold"}
    met = {plan.faults.of_send(number).name for plan in plans for number in range(1, 6)}
    assert met >= {fault.name for fault in SENDS}
    assert sum(drill_plan(seed) != plan_of(seed) for seed in range(1, 301)) >= 5, "a long drill has long holds"
