"""The whole configuration of one Envoy: what stands in front of a workload, what an identity calls others by, or both."""

from __future__ import annotations

from envoy_mesh.envoy_parts import Json, address
from envoy_mesh.inbound import inbound_parts
from envoy_mesh.manifests import Manifests
from envoy_mesh.outbound import outbound_parts
from envoy_mesh.plan import CertificateFile, PortPlan


def sidecar(manifests: Manifests, name: str, plan: PortPlan, own: CertificateFile) -> Json:
    """The Envoy beside a workload. One that only calls, as the operator, has no way in."""
    inbound = [one for one in manifests.workloads if one.name == name]
    parts = [inbound_parts(manifests, one, plan, own) for one in inbound]
    return bootstrap(name, *parts, outbound_parts(manifests, plan, own))


def bootstrap(name: str, *parts: tuple[list[Json], list[Json]]) -> Json:
    """An Envoy with these listeners and clusters; its administration listens on any free port of the loopback address."""
    return {
        "node": {"id": name, "cluster": name},
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [one for listeners, _ in parts for one in listeners],
            "clusters": [one for _, clusters in parts for one in clusters],
        },
    }
