"""The way of a call without any service: a caller's Envoy, an Envoy in front of the workloads, and a stand-in behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from envoy_mesh.inbound import inbound_parts
from envoy_mesh.manifests import Manifests
from envoy_mesh.plan import HOST, PortPlan, ports_of
from envoy_mesh.process import Envoy, envoys
from envoy_mesh.sidecar import bootstrap, sidecar
from envoy_mesh.sidecars import certificate_of, make_certificates, manifests
from meshkit.policy import OPERATOR
from supervisor.certificate_files import CertificateFiles
from supervisor.ports import free_ports
from tradekit.services import ServiceName

CALLER, CALLED = "caller", "called"


@dataclass(frozen=True)
class Rig:
    """The stand-in is expected at `app`; `caller` acts for the operator."""

    folder: Path
    app: int
    plan: PortPlan
    certificates: CertificateFiles
    caller: Envoy
    called: Envoy

    def channel(self, service: ServiceName, caller: Envoy | None = None) -> grpc.aio.Channel:
        """A channel to a caller's Envoy, as a service that it stands beside opens it."""
        port = (caller or self.caller).ports()[f"outbound|{service.port}|{service.name}"]
        return grpc.aio.insecure_channel(f"{HOST}:{port}", options=[("grpc.use_local_subchannel_pool", 1)])

    @contextmanager
    def another_caller(self, found: Manifests, plan: PortPlan | None = None) -> Iterator[Envoy]:
        """A caller's Envoy by other manifests, or one whose calls arrive at other ports."""
        own = certificate_of(self.certificates, OPERATOR)
        with envoys({"another": sidecar(found, OPERATOR, plan or self.plan, own)}, self.folder) as running:
            yield running["another"]

    def nobody_there(self) -> PortPlan:
        """Ports at which no sidecar listens."""
        wanted = [*self.plan.inbound]
        return PortPlan(self.plan.apps, dict(zip(wanted, free_ports(len(wanted)), strict=True)))


@contextmanager
def running_rig(folder: Path) -> Iterator[Rig]:
    """Both Envoys, by this repository's manifests."""
    found, files = manifests(), make_certificates(folder / "identity")
    wanted = ports_of(found.workloads)
    app, *inbound = free_ports(len(wanted) + 1)
    plan = PortPlan(dict.fromkeys(wanted, app), dict(zip(wanted, inbound, strict=True)))
    in_front = [inbound_parts(found, one, plan, certificate_of(files, one.account)) for one in found.workloads]
    configurations = {
        CALLER: sidecar(found, OPERATOR, plan, certificate_of(files, OPERATOR)),
        CALLED: bootstrap(CALLED, *in_front),
    }
    with envoys(configurations, folder) as running:
        yield Rig(folder, app, plan, files, running[CALLER], running[CALLED])
