"""The way in from outside of the mesh, for whoever holds a token: what reads, and nothing else.

The gateway is an identity like any other, and a contract lets it in to READ methods only. Its routes lead nowhere else, and a
policy at the gateway itself refuses a call without a token before it reaches anybody.
"""

from collections.abc import Sequence

from meshkit.policy import GATEWAY
from tools.mesh_policy.documents import Body, Document, manifest
from tools.mesh_policy.table import Rpc, of_service
from tradekit.services import SERVICES, ServiceName

_API = "gateway.networking.k8s.io/v1"
_GATEWAY: Body = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": GATEWAY}
# A host is of gRPC routes or of HTTP routes, never of both, so the gateway has a listener for each.
_LISTENER = "grpc"


def read_through_gateway(rpcs: Sequence[Rpc]) -> list[Rpc]:
    """The methods that the gateway may call."""
    return [rpc for rpc in rpcs if GATEWAY in rpc.callers]


def routes(rpcs: Sequence[Rpc], services: Sequence[ServiceName] = SERVICES) -> list[Document]:
    """One for each service that has a method to read."""
    found = []
    for service in services:
        reading = read_through_gateway(of_service(rpcs, service))
        if reading:
            rule = {
                "matches": [{"method": {"service": service.full_name, "method": rpc.name}} for rpc in reading],
                "backendRefs": [{"name": service.name, "port": service.port}],
            }
            body = manifest(
                _API,
                "GRPCRoute",
                service.name,
                {"parentRefs": [{**_GATEWAY, "sectionName": _LISTENER}], "rules": [rule]},
            )
            found.append(Document(f"What reads of {service.full_name}.", body))
    return found


def at_the_gateway(rpcs: Sequence[Rpc]) -> list[Document]:
    """The same methods, for callers with a token that was found good."""
    operation = {"paths": [rpc.path for rpc in read_through_gateway(rpcs)]}
    spec = {
        "targetRefs": [_GATEWAY],
        "action": "ALLOW",
        "rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}], "to": [{"operation": operation}]}],
    }
    why = "Who holds a token of an issuer that the overlay names, and reads. Without one nobody passes."
    return [Document(why, manifest("security.istio.io/v1", "AuthorizationPolicy", "gateway-allow", spec))]
