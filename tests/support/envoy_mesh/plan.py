"""Where everything of one mesh is on this machine: ports of workloads and sidecars, and certificates of identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envoy_mesh.manifests import Workload
from supervisor.ports import free_ports

HOST = "127.0.0.1"
AnyPort = tuple[str, int]
"""A workload and a port of its container, as the manifests name them."""


@dataclass(frozen=True, slots=True)
class PortPlan:
    """Ports of this machine by those of the manifests: where workloads listen, and where their sidecars do. A sidecar's
    outgoing ports are any free ones, and it tells which."""

    apps: Mapping[AnyPort, int]
    inbound: Mapping[AnyPort, int]


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """What a sidecar proves itself with: a PEM file of its key and its certificate, and the authority that it trusts."""

    own: Path
    authority: Path
    trust_domain: str


def any_ports(workloads: tuple[Workload, ...]) -> PortPlan:
    """Free ports for all."""
    wanted = ports_of(workloads)
    numbers = free_ports(2 * len(wanted))
    return PortPlan(dict(zip(wanted, numbers, strict=False)), dict(zip(wanted, numbers[len(wanted) :], strict=True)))


def ports_of(workloads: tuple[Workload, ...]) -> list[AnyPort]:
    """Every port that a Service leads to."""
    return [(workload.name, port.container_port) for workload in workloads for port in workload.ports]
