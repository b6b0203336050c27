"""What istiod pushed to a sidecar, as far as the translator of tests/envoy says something of it, and what that one says of it, in
the same form: routes, clusters, and who is let in.

`istioctl proxy-config … -o json` prints Envoy's messages with the names of JSON; the translator writes those of protobuf.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envoy_mesh.inbound import inbound_parts
from envoy_mesh.manifests import Manifests, ServicePort, Workload, checked, read_folders
from envoy_mesh.outbound import cluster_name, cluster_of, routes_of
from envoy_mesh.plan import CertificateFile, PortPlan, ports_of
from envoy_mesh.sidecars import FOLDERS, ROOT

from tests.kubernetes.cluster import NAMESPACE, Cluster

Json = dict[str, Any]
_OWN = CertificateFile(Path("/own.pem"), Path("/ca.pem"), "cluster.local")
_RBAC = "envoy.filters.http.rbac"
# Of a cluster: what both say. The rest is where its pods are, and where its certificates come from.
_OF_CLUSTER = (
    *("connectTimeout", "lbPolicy", "circuitBreakers", "outlierDetection"),
    *("typedExtensionProtocolOptions", "upstreamConnectionOptions"),
)
_OF_MANAGER = ("forwardClientCertDetails", "setCurrentClientCertDetails", "streamIdleTimeout", "normalizePath")


def dev_manifests() -> Manifests:
    """What the overlay dev gives to sidecars."""
    return checked(read_folders(ROOT, *FOLDERS, "istio/generated/reflection"))


class Translated:
    """What the translator would configure."""

    def __init__(self) -> None:
        self.manifests = dev_manifests()
        ports = {port: number for number, port in enumerate(ports_of(self.manifests.workloads), 20_000)}
        self._plan = PortPlan(ports, ports)

    def ports(self) -> Iterator[tuple[Workload, ServicePort]]:
        """Every port of every Service."""
        return ((workload, port) for workload in self.manifests.workloads for port in workload.ports)

    def routes(self, workload: Workload, port: ServicePort) -> list[Json]:
        """The way to a port, in the order in which it is looked for."""
        return [as_json(one) for one in routes_of(self.manifests, workload, port)]

    def cluster(self, workload: Workload, port: ServicePort) -> Json:
        """What is said of a destination."""
        found = as_json(cluster_of(self.manifests, workload, port, self._plan, _OWN))
        names = found["transportSocket"]["typedConfig"]["commonTlsContext"]["validationContext"]
        return of_cluster(found) | {"names": [one["matcher"] for one in names["matchTypedSubjectAltNames"]]}

    def inbound(self, workload: Workload) -> dict[int, Json]:
        """Who is heard and let in, by port of the container."""
        listeners, _ = inbound_parts(self.manifests, workload, self._plan, _OWN)
        found = {}
        for port, listener in zip(workload.ports, listeners, strict=True):
            (chain,) = as_json(listener)["filterChains"]
            names = chain["transportSocket"]["typedConfig"]["commonTlsContext"]["validationContext"]
            heard = [one["matcher"] for one in names["matchTypedSubjectAltNames"]]
            found[port.container_port] = _inbound(chain, heard, port.container_port)
        return found


class Pushed:
    """What a pod's sidecar has from istiod."""

    def __init__(self, place: Cluster, pod: str) -> None:
        def read(kind: str) -> list[Json]:
            told = place.run("istioctl", "-n", NAMESPACE, "proxy-config", kind, pod, "-o", "json")
            found: list[Json] = json.loads(told)
            return found

        self._routes, self._clusters, self._listeners = read("routes"), read("clusters"), read("listeners")

    def visible(self) -> set[str]:
        """Clusters of this namespace's Services."""
        names = {one.get("name", "") for one in self._clusters}
        return {
            name for name in names if re.fullmatch(rf"outbound\|\d+\|\|[\w-]+\.{NAMESPACE}\.svc\.cluster\.local", name)
        }

    def routes(self, workload: Workload, port: ServicePort) -> list[Json]:
        """As of a translation."""
        hosts = [host for one in self._routes for host in one["virtualHosts"]]
        (found,) = [host["routes"] for host in hosts if host["name"] == f"{workload.host}:{port.number}"]
        return [_route(one) for one in found]

    def cluster(self, workload: Workload, port: ServicePort) -> Json:
        """As of a translation."""
        name = cluster_name(workload.host, port.number)
        found = next(one for one in self._clusters if one.get("name") == name)
        secured, plain = found["transportSocketMatches"]
        assert (secured["name"], plain["name"]) == ("tlsMode-istio", "tlsMode-disabled")
        names = secured["transportSocket"]["typedConfig"]["commonTlsContext"]["combinedValidationContext"]
        return of_cluster(found) | {"names": names["defaultValidationContext"]["matchSubjectAltNames"]}

    def inbound(self) -> dict[int, Json]:
        """As of a translation."""
        found = {}
        for chain in self._inbound_chains():
            port = chain.get("filterChainMatch", {}).get("destinationPort")
            if port is not None and "transportSocket" in chain:
                names = chain["transportSocket"]["typedConfig"]["commonTlsContext"]["combinedValidationContext"]
                heard = names["defaultValidationContext"]["matchSubjectAltNames"]
                found[port] = _inbound(chain, heard, port)
        return found

    def hears_only_the_mesh(self) -> bool:
        """Whether whatever is not mutual TLS meets no chain but the one that ends it."""
        chains = [one for one in self._inbound_chains() if one["name"] != "virtualInbound-blackhole"]
        return bool(chains) and all(
            one["filterChainMatch"].get("transportProtocol") == "tls"
            and one["transportSocket"]["typedConfig"]["requireClientCertificate"] is True
            for one in chains
        )

    def _inbound_chains(self) -> list[Json]:
        (listener,) = [one for one in self._listeners if one.get("name") == "virtualInbound"]
        found: list[Json] = listener["filterChains"]
        return found


def as_json(value: Any) -> Any:
    """Names as protobuf's JSON has them; a whole number of 64 bits is a text there."""
    if isinstance(value, dict):
        found = {_name(key): as_json(one) for key, one in value.items()}
        if "hostSelectionRetryMaxAttempts" in found:
            found["hostSelectionRetryMaxAttempts"] = str(found["hostSelectionRetryMaxAttempts"])
        return found
    return [as_json(one) for one in value] if isinstance(value, list) else value


def _name(key: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), key) if re.fullmatch(r"[a-z0-9_]+", key) else key


def of_cluster(found: Json) -> Json:
    """What both say of a cluster."""
    panic = found["commonLbConfig"]["healthyPanicThreshold"]
    window = found.get("leastRequestLbConfig", {}).get("slowStartConfig", {}).get("slowStartWindow")
    # JSON leaves out a number that is 0.
    return {name: found.get(name) for name in _OF_CLUSTER} | {"slowStartWindow": window, "panic": panic.get("value", 0)}


def _route(found: Json) -> Json:
    kept = {name: one for name, one in found.items() if name not in ("metadata", "decorator")}
    kept["match"] = {name: one for name, one in kept["match"].items() if name != "caseSensitive"}
    return kept


def _inbound(chain: Json, heard: list[Json], port: int) -> Json:
    manager = chain["filters"][-1]["typedConfig"]
    filters = [one["typedConfig"]["rules"] for one in manager["httpFilters"] if one["name"] == _RBAC]
    said = {name: manager.get(name) for name in _OF_MANAGER}
    return said | {"heard": heard, "rules": [_rules(one, port) for one in filters]}


def _rules(found: Json, port: int) -> Json:
    policies = {name: _policy(one, port) for name, one in found.get("policies", {}).items()}
    # Istio writes one that matches nobody where ours is empty.
    kept = {name: one for name, one in policies.items() if one["permissions"] and not _nobody(one)}
    return {"action": found.get("action", "ALLOW"), "policies": kept}


def _nobody(policy: Json) -> bool:
    return bool(policy["principals"] == [{"notId": {"any": True}}])


def _policy(found: Json, port: int) -> Json:
    permissions = [_permission(one, port) for one in found["permissions"]]
    return {"principals": found["principals"], "permissions": [one for one in permissions if one is not None]}


def _permission(found: Json, port: int) -> Json | None:
    """Without the port, which is this listener's; None where it is another."""
    if "andRules" not in found:
        return found
    rules = []
    for rule in found["andRules"]["rules"]:
        ports = {one.get("destinationPort") for one in rule.get("orRules", {}).get("rules", ())} - {None}
        if not ports:
            rules.append(rule)
        elif port not in ports:
            return None
    assert len(rules) <= 1, "a permission that the translator has no form for"
    return rules[0] if rules else {"any": True}
