"""Who may call what, as AuthorizationPolicies: all is denied but what a contract allows.

Any rule that matches allows a call, so what must never widen by accident, an RPC that acts once, is denied besides to
everybody but its callers: a DENY wins over whatever somebody allows later.
"""

import re
from collections.abc import Sequence

from grpc_health.v1 import health_pb2

from meshkit.policy import GATEWAY, OPERATOR, Effect
from meshkit.reflection import SERVICE_NAMES
from tools.mesh_policy.documents import Body, Document, manifest
from tools.mesh_policy.table import Rpc, of_service, principal
from tradekit.services import SERVICES, ServiceName

_API = "security.istio.io/v1"
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
HEALTH_PATHS = tuple(f"/{_HEALTH.full_name}/{_HEALTH.methods_by_name[name].name}" for name in ("Check", "Watch"))
REFLECTION_PATHS = tuple(f"/{name}/ServerReflectionInfo" for name in SERVICE_NAMES)


def authorization(rpcs: Sequence[Rpc], services: Sequence[ServiceName] = SERVICES) -> list[Document]:
    """Default deny, one ALLOW for each workload, and a DENY around each RPC that acts once."""
    nothing = "Nothing matches it, so nothing is allowed but what other policies allow."
    return [
        Document(nothing, _policy("default-deny", {})),
        *(_allow(service, of_service(rpcs, service), services) for service in services),
        *(_deny(rpc) for rpc in rpcs if rpc.policy.effect is Effect.ONCE),
    ]


def peer_authentication() -> list[Document]:
    """Only calls whose caller has proven itself by its certificate."""
    why = "Without it a caller may come without a certificate, and the policies know nobody to compare with."
    return [Document(why, manifest(_API, "PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}))]


def reflection() -> list[Document]:
    """What lets the operator, also from outside, look around; for a cluster of developers."""
    spec: Body = {"action": "ALLOW", "rules": [{"from": _from([OPERATOR, GATEWAY]), "to": _to(None, REFLECTION_PATHS)}]}
    why = "In no list of the folder above: an overlay for developers names this one, beside MESH_REFLECTION=true."
    return [Document(why, _policy("reflection-allow", spec))]


def _allow(service: ServiceName, rpcs: Sequence[Rpc], services: Sequence[ServiceName]) -> Document:
    paths: dict[tuple[str, ...], list[str]] = {}
    for rpc in rpcs:
        paths.setdefault(rpc.callers, []).append(rpc.path)
    asking = [one.name for one in services if service in one.asks_health_of]
    rules = [{"from": _from(callers), "to": _to(service, found)} for callers, found in paths.items()]
    rules.append({"from": _from([*asking, OPERATOR]), "to": _to(service, HEALTH_PATHS)})
    spec = {"selector": _selector(service), "action": "ALLOW", "rules": rules}
    why = f"Who may call {service.full_name}, and ask for its health."
    return Document(why, _policy(f"{service.name}-allow", spec))


def _deny(rpc: Rpc) -> Document:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", rpc.name).lower()
    others = {"source": {"notPrincipals": [principal(caller) for caller in rpc.callers]}}
    rule = {"from": [others], "to": _to(rpc.service, [rpc.path])}
    spec = {"selector": _selector(rpc.service), "action": "DENY", "rules": [rule]}
    why = f"{rpc.name} acts once: nobody but its callers, whatever another policy allows."
    return Document(why, _policy(f"{rpc.service.name}-deny-{words}", spec))


def _policy(name: str, spec: Body) -> Body:
    return manifest(_API, "AuthorizationPolicy", name, spec)


def _selector(service: ServiceName) -> Body:
    return {"matchLabels": {"app": service.name}}


def _from(identities: Sequence[str]) -> list[Body]:
    return [{"source": {"principals": [principal(identity) for identity in identities]}}]


def _to(service: ServiceName | None, paths: Sequence[str]) -> list[Body]:
    # The port that the workload listens on. A path is compared on its gRPC port only.
    ports = {} if service is None else {"ports": [str(service.port)]}
    return [{"operation": {**ports, "paths": list(paths)}}]
