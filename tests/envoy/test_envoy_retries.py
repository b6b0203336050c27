"""What sidecars repeat: counted behind two real Envoys, call by call, at a stand-in that answers UNAVAILABLE."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from envoy_mesh.located import Fields
from envoy_mesh.manifests import Manifests, checked, read_folders
from envoy_mesh.outbound import cluster_name
from envoy_mesh.process import Envoy
from envoy_mesh.rig import Rig
from envoy_mesh.sidecars import FOLDERS, ROOT, manifests
from envoy_mesh.upstream import ALWAYS, Upstream, upstream_at

from meshkit.forwarded import HEADER
from meshkit.policy import Effect
from tests.executor.issuer import Issuer, environment, public_key_file, recommend, running
from tests.executor.venue import FaultProxy, start_simulator
from tools.mesh_policy.table import contracts, read_rpcs
from tools.mesh_policy.traffic import host_of
from tradekit.services import EXECUTOR, SERVICES, ServiceName
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as executor_pb

EXECUTE = f"/{EXECUTOR.full_name}/ExecuteRecommendation"
UNARY = [rpc for rpc in read_rpcs(contracts()) if not rpc.policy.streaming]
UNAVAILABLE, OK = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK


def of_effect(effect: Effect) -> list[tuple[ServiceName, str]]:
    return [(rpc.service, rpc.path) for rpc in UNARY if rpc.policy.effect is effect]


async def code(channel: grpc.aio.Channel, path: str, request: bytes = b"", metadata: Any = ()) -> grpc.StatusCode:
    found: grpc.StatusCode = await channel.unary_unary(path)(request, timeout=60, metadata=metadata).code()
    return found


def repeated(caller: Envoy, service: ServiceName) -> int:
    """How often a caller's Envoy has sent a call to a service again."""
    name = re.escape(f"cluster.{cluster_name(host_of(service), service.port)}.upstream_rq_retry")
    return caller.count(f"^{name}$")


def without_retries() -> Manifests:
    """The route of what acts once says nothing of repetition any more."""

    def forget(document: Fields) -> None:
        for route in document["spec"]["http"]:
            if route["name"].startswith("once-"):
                del route["retries"]

    documents = read_folders(ROOT, *FOLDERS)
    for one in documents:
        if one["kind"] == "VirtualService" and one["metadata"]["name"] == EXECUTOR.name:
            forget(one)
    return checked(documents)


async def test_each_rpc_is_sent_as_often_as_its_contract_allows(rig: Rig) -> None:
    """While the upstream answers UNAVAILABLE: what reads three times in all, whatever changes something once."""
    wanted = {rpc.path: 1 + (rpc.policy.retry.attempts if rpc.policy.retry.received else 0) for rpc in UNARY}
    async with upstream_at(rig.app, Upstream(failing=ALWAYS)) as upstream:
        for service in SERVICES:
            async with rig.channel(service) as channel:
                assert {await code(channel, rpc.path) for rpc in UNARY if rpc.service == service} == {UNAVAILABLE}
        assert upstream.calls == wanted
    assert set(wanted.values()) == {1, 3}
    assert {wanted[path] for _, path in of_effect(Effect.ONCE)} == {1}


async def test_what_reads_is_answered_after_one_repetition_where_the_first_try_failed(rig: Rig) -> None:
    service, path = of_effect(Effect.READ)[0]
    before = repeated(rig.caller, service)
    async with upstream_at(rig.app, Upstream(failing=1)) as upstream, rig.channel(service) as channel:
        assert await code(channel, path) is OK
        assert upstream.calls == {path: 2}
    assert repeated(rig.caller, service) == before + 1


async def test_a_route_that_says_nothing_of_repetition_would_send_an_order_three_times(rig: Rig) -> None:
    """The danger that every route of ours speaks against, and that this room can see it."""
    with rig.another_caller(without_retries()) as careless:
        async with upstream_at(rig.app, Upstream(failing=ALWAYS)) as upstream:
            async with rig.channel(EXECUTOR, careless) as channel:
                assert await code(channel, EXECUTE) is UNAVAILABLE
            assert upstream.calls == {EXECUTE: 3}


async def test_what_never_arrived_is_sent_again_unless_it_acts_once(rig: Rig) -> None:
    """Nobody takes the connection: then an effect cannot have begun, and still what acts once is left to its caller."""
    with rig.another_caller(manifests(), rig.nobody_there()) as lonely:
        for effect, tries in ((Effect.READ, 2), (Effect.IDEMPOTENT, 2), (Effect.ONCE, 0)):
            service, path = of_effect(effect)[-1]
            before = repeated(lonely, service)
            async with rig.channel(service, lonely) as channel:
                assert await code(channel, path) is UNAVAILABLE
            assert repeated(lonely, service) - before == tries, path


async def test_an_order_whose_answer_is_lost_goes_to_the_exchange_once(rig: Rig, database: Any, tmp_path: Path) -> None:
    """A real executor and a real exchange: the order is filled, and UNAVAILABLE is all that the caller hears of it. Where the
    sidecar repeats the call all the same, three arrive, and the executor knows the order again."""
    key = Ed25519PrivateKey.generate()
    simulator = await asyncio.to_thread(start_simulator, tmp_path)
    proxy = FaultProxy(simulator)
    await proxy.start()
    settings = environment(database, simulator, proxy.host, public_key_file(key, tmp_path), MESH_AUTH="xfcc")
    issuer = Issuer(database, key)
    try:
        async with running(settings) as executor, grpc.aio.insecure_channel(f"127.0.0.1:{executor.port}") as app:

            async def by_the_executor(path: str, request: bytes, metadata: Any) -> bytes:
                forwarded = tuple((name, value) for name, value in metadata if name == HEADER)
                answer: bytes = await app.unary_unary(path)(request, timeout=30, metadata=forwarded)
                return answer

            async def lost(channel: grpc.aio.Channel) -> tuple[int, list[bytes]]:
                """Calls that reached the executor, and bodies of orders that reached the exchange."""
                upstream.calls.clear()
                proxy.sends.clear()
                request: executor_pb.ExecuteRecommendationRequest = await issuer.request(recommend(Side.BUY, "20.00"))
                assert await code(channel, EXECUTE, request.SerializeToString()) is UNAVAILABLE
                return upstream.calls[EXECUTE], [body for body, _ in proxy.sends]

            async with upstream_at(rig.app, Upstream(by_the_executor, failing=ALWAYS)) as upstream:
                async with rig.channel(EXECUTOR) as channel:
                    calls, orders = await lost(channel)
                assert (calls, len(orders)) == (1, 1)
                with rig.another_caller(without_retries()) as careless:
                    async with rig.channel(EXECUTOR, careless) as channel:
                        calls, orders = await lost(channel)
                assert (calls, len(orders)) == (3, 1)
    finally:
        await proxy.stop()
        simulator.stop()
