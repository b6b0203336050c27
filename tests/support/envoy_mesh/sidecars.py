"""One mesh of sidecars: an Envoy beside each workload and one beside the operator, with certificates of one authority."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import grpc

from envoy_mesh.manifests import Manifests, checked, read_folders
from envoy_mesh.plan import HOST, CertificateFile, PortPlan, any_ports
from envoy_mesh.process import Envoy, envoys
from envoy_mesh.sidecar import sidecar
from meshkit.certificates import read_pair
from meshkit.policy import OPERATOR
from meshkit.spiffe import SpiffeNames
from supervisor.certificate_files import CertificateFiles
from supervisor.certificates import ensure_certificates
from tradekit.services import IDENTITIES, SERVICES, ServiceName

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("istio/base", "istio/generated")
TRUST_DOMAIN = "cluster.local"
# Each call of a test is a connection of its own, through no proxy of the developer's.
_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


@cache
def manifests() -> Manifests:
    """Those of this repository."""
    return checked(read_folders(ROOT, *FOLDERS))


@dataclass(frozen=True)
class Sidecars:
    """Running sidecars by the identity that each acts for."""

    plan: PortPlan
    certificates: CertificateFiles
    envoys: dict[str, Envoy]

    def outbound(self, identity: str) -> dict[str, int]:
        """The port at which an identity's own sidecar takes calls to each service."""
        listening = self.envoys[identity].ports()
        return {service.name: listening[f"outbound|{service.port}|{service.name}"] for service in SERVICES}

    def inbound(self, service: ServiceName) -> int:
        """The port at which others reach a service."""
        return self.plan.inbound[service.name, service.port]

    def channel_as(
        self, identity: str, service: ServiceName, files: CertificateFiles | None = None
    ) -> grpc.aio.Channel:
        """A channel to a service's sidecar with the certificate of an identity, or another authority's of that name."""
        pair = read_pair((files or self.certificates).certificate(identity), self.certificates.authority)
        credentials = grpc.ssl_channel_credentials(pair.authorities, pair.key, pair.chain)
        return grpc.aio.secure_channel(f"{HOST}:{self.inbound(service)}", credentials, options=_OPTIONS)


def certificate_of(files: CertificateFiles, identity: str) -> CertificateFile:
    """What the sidecar of an identity proves itself with."""
    return CertificateFile(files.certificate(identity), files.authority, TRUST_DOMAIN)


def make_certificates(folder: Path) -> CertificateFiles:
    """An authority, and a certificate for every identity that a contract can name."""
    files = CertificateFiles(folder)
    ensure_certificates(files, IDENTITIES, SpiffeNames(), datetime.now(UTC))
    return files


@contextmanager
def running_sidecars(folder: Path) -> Iterator[Sidecars]:
    """Those of all services and of the operator, in front of ports at which nobody listens yet."""
    found = manifests()
    plan, files = any_ports(found.workloads), make_certificates(folder / "identity")
    names = (*(workload.name for workload in found.workloads), OPERATOR)
    configurations = {name: sidecar(found, name, plan, certificate_of(files, name)) for name in names}
    with envoys(configurations, folder) as running:
        yield Sidecars(plan, files, running)
