"""The plan of a replay whose services meet only through sidecars: each dials its own, and so does who leads the replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from cli.plan import LOOPBACK, MeshPlan, Ports
from meshkit.policy import OPERATOR
from tradekit.services import SERVICES, ServiceName

Outbound = Mapping[str, Mapping[str, int]]
"""For each caller the port of its own sidecar for each service."""


@dataclass(frozen=True)
class SidecarPorts(Ports):
    """`of_service` are the services' own ports; whoever dials one by its address is the operator, through its sidecar."""

    outbound: Outbound = field(default_factory=dict)

    def address(self, service: ServiceName) -> str:
        """Where the operator's sidecar takes calls to a service."""
        return f"{LOOPBACK}:{self.outbound[OPERATOR][service.name]}"


@dataclass(frozen=True)
class SidecarPlan(MeshPlan):
    """Every service knows its callers by what its sidecar forwards, and calls others through it."""

    outbound: Outbound = field(default_factory=dict)

    def environment_of(self, service: ServiceName) -> dict[str, str]:
        """With the addresses of its own sidecar."""
        own = self.outbound[service.name]
        addresses = {one.address_variable: f"{LOOPBACK}:{own[one.name]}" for one in SERVICES}
        return {**super().environment_of(service), **addresses}


def behind_sidecars(plan: MeshPlan, apps: Mapping[str, int], page: int, outbound: Outbound) -> SidecarPlan:
    """The same instance, its services at the ports that their sidecars lead to."""
    given = {one.name: getattr(plan, one.name) for one in fields(plan)}
    given["ports"] = SidecarPorts(apps, plan.ports.simulator, page, outbound)
    given["inherited"] = {**plan.inherited, "MESH_AUTH": "xfcc"}
    return SidecarPlan(**given, outbound=outbound)
