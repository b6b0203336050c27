"""The one table that manifests and contract page are made from: every RPC with its policy and the identities that it lets in.

The policies are read by the code that servers and clients read them with. What a contract leaves open or contradicts is
refused: all faults at once, each with its place.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from meshkit.errors import Misconfigured
from meshkit.policy import ANYONE, GATEWAY, Policy, policy_of
from tools.mesh_policy.sources import place_of
from tradekit.services import IDENTITIES, SERVICES, ServiceName

NAMESPACE = "crypto-trading"
TRUST_DOMAIN = "cluster.local"


class ContractRefused(Exception):
    """Contracts that nothing can be rendered from; `faults` has a line for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method of a service; `callers` are the identities that its policy lets in."""

    service: ServiceName
    method: MethodDescriptor
    policy: Policy
    callers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name within its service."""
        return str(self.method.name)

    @property
    def path(self) -> str:
        """Its path on the wire, `/package.Service/Method`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


def principal(identity: str) -> str:
    """An identity as the mesh's certificates prove it: its service account."""
    return f"{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{identity}"


def contracts() -> dict[ServiceName, ServiceDescriptor]:
    """The compiled contract of each service."""
    found = {}
    for service in SERVICES:
        importlib.import_module(service.contract_module)
        found[service] = descriptor_pool.Default().FindServiceByName(service.full_name)
    return found


def read_rpcs(
    services: Mapping[ServiceName, ServiceDescriptor], identities: Sequence[str] = IDENTITIES
) -> tuple[Rpc, ...]:
    """Every RPC, in the order of the contracts. ContractRefused with all faults."""
    found, faults = [], []
    for service, descriptor in services.items():
        for method in descriptor.methods:
            try:
                policy = policy_of(method)
            except Misconfigured as error:
                faults.append(f"{place_of(method)}: {error.message}")
                continue
            broken = [f"{place_of(method)}: {method.full_name} {what}" for what in _faults(method, policy, identities)]
            faults += broken
            if not broken:
                callers = tuple(identity for identity in identities if policy.allows(identity))
                found.append(Rpc(service, method, policy, callers))
    if faults:
        raise ContractRefused(faults)
    return tuple(found)


def of_service(rpcs: Sequence[Rpc], service: ServiceName) -> list[Rpc]:
    """The RPCs of one service."""
    return [rpc for rpc in rpcs if rpc.service == service]


def _faults(method: MethodDescriptor, policy: Policy, identities: Sequence[str]) -> Iterator[str]:
    named = policy.callers - {ANYONE}
    if not policy.callers:
        yield "lets nobody call it: name its callers, or take the method away"
    for caller in sorted(named - set(identities)):
        yield f"lets {caller!r} call it, which is no identity of the mesh: {', '.join(identities)}"
    if GATEWAY in named:
        yield f"names {GATEWAY!r}, which acts for whoever holds a token: it reaches what is READ by everybody and nothing else"
    if named and ANYONE in policy.callers:
        yield f"lets everybody call it and names {', '.join(sorted(named))} besides; say one of them"
    if method.server_streaming and policy.deadline_seconds is not None:
        yield "answers with a stream, which lives as long as its reader, and has a deadline: take the deadline away"
    if not method.server_streaming and not policy.deadline_seconds:
        yield "answers once and has no deadline: say how long a call may take"
    if not policy.max_in_flight:
        yield "does not say how many calls may be in flight"
