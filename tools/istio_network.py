"""Renders istio/base/network/: what each service can reach and be reached by, as Sidecars and as NetworkPolicies.

Outgoing calls follow `calls` of the table of services; incoming ones are let in from whoever a contract lets in. The sidecar's
list is what a well-behaved process sees, the NetworkPolicy is what the cluster enforces whatever the process does.
"""

from collections.abc import Sequence
from pathlib import Path

from exchange_client.coinbase.settings import LIVE_HOST, LIVE_MARKET_FEED, LIVE_ORDER_FEED, SANDBOX_HOST
from meshkit.policy import GATEWAY, OPERATOR
from tools.istio_parts import HEAD
from tools.mesh_policy.documents import Body, Document, manifest, text
from tools.mesh_policy.table import Rpc, contracts, of_service, read_rpcs
from tools.mesh_policy.traffic import host_of
from tradekit.services import MONITOR, PAGE_PORT, SERVICES, VALIDATOR, Need, ServiceName

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "istio" / "base" / "network"
NAMESPACE = "crypto-trading"
DATABASE_HOST = f"trading-db-rw.{NAMESPACE}.svc.cluster.local"
SIMULATOR_HOST = f"exchange-sim.{NAMESPACE}.svc.cluster.local"
# Namespaces of what others run: the collector of traces, a server of language models, and who scrapes metrics.
COLLECTORS, OLLAMA, MONITORING = "observability", "ollama", "monitoring"
_ISTIOD_PORT, _METRICS_PORTS = 15012, (15020, 15090)
_DATABASE_PORT, _OLLAMA_PORT = 5432, 11434
# A service's own telemetry goes by HTTP, its sidecar's traces by gRPC (istio/mesh-config.yaml).
_COLLECTOR_PORTS = (4317, 4318)


def rendered() -> dict[str, str]:
    """File name and text of the Sidecars, the NetworkPolicies and their list."""
    files = {"sidecars.yaml": _text(sidecars()), "network-policies.yaml": _text(network_policies())}
    listed = "".join(f"  - {name}\n" for name in files)
    head = f"# {HEAD}\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
    return {**files, "kustomization.yaml": head + listed}


def reachable(service: ServiceName) -> tuple[ServiceName, ...]:
    """The services that one has business with."""
    return tuple(dict.fromkeys((*service.calls, *service.asks_health_of)))


def exchange_hosts(service: ServiceName) -> list[str]:
    """Hosts of the exchanges that a service may talk to: those of every overlay, as a Sidecar lists what may not be there."""
    if not {Need.CANDLES, Need.ORDERS} & service.needs:
        return []
    hosts = [LIVE_HOST.name]
    if Need.ORDERS in service.needs:
        hosts += [host.name for host in (LIVE_ORDER_FEED, LIVE_MARKET_FEED, SANDBOX_HOST)]
    return [SIMULATOR_HOST, *hosts]


def sidecars() -> list[Document]:
    """One for each service, and one that gives every other pod nothing."""
    nothing: Body = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}, "egress": [{"hosts": ["istio-system/*"]}]}
    api = "networking.istio.io/v1"
    found = [Document("Whoever is not named below reaches nobody.", manifest(api, "Sidecar", "default", nothing))]
    for service in SERVICES:
        hosts = [f"./{host_of(one)}" for one in reachable(service)]
        hosts += [f"./{DATABASE_HOST}"] if Need.DATABASE in service.needs else []
        hosts += [f"./{host}" for host in exchange_hosts(service)]
        hosts += [f"{OLLAMA}/*"] if service is VALIDATOR else []
        spec = {
            "workloadSelector": {"labels": {"app": service.name}},
            "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
            "egress": [{"hosts": [*hosts, f"{COLLECTORS}/*", "istio-system/*"]}],
        }
        found.append(Document(f"What {service.name} reaches.", manifest(api, "Sidecar", service.name, spec)))
    shell: Body = {
        "workloadSelector": {"labels": {"app": OPERATOR}},
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        "egress": [{"hosts": [*(f"./{host_of(one)}" for one in SERVICES), "istio-system/*"]}],
    }
    found.append(Document("A shell of the operator reaches every service.", manifest(api, "Sidecar", OPERATOR, shell)))
    return found


def network_policies() -> list[Document]:
    """Nothing in or out but what is named; and for each pod with a sidecar the way to names, certificates and scrapers."""
    rpcs = read_rpcs(contracts())
    api = "networking.k8s.io/v1"
    closed: Body = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    names: Body = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [_port(53, "UDP"), _port(53)]}]}
    found = [
        Document("Nothing in, nothing out.", manifest(api, "NetworkPolicy", "default-deny", closed)),
        Document("Everybody may ask for names.", manifest(api, "NetworkPolicy", "names", names)),
    ]
    for service in SERVICES:
        spec = {
            "podSelector": {"matchLabels": {"app": service.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": _ingress(service, of_service(rpcs, service)),
            "egress": _egress(service),
        }
        why = f"Who reaches {service.name}, and whom it reaches."
        found.append(Document(why, manifest(api, "NetworkPolicy", service.name, spec)))
    found.append(Document("Who reaches the database.", manifest(api, "NetworkPolicy", "trading-db", _database())))
    shell = {"podSelector": {"matchLabels": {"app": OPERATOR}}, "policyTypes": ["Egress"], "egress": _shell()}
    why = "A shell of the operator reaches every service."
    found.append(Document(why, manifest(api, "NetworkPolicy", OPERATOR, shell)))
    for job in ("migrate", "train"):
        spec = {"podSelector": {"matchLabels": {"app": job}}, "policyTypes": ["Egress"], "egress": [_to_database()]}
        found.append(Document(f"The job {job} reaches the database.", manifest(api, "NetworkPolicy", job, spec)))
    return found


def _ingress(service: ServiceName, rpcs: Sequence[Rpc]) -> list[Body]:
    callers = {caller for rpc in rpcs for caller in rpc.callers}
    callers |= {one.name for one in SERVICES if service in one.asks_health_of}
    apps = sorted(callers - {GATEWAY})
    peers: list[Body] = [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": apps}]}}]
    if GATEWAY in callers:
        peers.append({"podSelector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": GATEWAY}}})
    rules: list[Body] = [{"from": peers, "ports": [_port(service.port)]}]
    if service is MONITOR:
        rules.append({"from": peers[1:], "ports": [_port(PAGE_PORT)]})
    rules.append({"from": [_namespace(MONITORING)], "ports": [_port(port) for port in _METRICS_PORTS]})
    return rules


def _egress(service: ServiceName) -> list[Body]:
    rules: list[Body] = [
        {"to": [{"podSelector": {"matchLabels": {"app": one.name}}}], "ports": [_port(one.port)]}
        for one in reachable(service)
    ]
    rules += [_to_database()] if Need.DATABASE in service.needs else []
    if service is VALIDATOR:
        rules.append({"to": [_namespace(OLLAMA)], "ports": [_port(_OLLAMA_PORT)]})
    rules.append({"to": [_namespace("istio-system")], "ports": [_port(_ISTIOD_PORT)]})
    rules.append({"to": [_namespace(COLLECTORS)], "ports": [_port(port) for port in _COLLECTOR_PORTS]})
    return rules


def _shell() -> list[Body]:
    rules: list[Body] = [
        {"to": [{"podSelector": {"matchLabels": {"app": one.name}}}], "ports": [_port(one.port)]} for one in SERVICES
    ]
    return [*rules, {"to": [_namespace("istio-system")], "ports": [_port(_ISTIOD_PORT)]}]


def _database() -> Body:
    apps = [*(one.name for one in SERVICES if Need.DATABASE in one.needs), "migrate", "train"]
    peers = [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": sorted(apps)}]}}]
    selector = {"matchLabels": {"app": "trading-db"}}
    return {
        "podSelector": selector,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [_port(_DATABASE_PORT)]}],
    }


def _to_database() -> Body:
    return {"to": [{"podSelector": {"matchLabels": {"app": "trading-db"}}}], "ports": [_port(_DATABASE_PORT)]}


def _namespace(name: str) -> Body:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _port(number: int, protocol: str = "TCP") -> Body:
    return {"protocol": protocol, "port": number}


def _text(documents: Sequence[Document]) -> str:
    return text(documents, HEAD)
