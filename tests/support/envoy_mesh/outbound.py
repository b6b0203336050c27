"""What a sidecar does with calls that go out: one listener for each port of each Service, its routes, and the destination's
replicas behind mutual TLS.

On a cluster the destination is known by its address before any header is read; here each has a port of its own, so a workload
is configured with nothing but addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from envoy_mesh.envoy_parts import (
    Json,
    address,
    client_tls,
    cluster_at,
    connection_manager,
    listener,
    set_http,
)
from envoy_mesh.manifests import Manifests, ServicePort, Workload
from envoy_mesh.plan import CertificateFile, PortPlan

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NO_LIMIT = 4294967295
# What Istio repeats on a route that says nothing of it: here too, so that a test sees what such a route does.
DEFAULT_RETRIES = {
    "attempts": 2,
    "retryOn": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
}
_SANITIZE = {"forward_client_cert_details": "SANITIZE"}


def outbound_parts(manifests: Manifests, plan: PortPlan, own: CertificateFile) -> tuple[list[Json], list[Json]]:
    """Listeners and clusters towards every Service, itself among them."""
    listeners, clusters = [], []
    for workload in manifests.workloads:
        for port in workload.ports:
            manager = connection_manager(
                f"outbound_{port.number}", [*routes_of(manifests, workload, port)], [], _SANITIZE
            )
            listeners.append(listener(f"outbound|{port.number}|{workload.name}", address(0), "OUTBOUND", manager))
            clusters.append(cluster_of(manifests, workload, port, plan, own))
    return listeners, clusters


def cluster_name(host: str, port: int) -> str:
    """As Istio calls it."""
    return f"outbound|{port}||{host}"


def routes_of(manifests: Manifests, workload: Workload, port: ServicePort) -> Iterator[Json]:
    """In the order of the VirtualService; one for each of its matches that this port can have, and none after one for all."""
    spec = manifests.spec_for("VirtualService", workload.host)
    if spec is None:
        yield _route("default", {"prefix": "/"}, cluster_name(workload.host, port.number), {})
        return
    for route in spec["http"]:
        destination = route["route"][0]["destination"]
        cluster = cluster_name(destination["host"], destination["port"]["number"])
        for match in route.get("match", [{}]):
            if match.get("port", port.number) == port.number:
                path = {"path": match["uri"]["exact"]} if "uri" in match else {"prefix": "/"}
                yield _route(route["name"], path, cluster, route)
                if "uri" not in match:
                    return


def _route(name: str, match: Json, cluster: str, said: Json) -> Json:
    # A limit of 0 is none; a caller's own is then passed on as it is, and is cut to the route's otherwise. Envoy has a newer
    # field than `max_grpc_timeout`; this is the one that Istio sets.
    limit = duration(said["timeout"]) if "timeout" in said else "0s"
    action = {"cluster": cluster, "timeout": limit, "max_grpc_timeout": limit, **_retries(said.get("retries"))}
    return {"name": name, "match": match, "route": action}


def _retries(said: Json | None) -> Json:
    chosen: Json = DEFAULT_RETRIES if said is None else said
    if not chosen["attempts"]:
        return {}
    policy: Json = {
        "num_retries": chosen["attempts"],
        "retry_on": chosen.get("retryOn", DEFAULT_RETRIES["retryOn"]),
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    if "retriable-status-codes" in policy["retry_on"]:
        policy["retriable_status_codes"] = [503]
    if "perTryTimeout" in chosen:
        policy["per_try_timeout"] = duration(chosen["perTryTimeout"])
    return {"retry_policy": policy}


def cluster_of(
    manifests: Manifests, workload: Workload, port: ServicePort, plan: PortPlan, own: CertificateFile
) -> Json:
    """The destination's sidecar, who it must prove to be, and what its DestinationRule says of the way there."""
    endpoint = plan.inbound[workload.name, port.container_port]
    found = cluster_at(cluster_name(workload.host, port.number), endpoint, port.protocol)
    account = f"spiffe://{own.trust_domain}/ns/{manifests.namespace}/sa/{workload.account}"
    found["transport_socket"] = client_tls(own, account)
    rule = manifests.spec_for("DestinationRule", workload.host)
    traffic: Any = rule.get("trafficPolicy", {}) if rule is not None else {}
    _balance(found, traffic.get("loadBalancer", {}))
    pool = traffic.get("connectionPool", {})
    _connect(found, pool.get("tcp", {}))
    _limit(found, pool.get("http", {}))
    if "outlierDetection" in traffic:
        _leave_out(found, traffic["outlierDetection"])
    return found


def _balance(cluster: Json, said: Json) -> None:
    cluster["lb_policy"] = "LEAST_REQUEST"
    if "warmup" in said:
        window = duration(said["warmup"]["duration"])
        cluster["least_request_lb_config"] = {"slow_start_config": {"slow_start_window": window}}


def _connect(cluster: Json, said: Json) -> None:
    if "connectTimeout" in said:
        cluster["connect_timeout"] = duration(said["connectTimeout"])
    if "tcpKeepalive" in said:
        probes = {f"keepalive_{name}": int(_seconds(value)) for name, value in said["tcpKeepalive"].items()}
        cluster["upstream_connection_options"] = {"tcp_keepalive": probes}


def _limit(cluster: Json, said: Json) -> None:
    cluster["circuit_breakers"] = {
        "thresholds": [
            {
                "max_connections": _NO_LIMIT,
                "max_pending_requests": _NO_LIMIT,
                "max_requests": said.get("http2MaxRequests", _NO_LIMIT),
                "max_retries": said.get("maxRetries", _NO_LIMIT),
            }
        ]
    }
    if "idleTimeout" in said:
        set_http(cluster, common_http_protocol_options={"idle_timeout": duration(said["idleTimeout"])})


def _leave_out(cluster: Json, said: Json) -> None:
    found: Json = {"enforcing_success_rate": 0}
    for ours, theirs in (
        ("consecutiveGatewayErrors", "consecutive_gateway_failure"),
        ("consecutive5xxErrors", "consecutive_5xx"),
    ):
        if ours in said:
            found[theirs] = said[ours]
            found[f"enforcing_{theirs}"] = 100 if said[ours] else 0
    for ours, theirs in (("interval", "interval"), ("baseEjectionTime", "base_ejection_time")):
        if ours in said:
            found[theirs] = duration(said[ours])
    if "maxEjectionPercent" in said:
        found["max_ejection_percent"] = said["maxEjectionPercent"]
    cluster["outlier_detection"] = found
    # Envoy's own default is 50: below that share of good replicas it asks all. Istio's is 0.
    cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": said.get("minHealthPercent", 0)}}


def duration(text: str) -> str:
    """A duration as Envoy reads it: in seconds."""
    return f"{_seconds(text):f}".rstrip("0").rstrip(".") + "s" if "." in text else f"{_seconds(text)}s"


def _seconds(text: str) -> Decimal:
    return Decimal(text[:-1]) * _SECONDS[text[-1]]
