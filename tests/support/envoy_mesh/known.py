"""The fields of manifests that a sidecar's configuration is made from, and those that mean nothing to one. Any other field is
refused: to leave out what a cluster would act upon would make a test say what is not so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envoy_mesh.located import Fields


@dataclass(frozen=True, slots=True)
class Text:
    """A text of one form; `why` tells whoever wrote another one."""

    pattern: str
    why: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of things of one shape."""

    of: Shape


class Anything:
    """Known to mean nothing to a sidecar."""


Shape = Mapping[str, Any] | type[str] | type[int] | Text | Listed | Anything

ANY = Anything()
DURATION = Text(r"[0-9]+(\.[0-9]+)?(s|m|h)", "a duration such as 1.5s is needed")
EXACT = Text(r"[^*]+", "a pattern with * is not translated")
PORT = Text(r"[0-9]+", "a port is written as a text of digits here")

API_VERSIONS = {
    "Service": "v1",
    "Deployment": "apps/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "AuthorizationPolicy": "security.istio.io/v1",
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
}
# Of these nothing reaches a sidecar. A container's environment is the test's own. Jobs call no service. Sidecar and
# NetworkPolicy only take ways away from a pod, and what is refused here is refused by the one who is called. That they leave each
# pod what it needs is tested on the manifests and on a cluster.
IGNORED = frozenset(
    {"Namespace", "ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "Job", "NetworkPolicy", "Sidecar"}
)
PATCHED = frozenset({"ConfigMap"})
_LABELS = {"app": str, "version": ANY, "app.kubernetes.io/part-of": ANY}
# Annotations are how pods change what their sidecar does; ours say what it may use of the machine, and where metrics are read.
METADATA = {"name": str, "namespace": str, "labels": _LABELS}
_ANNOTATIONS = (
    *("trading/config-checksum", "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"),
    *("sidecar.istio.io/proxyCPU", "sidecar.istio.io/proxyMemory", "sidecar.istio.io/proxyMemoryLimit"),
)
_POD_METADATA = {"labels": _LABELS, "annotations": dict.fromkeys(_ANNOTATIONS, ANY)}
_CONTAINER = {
    "name": str,
    "ports": Listed({"name": str, "containerPort": int}),
    "image": ANY,
    "command": ANY,
    "args": ANY,
    "env": ANY,
    "envFrom": ANY,
    "startupProbe": ANY,
    "readinessProbe": ANY,
    "livenessProbe": ANY,
    "resources": ANY,
    "securityContext": ANY,
    "volumeMounts": ANY,
}
_POD = {
    "serviceAccountName": str,
    "containers": Listed(_CONTAINER),
    "automountServiceAccountToken": ANY,
    "enableServiceLinks": ANY,
    "terminationGracePeriodSeconds": ANY,
    "securityContext": ANY,
    "initContainers": ANY,
    "volumes": ANY,
    "affinity": ANY,
    "topologySpreadConstraints": ANY,
}
_OPERATION = {"ports": Listed(PORT), "paths": Listed(EXACT)}
_RULE = {
    "from": Listed({"source": {"principals": Listed(EXACT), "notPrincipals": Listed(EXACT)}}),
    "to": Listed({"operation": _OPERATION}),
}
_ROUTE = {
    "name": str,
    "match": Listed({"uri": {"exact": str}, "port": int}),
    "route": Listed({"destination": {"host": str, "port": {"number": int}}}),
    "timeout": DURATION,
    "retries": {"attempts": int, "perTryTimeout": DURATION, "retryOn": str},
}
_TRAFFIC = {
    "loadBalancer": {
        "simple": Text("LEAST_REQUEST", "no other way of balancing is translated"),
        "warmup": {"duration": DURATION},
    },
    "connectionPool": {
        "tcp": {"connectTimeout": DURATION, "tcpKeepalive": {"time": DURATION, "interval": DURATION}},
        "http": {"http2MaxRequests": int, "maxRetries": int, "idleTimeout": DURATION},
    },
    "outlierDetection": {
        "consecutiveGatewayErrors": int,
        "consecutive5xxErrors": int,
        "interval": DURATION,
        "baseEjectionTime": DURATION,
        "maxEjectionPercent": int,
        "minHealthPercent": int,
    },
}
_SERVICE_PORT = {
    "name": str,
    "port": int,
    "targetPort": str,
    "appProtocol": Text("grpc|http", "a sidecar would have to guess"),
}

KNOWN: dict[str, dict[str, Any]] = {
    "Kustomization": {
        "apiVersion": ANY,
        "kind": ANY,
        "labels": ANY,
        "images": ANY,
        "namespace": str,
        "resources": Listed(str),
        "patches": Listed({"path": str}),
    },
    "Service": {"selector": {"app": str}, "ports": Listed(_SERVICE_PORT)},
    "Deployment": {
        "replicas": ANY,
        "minReadySeconds": ANY,
        "strategy": ANY,
        "selector": ANY,
        "template": {"metadata": _POD_METADATA, "spec": _POD},
    },
    "PeerAuthentication": {"mtls": {"mode": Text("STRICT", "only STRICT is translated")}},
    "AuthorizationPolicy": {
        "selector": {"matchLabels": {"app": str}},
        "action": Text("ALLOW|DENY", "no other action is translated"),
        "rules": Listed(_RULE),
    },
    "VirtualService": {"hosts": Listed(str), "http": Listed(_ROUTE)},
    "DestinationRule": {"host": str, "trafficPolicy": _TRAFFIC},
}


def faults_of(value: Any, shape: Shape, place: str, path: str) -> Iterator[str]:
    """What of a value is not of a shape, each with its place: the file and the line of the key that it belongs to."""
    match shape:
        case Anything():
            return
        case Text(pattern, why):
            if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
                yield f"{place}: {path} is {value!r}: {why}"
        case Listed(of):
            if not isinstance(value, list):
                yield f"{place}: {path} must be a list"
                return
            for index, one in enumerate(value):
                at = one.place() if isinstance(one, Fields) else place
                yield from faults_of(one, of, at, f"{path}[{index}]")
        case Mapping():
            yield from _mapping_faults(value, shape, place, path)
        case _:
            if not isinstance(value, shape) or isinstance(value, bool):
                yield f"{place}: {path} is {value!r}, and must be of type {shape.__name__}"


def _mapping_faults(value: Any, shape: Mapping[str, Any], place: str, path: str) -> Iterator[str]:
    if not isinstance(value, Fields):
        yield f"{place}: {path} must be a mapping"
        return
    for key, inner in value.items():
        dotted = f"{path}{'' if path.endswith(' ') else '.'}{key}"
        if key in shape:
            yield from faults_of(inner, shape[key], value.place(key), dotted)
        else:
            yield f"{value.place(key)}: {dotted} is not known to the translator"
