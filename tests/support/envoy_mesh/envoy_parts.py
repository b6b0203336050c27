"""The pieces that both directions of a sidecar are made of, as Envoy's JSON.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/api
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy_mesh.plan import HOST, CertificateFile

Json = dict[str, Any]
_API = "type.googleapis.com/envoy"
_UPSTREAM_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def address(port: int) -> Json:
    """A port of the loopback address."""
    return {"socket_address": {"address": HOST, "port_value": port}}


def listener(name: str, at: Json, direction: str, manager: Json, tls: Json | None = None) -> Json:
    """A listener with one chain of filters; with `tls` it hears nothing else."""
    chain: Json = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if tls is not None:
        chain["transport_socket"] = tls
    stat = name.strip("|").replace("|", "_")
    return {
        "name": name,
        "stat_prefix": stat,
        "address": at,
        "traffic_direction": direction,
        "filter_chains": [chain],
    }


def connection_manager(stat: str, routes: Sequence[Json], filters: Sequence[Json], forwarded: Json) -> Json:
    """HTTP of a listener: every authority is meant, as the listener stands for one destination, and no idle stream is cut."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_API}.extensions.filters.http.router.v3.Router"},
    }
    host = {"name": stat, "domains": ["*"], "include_request_attempt_count": True, "routes": list(routes)}
    return {
        "@type": f"{_API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat,
        "codec_type": "AUTO",
        "stream_idle_timeout": "0s",
        "normalize_path": True,
        **forwarded,
        "route_config": {"name": stat, "validate_clusters": True, "virtual_hosts": [host]},
        "http_filters": [*filters, router],
    }


def cluster_at(name: str, port: int, protocol: str) -> Json:
    """A cluster of the one endpoint at a port; `protocol` is that of the Service."""
    endpoint = {"endpoint": {"address": address(port)}}
    found: Json = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    version = "http2_protocol_options" if protocol == "grpc" else "http_protocol_options"
    set_http(found, explicit_http_config={version: {}})
    return found


def set_http(cluster: Json, **options: Json) -> None:
    """Adds to the HTTP options of a cluster."""
    kind = {"@type": f"type.googleapis.com/{_UPSTREAM_HTTP}"}
    held = cluster.setdefault("typed_extension_protocol_options", {}).setdefault(_UPSTREAM_HTTP, kind)
    held.update(options)


def server_tls(own: CertificateFile) -> Json:
    """Only callers with a certificate of the authority, for a name of the trust domain."""
    names = {"prefix": f"spiffe://{own.trust_domain}/"}
    kind = f"{_API}.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return _tls({"@type": kind, "common_tls_context": _common(own, names), "require_client_certificate": True})


def client_tls(own: CertificateFile, destination: str) -> Json:
    """Shows its own certificate, and calls nobody but the destination."""
    kind = f"{_API}.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    return _tls({"@type": kind, "common_tls_context": _common(own, {"exact": destination})})


def _tls(configured: Json) -> Json:
    return {"name": "envoy.transport_sockets.tls", "typed_config": configured}


def _common(own: CertificateFile, name: Json) -> Json:
    file = {"filename": str(own.own)}
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [{"certificate_chain": file, "private_key": file}],
        "validation_context": {
            "trusted_ca": {"filename": str(own.authority)},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": name}],
        },
        "alpn_protocols": ["h2", "http/1.1"],
    }
