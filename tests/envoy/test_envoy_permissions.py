"""Who gets in: every RPC as every identity at the Envoy in front of each real service, against the contract's own option."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from envoy_mesh.asking import HEALTH, REFLECTION, UNKNOWN, End, RpcPath, ask, rpcs_of
from envoy_mesh.located import read_text
from envoy_mesh.manifests import checked, read_folders
from envoy_mesh.process import Envoy, envoys
from envoy_mesh.replayed import ReplayedMesh
from envoy_mesh.sidecar import sidecar
from envoy_mesh.sidecars import FOLDERS, ROOT, certificate_of

from meshkit.errors import from_rpc_error
from meshkit.forwarded import HEADER
from meshkit.policy import GATEWAY, OPERATOR
from meshkit.spiffe import SpiffeNames
from supervisor.dial import with_certificate
from tradekit.services import BRIDGE, EXECUTOR, IDENTITIES, SERVICES, ServiceName
from trading.options.v1 import policy_pb2

Ends = dict[tuple[RpcPath, str], End]


def listed(service: ServiceName, path: RpcPath, identity: str) -> bool:
    """Whether a contract, or for health the list of services, lets an identity in."""
    if path in HEALTH:
        return identity == OPERATOR or any(one.name == identity and service in one.asks_health_of for one in SERVICES)
    method = rpcs_of(service).get(path)
    if method is None:
        return False
    option = method.GetOptions().Extensions[policy_pb2.policy]
    everybody = list(option.callers) == ["*"]
    if identity == GATEWAY:
        return everybody and option.effect == policy_pb2.EFFECT_READ
    return everybody or identity in option.callers


def paths_of(service: ServiceName) -> list[RpcPath]:
    return [*rpcs_of(service), *HEALTH, *REFLECTION, *UNKNOWN]


async def ends(
    mesh: ReplayedMesh, service: ServiceName, identities: tuple[str, ...], port: int = 0, *, waits: bool = True
) -> Ends:
    """How each call ends, each identity's one after the other; at a service's sidecar, or at another one's port. With `waits` a
    stream that is not listed is given long to be refused. Requests are empty, so whoever is let in changes nothing: an effect
    without a request id is refused for its form."""
    found: Ends = {}

    async def calls(identity: str) -> None:
        files = mesh.sidecars.certificates
        dial = with_certificate(files, identity)
        at = port or mesh.sidecars.inbound(service)
        async with dial(f"127.0.0.1:{at}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            for path in paths_of(service):
                patient = waits and not listed(service, path, identity)
                found[path, identity] = await ask(channel, path, waits=patient)

    await asyncio.gather(*(calls(identity) for identity in identities))
    return found


def refusals(envoy: Envoy) -> int:
    """Calls that a sidecar has refused."""
    return envoy.count(r"^http\.inbound_.*\.rbac\.(allow|deny)_\.denied$")


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_every_rpc_as_every_identity_is_as_the_contract_says(
    mesh: ReplayedMesh, service: ServiceName, record_property: Callable[[str, object], None]
) -> None:
    envoy = mesh.sidecars.envoys[service.name]
    before = refusals(envoy)
    found = await ends(mesh, service, IDENTITIES)
    wanted = {
        (path, identity): End.HEARD if listed(service, path, identity) else End.MESH
        for path in paths_of(service)
        for identity in IDENTITIES
    }
    assert found == wanted, {key: found[key] for key in found if found[key] is not wanted[key]}
    # A stream that was believed to be open was not refused a moment later.
    counted = Counter(found.values())
    assert refusals(envoy) - before == counted[End.MESH]
    record_property(f"permissions of {service.name}", f"{counted[End.HEARD]} let in, {counted[End.MESH]} refused")


TOO_MUCH = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: too-much, namespace: crypto-trading}
spec:
  selector: {matchLabels: {app: executor}}
  action: ALLOW
  rules:
    - from: [{source: {principals: [cluster.local/ns/crypto-trading/sa/bridge]}}]
"""


async def test_a_policy_that_allows_too_much_is_seen_and_reaches_neither_an_order_nor_what_the_service_keeps(
    mesh: ReplayedMesh, tmp_path: Path
) -> None:
    """One more Envoy before the real executor, whose policies somebody has widened for the bridge. What acts once stays shut
    there; the rest is refused by the service, which believes the certificate and not what the bridge says of itself."""
    wide = checked([*read_folders(ROOT, *FOLDERS), *read_text(TOO_MUCH, "too-much.yaml")])
    files, plan = mesh.sidecars.certificates, mesh.sidecars.plan
    config = sidecar(wide, EXECUTOR.name, plan, certificate_of(files, EXECUTOR.name))
    (inbound, *_) = config["static_resources"]["listeners"]
    inbound["address"]["socket_address"]["port_value"] = 0
    with envoys({"wide": config}, tmp_path) as running:
        port = running["wide"].ports()[inbound["name"]]
        found = await ends(mesh, EXECUTOR, (BRIDGE.name,), port, waits=False)
        shut = {path.path.rpartition("/")[2] for (path, _), end in found.items() if end is End.MESH}
        assert shut == {"ExecuteRecommendation", "ClosePositions"}
        for path in rpcs_of(EXECUTOR):
            if path.path.rpartition("/")[2] not in shut:
                end = End.HEARD if listed(EXECUTOR, path, BRIDGE.name) else End.SERVICE
                assert found[path, BRIDGE.name] is end, path
        forged = f"By=x;URI={SpiffeNames().id_of(OPERATOR)}"
        dial = with_certificate(files, BRIDGE.name)
        async with dial(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                path = f"/{EXECUTOR.full_name}/SetTradingState"
                await channel.unary_unary(path)(b"", timeout=20, metadata=((HEADER, forged),))
        error = from_rpc_error(refused.value)
        assert (error.reason, refused.value.code()) == ("CALLER_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED)
        assert BRIDGE.name in error.message and OPERATOR not in error.message
