"""Who reaches whom in each overlay: the table of services, the contracts, Sidecars, NetworkPolicies and routes agree."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from meshkit.policy import GATEWAY, OPERATOR, Effect
from tests.istio.manifests import OVERLAYS, ROOT, Document, of_kind, overlay, template_of, workloads
from tools.istio_network import COLLECTORS, exchange_hosts, reachable
from tools.mesh_policy.table import contracts, read_rpcs
from tradekit.services import (
    EXECUTOR,
    IDENTITIES,
    MARKET,
    MONITOR,
    ORCHESTRATOR,
    PAGE_PORT,
    SERVICES,
    VALIDATOR,
    ServiceName,
)

RPCS = read_rpcs(contracts())
GATEWAY_LABELS = {"gateway.networking.k8s.io/gateway-name": GATEWAY}
DATABASE = ("trading-db", 5432)


def labels_of(identity: str) -> dict[str, str]:
    """The labels of the pods that act as an identity."""
    return GATEWAY_LABELS if identity == GATEWAY else {"app": identity}


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """What Kubernetes decides by a label selector, of the forms that ours have."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    plain = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return plain and all(labels.get(one["key"]) in one["values"] for one in expressions)


def passes(documents: list[Document], source: dict[str, str], target: dict[str, str], port: int) -> bool:
    """What NetworkPolicies decide about a connection between two pods of the namespace."""
    return _one_way(documents, "Egress", source, target, port) and _one_way(documents, "Ingress", target, source, port)


def _one_way(documents: list[Document], way: str, own: dict[str, str], peer: dict[str, str], port: int) -> bool:
    key = "to" if way == "Egress" else "from"
    policies = [
        one["spec"] for one in of_kind(documents, "NetworkPolicy").values() if way in one["spec"]["policyTypes"]
    ]
    selected = [spec for spec in policies if selects(spec["podSelector"], own)]
    rules = [rule for spec in selected for rule in spec.get(way.lower(), [])]
    return not selected or any(_rule(rule, key, peer, port) for rule in rules)


def _rule(rule: dict[str, Any], key: str, peer: dict[str, str], port: int) -> bool:
    peers = rule.get(key)
    at = rule.get("ports")
    here = peers is None or any("podSelector" in one and selects(one["podSelector"], peer) for one in peers)
    return here and (at is None or any(one["port"] == port for one in at))


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_a_contract_allows_gets_through_the_network(name: str) -> None:
    documents = overlay(name)
    with_gateway = "Gateway" in {one["kind"] for one in documents}
    for service in SERVICES:
        for caller in (*reachable_from(service), OPERATOR, *([GATEWAY] if with_gateway else [])):
            assert passes(documents, labels_of(caller), {"app": service.name}, service.port), (
                f"{caller} → {service.name}"
            )
            assert not passes(documents, labels_of(caller), {"app": service.name}, 22)
        assert not passes(documents, {"app": "stranger"}, {"app": service.name}, service.port)
    if with_gateway:
        assert passes(documents, GATEWAY_LABELS, {"app": MONITOR.name}, PAGE_PORT)


def reachable_from(service: ServiceName) -> list[str]:
    """Who has business with a service."""
    return [one.name for one in SERVICES if service in reachable(one)]


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_the_executor_places_orders_and_only_two_reach_an_exchange(name: str) -> None:
    documents = overlay(name)
    for service in SERVICES:
        passed = passes(documents, {"app": service.name}, {"app": "exchange-sim"}, 8443)
        assert passed is (name != "prod" and service in (MARKET, EXECUTOR)), service.name
        if service is not EXECUTOR:
            reaches = passes(documents, {"app": service.name}, {"app": "executor"}, EXECUTOR.port)
            assert reaches is (service in (ORCHESTRATOR, MONITOR)), service.name
    outside = [
        one["spec"]["podSelector"]
        for one in of_kind(documents, "NetworkPolicy").values()
        for rule in one["spec"].get("egress", [])
        if any("ipBlock" in peer for peer in rule.get("to", []))
    ]
    expected = {MARKET.name, EXECUTOR.name} if name == "prod" else set()
    assert {
        service.name for service in SERVICES if any(selects(one, {"app": service.name}) for one in outside)
    } == expected


@pytest.mark.parametrize("name", OVERLAYS)
def test_whoever_needs_the_database_reaches_it_and_nobody_else(name: str) -> None:
    documents = overlay(name)
    app, port = DATABASE
    for service in SERVICES:
        assert passes(documents, {"app": service.name}, {"app": app}, port)
    for job in ("migrate", "train"):
        assert passes(documents, {"app": job}, {"app": app}, port)
    for other in ("exchange-sim", "operator", "stranger"):
        assert not passes(documents, {"app": other}, {"app": app}, port)


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_sidecar_shows_a_service_what_it_calls_and_no_more(name: str) -> None:
    found = of_kind(overlay(name), "Sidecar")
    assert set(found) == {"default", OPERATOR, *(service.name for service in SERVICES)}
    assert all(one["spec"]["outboundTrafficPolicy"] == {"mode": "REGISTRY_ONLY"} for one in found.values())
    assert found["default"]["spec"]["egress"] == [{"hosts": ["istio-system/*"]}]
    for service in SERVICES:
        spec = found[service.name]["spec"]
        assert spec["workloadSelector"] == {"labels": {"app": service.name}}
        hosts = {host for listener in spec["egress"] for host in listener["hosts"]}
        own = {host.split("/")[1].split(".")[0] for host in hosts if ".crypto-trading.svc" in host}
        assert own - {"trading-db-rw", "exchange-sim"} == {one.name for one in reachable(service)}
        coinbase = {host for host in hosts if "coinbase" in host}
        assert bool(coinbase) is (service in (MARKET, EXECUTOR))
        assert ("ollama/*" in hosts) is (service is VALIDATOR)
    assert "./advanced-trade-ws-user.coinbase.com" in found["executor"]["spec"]["egress"][0]["hosts"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_traces_of_services_and_of_sidecars_reach_the_collector(name: str) -> None:
    """A service's go where OTLP_ENDPOINT says, a sidecar's and the gateway's where the mesh's configuration does."""
    documents = overlay(name)
    mesh = yaml.safe_load((ROOT / "istio" / "mesh-config.yaml").read_text())["spec"]["meshConfig"]
    (provider,) = mesh["extensionProviders"]
    wanted = {provider["opentelemetry"]["port"]}
    own = of_kind(documents, "ConfigMap")["crypto-trading-config"]["data"].get("OTLP_ENDPOINT")
    both = wanted | ({urlsplit(own).port} if own else set())
    assert both == ({4317, 4318} if own else {4317})
    for service in SERVICES:
        assert both <= collector_ports(documents, {"app": service.name}), service.name
    if of_kind(documents, "Gateway"):
        assert wanted <= collector_ports(documents, GATEWAY_LABELS)


def collector_ports(documents: list[Document], labels: dict[str, str]) -> set[int]:
    """Ports of the collector's namespace that a pod reaches."""
    to = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": COLLECTORS}}}
    policies = [one["spec"] for one in of_kind(documents, "NetworkPolicy").values()]
    rules = [rule for one in policies if selects(one["podSelector"], labels) for rule in one.get("egress", [])]
    return {port["port"] for rule in rules if to in rule.get("to", []) for port in rule["ports"]}


def test_the_table_says_whom_the_code_calls() -> None:
    for service in SERVICES:
        text = "\n".join(path.read_text() for path in (ROOT / service.package).rglob("*.py"))
        named = {word.lower() for word in re.findall(r"\.address\(\s*services\.([A-Z]+)\)", text)}
        if service is MONITOR:
            named |= {one.name for one in SERVICES if f"channel(services.{one.name.upper()})" in text}
            named |= {one.name for one in service.asks_health_of}
        assert named == {one.name for one in service.calls}, service.name


def test_every_host_of_the_exchange_is_known_where_real_money_is_spent() -> None:
    (entry,) = of_kind(overlay("prod"), "ServiceEntry").values()
    named = {
        host
        for service in SERVICES
        for host in exchange_hosts(service)
        if "sandbox" not in host and "exchange-sim" not in host
    }
    assert set(entry["spec"]["hosts"]) == named
    assert entry["spec"]["ports"] == [{"number": 443, "name": "tls", "protocol": "TLS"}]
    assert entry["spec"]["exportTo"] == ["."]


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_the_gateway_leads_to_what_reads_and_asks_for_a_token(name: str) -> None:
    documents = overlay(name)
    reading = {rpc.path for rpc in RPCS if rpc.policy.effect is Effect.READ and GATEWAY in rpc.callers}
    routed = set()
    for service_name, route in of_kind(documents, "GRPCRoute").items():
        (rule,) = route["spec"]["rules"]
        assert len(rule["matches"]) <= 64
        service = next(one for one in SERVICES if one.name == service_name)
        assert rule["backendRefs"] == [{"name": service.name, "port": service.port}]
        routed |= {f"/{one['method']['service']}/{one['method']['method']}" for one in rule["matches"]}
    assert routed == reading
    policies = of_kind(documents, "AuthorizationPolicy")
    (rule,) = policies["gateway-allow"]["spec"]["rules"]
    assert set(rule["to"][0]["operation"]["paths"]) == reading
    for policy in ("gateway-allow", "gateway-page-allow"):
        (rule,) = policies[policy]["spec"]["rules"]
        assert rule["from"] == [{"source": {"requestPrincipals": ["*"]}}]
    gateway = of_kind(documents, "Gateway")["gateway"]
    parameters = gateway["spec"]["infrastructure"]["parametersRef"]
    assert parameters == {"group": "", "kind": "ConfigMap", "name": "gateway"}
    pod = yaml.safe_load(of_kind(documents, "ConfigMap")["gateway"]["data"]["deployment"])["spec"]["template"]["spec"]
    # Without it the namespace's level lets no pod of the gateway in.
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert gateway["metadata"]["annotations"]["gateway.istio.io/service-account"] == GATEWAY
    assert {one["protocol"] for one in gateway["spec"]["listeners"]} == {"HTTPS"}
    listeners = {one["name"]: one["hostname"] for one in gateway["spec"]["listeners"]}
    assert len(set(listeners.values())) == len(listeners) == 2


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_what_runs_more_than_once_keeps_one_through_a_drain(name: str) -> None:
    documents = overlay(name)
    deployments = of_kind(documents, "Deployment")
    scalers = [*of_kind(documents, "HorizontalPodAutoscaler").values(), *of_kind(documents, "ScaledObject").values()]
    scaled = [one["spec"]["scaleTargetRef"]["name"] for one in scalers]
    assert len(set(scaled)) == len(scaled), "two would decide how many there are"
    assert EXECUTOR.name not in scaled
    for target in scaled:
        assert "replicas" not in deployments[target]["spec"]
        assert of_kind(documents, "PodDisruptionBudget")[target]["spec"]["minAvailable"] == 1
    assert set(of_kind(documents, "PodDisruptionBudget")) == set(scaled)
    assert all(deployments[one.name]["spec"]["replicas"] == 1 for one in SERVICES if one.name not in scaled)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_identity_of_the_policies_is_an_account(name: str) -> None:
    documents = overlay(name)
    accounts = set(of_kind(documents, "ServiceAccount"))
    with_gateway = bool(of_kind(documents, "Gateway"))
    assert {identity for identity in IDENTITIES if identity != GATEWAY or with_gateway} <= accounts
    for workload_name, workload in workloads(documents).items():
        assert template_of(workload)["spec"]["serviceAccountName"] in accounts, workload_name
