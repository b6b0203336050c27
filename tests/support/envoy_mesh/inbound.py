"""What a sidecar does with calls that come in: whom it hears at all, what each may call, and where the workload listens.

PeerAuthentication becomes the TLS of the listener, AuthorizationPolicies the filters before the router, DENY before ALLOW as
Istio decides them.
"""

from __future__ import annotations

from collections.abc import Sequence

from envoy_mesh.envoy_parts import Json, address, cluster_at, connection_manager, listener, server_tls
from envoy_mesh.manifests import Manifests, ServicePort, Workload
from envoy_mesh.plan import CertificateFile, PortPlan

_RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"


def inbound_parts(
    manifests: Manifests, workload: Workload, plan: PortPlan, own: CertificateFile
) -> tuple[list[Json], list[Json]]:
    """Listeners and clusters, one of each for each port of the Service; what no Service names cannot be reached."""
    listeners, clusters = [], []
    for port in workload.ports:
        name = f"inbound|{port.container_port}||"
        filters = authorization_filters(manifests, workload, port)
        manager = connection_manager(f"inbound_{port.container_port}", [_to_the_workload(name)], filters, _FORWARDED)
        at = address(plan.inbound[workload.name, port.container_port])
        listeners.append(listener(name, at, "INBOUND", manager, server_tls(own)))
        app = plan.apps[workload.name, port.container_port]
        clusters.append(cluster_at(name, app, port.protocol))
    return listeners, clusters


def authorization_filters(manifests: Manifests, workload: Workload, port: ServicePort) -> list[Json]:
    """Nothing where no policy selects the workload; else what is denied, and then, where any policy allows, all but that."""
    policies = [one for one in manifests.of_kind("AuthorizationPolicy") if _selects(one["spec"], workload)]
    found = []
    for action in ("DENY", "ALLOW"):
        chosen = [one for one in policies if one["spec"].get("action", "ALLOW") == action]
        if not chosen:
            continue
        # A policy without rules matches nothing, so an ALLOW without any others allows nothing.
        rules = {
            f"ns[{manifests.namespace}]-policy[{one['metadata']['name']}]-rule[{index}]": _rule(rule)
            for one in chosen
            for index, rule in enumerate(one["spec"].get("rules", ()))
            if _is_for(rule, port)
        }
        if action == "DENY" and not rules:
            continue
        configured = {"@type": _RBAC, "rules": {"action": action, "policies": rules}}
        configured["rules_stat_prefix"] = f"{action.lower()}_"
        found.append({"name": "envoy.filters.http.rbac", "typed_config": configured})
    return found


# Appends an element for the certificate that was seen to whatever the caller sent; the workload believes the last one.
_FORWARDED = {
    "forward_client_cert_details": "APPEND_FORWARD",
    "set_current_client_cert_details": {"subject": True, "dns": True, "uri": True},
}


def _selects(spec: Json, workload: Workload) -> bool:
    return "selector" not in spec or spec["selector"]["matchLabels"]["app"] == workload.name


def _is_for(rule: Json, port: ServicePort) -> bool:
    """A listener serves one port, so a rule that is for others has nothing to say there. A rule without `to` is for all."""
    return "to" not in rule or any(_operation_is_for(one["operation"], port) for one in rule["to"])


def _operation_is_for(operation: Json, port: ServicePort) -> bool:
    return str(port.container_port) in operation.get("ports", [str(port.container_port)])


def _rule(rule: Json) -> Json:
    sources = [_principal(one["source"]) for one in rule["from"]] if "from" in rule else [{"any": True}]
    operations = [_permission(one["operation"]) for one in rule["to"]] if "to" in rule else [{"any": True}]
    return {"principals": sources, "permissions": operations}


def _principal(source: Json) -> Json:
    ids: list[Json] = []
    if "principals" in source:
        ids.append({"or_ids": {"ids": _authenticated(source["principals"])}})
    if "notPrincipals" in source:
        ids.append({"not_id": {"or_ids": {"ids": _authenticated(source["notPrincipals"])}}})
    return {"and_ids": {"ids": ids or [{"any": True}]}}


def _authenticated(principals: Sequence[str]) -> list[Json]:
    return [{"authenticated": {"principal_name": {"exact": f"spiffe://{name}"}}} for name in principals]


def _permission(operation: Json) -> Json:
    # Its ports are compared where the listener is made.
    paths = operation.get("paths")
    if paths is None:
        return {"any": True}
    return {"or_rules": {"rules": [{"url_path": {"path": {"exact": path}}} for path in paths]}}


def _to_the_workload(name: str) -> Json:
    """No time limit of its own: the caller's holds, and its sidecar's."""
    unlimited = {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"}
    route = {"cluster": name, "timeout": "0s", "max_stream_duration": unlimited}
    return {"name": "default", "match": {"prefix": "/"}, "route": route}
