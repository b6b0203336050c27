"""The mesh's policies from the contracts: current, valid, complete, and agreeing with clients, servers and workloads."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from meshkit.policy import Effect, service_config
from tests.istio.authorization_oracle import allowed
from tests.istio.spoiled_contracts import Change, policy_in, spoiled
from tools import istio_base
from tools.mesh_policy.__main__ import differences, write
from tools.mesh_policy.authorization import HEALTH_PATHS, REFLECTION_PATHS, authorization
from tools.mesh_policy.rendered import FOLDER, PAGE, rendered
from tools.mesh_policy.sources import error_reasons
from tools.mesh_policy.table import ContractRefused, Rpc, contracts, principal, read_rpcs
from tradekit.services import EXECUTOR, IDENTITIES, MONITOR, PAGE_PORT, SERVICES, ServiceName
from trading.options.v1 import policy_pb2

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT.parent / "shared" / "schemas" / "istio"
RPCS = read_rpcs(contracts())
FILES = rendered(RPCS)
Document = dict[str, Any]


def documents_of(name: str) -> list[Document]:
    return [*yaml.safe_load_all(FILES[f"{FOLDER}/{name}"])]


REFLECTION = documents_of("reflection/authorization.yaml")
AUTHORIZATION = documents_of("authorization.yaml")
ROUTES = {document["metadata"]["name"]: document["spec"] for document in documents_of("virtual-services.yaml")}
RULES = {document["metadata"]["name"]: document["spec"] for document in documents_of("destination-rules.yaml")}


def host_of(service: ServiceName) -> str:
    return f"{service.name}.crypto-trading.svc.cluster.local"


def first_route(service: ServiceName, path: str, port: int) -> Document:
    """The route that a sidecar takes: the first with a match, or with none at all."""
    for route in ROUTES[service.name]["http"]:
        matches = route.get("match", [{}])
        for match in matches:
            assert set(match) <= {"uri", "port"}
            if match.get("uri", {}).get("exact", path) == path and match.get("port", port) == port:
                return route
    raise AssertionError(f"{path} has no route")


def seconds(text: str) -> float:
    assert re.fullmatch(r"[0-9.]+s", text), text
    return float(text[:-1])


# ---- the files ---------------------------------------------------------------------------------------------------------


def test_the_files_are_what_the_contracts_give() -> None:
    assert differences(FILES, ROOT) == [], "run make proto"
    assert rendered(read_rpcs(contracts())) == FILES


def test_each_file_says_where_it_comes_from_and_what_an_overlay_names_is_left_out_of_the_list() -> None:
    for path, text in FILES.items():
        assert "change it there" in text.splitlines()[0], path
    listed = {f"{FOLDER}/{name}" for name in documents_of("kustomization.yaml")[0]["resources"]}
    assert set(FILES) - listed == {
        PAGE,
        f"{FOLDER}/kustomization.yaml",
        *(path for path in FILES if path.startswith((f"{FOLDER}/reflection/", f"{FOLDER}/ingress/"))),
    }


def test_a_file_that_is_changed_missing_or_left_over_is_found(tmp_path: Path) -> None:
    write(FILES, tmp_path)
    changed, missing, more = (f"{FOLDER}/{name}.yaml" for name in ("authorization", "destination-rules", "by-hand"))
    (tmp_path / changed).write_text(FILES[changed].replace("/sa/operator", "/sa/anybody"))
    (tmp_path / missing).unlink()
    (tmp_path / more).write_text("{}")
    assert differences(FILES, tmp_path) == sorted([changed, missing, more])
    write(FILES, tmp_path)
    assert differences(FILES, tmp_path) == []


def test_a_change_of_a_contract_is_a_change_of_the_files() -> None:
    """A deadline, a caller and a limit: each is seen in the files that it belongs to."""

    def change(method: Any) -> None:
        policy = policy_in(method)
        policy.deadline.seconds = 6
        policy.callers[:] = ["monitor"]
        policy.max_in_flight += 1

    other = {**contracts(), EXECUTOR: spoiled(EXECUTOR, {"GetOrder": change})}
    found = rendered(read_rpcs(other))
    names = {Path(path).name for path in FILES if found[path] != FILES[path]}
    assert names == {
        "authorization.yaml",
        "virtual-services.yaml",
        "destination-rules.yaml",
        "routes.yaml",
        "contract.md",
    }


def test_every_document_fits_its_schema() -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("the folder of schemas is not beside this checkout")
    index = json.loads((SCHEMAS / "index.json").read_text())
    files = {(entry["apiVersion"], entry["kind"]): entry["file"] for entry in index}
    checked = 0
    for path in FILES:
        if path == PAGE or path.endswith("kustomization.yaml"):
            continue
        for document in documents_of(path.removeprefix(f"{FOLDER}/")):
            schema = json.loads((SCHEMAS / files[document["apiVersion"], document["kind"]]).read_text())
            errors = [error.message for error in Draft202012Validator(schema).iter_errors(document)]
            assert errors == [], document["metadata"]["name"]
            assert not document["apiVersion"].endswith(("v1beta1", "v1alpha3"))
            assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", document["metadata"]["name"])
            assert document["metadata"]["namespace"] == "crypto-trading"
            checked += 1
    # Default deny, ALLOWs, two DENYs, reflection, gateway, PeerAuthentication; VirtualService, DestinationRule, GRPCRoute each.
    assert checked == 6 + 4 * len(SERVICES)


def test_kustomize_renders_the_folder_beside_the_base(tmp_path: Path) -> None:
    """As an overlay names them: a file of another folder could not be named."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    shutil.copytree(ROOT / "istio", tmp_path / "istio")
    overlay = tmp_path / "istio" / "overlay" / "kustomization.yaml"
    overlay.parent.mkdir()
    overlay.write_text("resources: [../base, ../generated, ../generated/reflection]\n")
    command = [kubectl, "kustomize", str(overlay.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    kinds = [document["kind"] for document in yaml.safe_load_all(done.stdout)]
    assert kinds.count("AuthorizationPolicy") == len(AUTHORIZATION) + 1
    assert kinds.count("VirtualService") == kinds.count("DestinationRule") == kinds.count("Deployment") == len(SERVICES)
    assert kinds.count("PeerAuthentication") == 1


# ---- who may call what -------------------------------------------------------------------------------------------------


def test_paths_are_rpcs_and_every_rpc_is_open_to_somebody() -> None:
    known = {rpc.path for rpc in RPCS}
    named = set()
    for document in [*AUTHORIZATION, *REFLECTION]:
        for rule in document["spec"].get("rules", []):
            for one in rule["to"]:
                named |= set(one["operation"]["paths"])
    assert named == known | set(HEALTH_PATHS) | set(REFLECTION_PATHS)
    routed = {m["uri"]["exact"] for s in ROUTES.values() for r in s["http"] for m in r.get("match", []) if "uri" in m}
    assert routed == known


def test_policies_select_workloads_and_principals_that_are_there() -> None:
    base = [document for text in istio_base.rendered().values() for document in yaml.safe_load_all(text)]
    accounts = {one["metadata"]["name"] for one in base if one["kind"] == "ServiceAccount"}
    ports = {
        one["spec"]["template"]["metadata"]["labels"]["app"]: {
            str(port["containerPort"]) for port in one["spec"]["template"]["spec"]["containers"][0]["ports"]
        }
        for one in base
        if one["kind"] == "Deployment"
    }
    # The operator's and the gateway's accounts belong to those who bring a shell and a gateway.
    known = {f"cluster.local/ns/crypto-trading/sa/{name}" for name in (*accounts, "operator", "gateway")}
    assert known == {principal(identity) for identity in IDENTITIES}
    for document in AUTHORIZATION[1:]:
        app = document["spec"]["selector"]["matchLabels"]["app"]
        for rule in document["spec"]["rules"]:
            (source,), (operation,) = rule["from"], rule["to"]
            ((_, names),) = source["source"].items()
            assert set(names) <= known
            assert len(set(names)) == len(names)
            assert set(operation["operation"]["ports"]) <= ports[app]
    assert AUTHORIZATION[0]["spec"] == {}
    (strict,) = documents_of("peer-authentication.yaml")
    assert strict["spec"] == {"mtls": {"mode": "STRICT"}}


def test_health_is_open_to_those_who_ask_for_it_in_code_and_to_the_operator() -> None:
    asking = {
        service
        for service in SERVICES
        for path in (ROOT / service.package).rglob("*.py")
        if "HealthStub(" in path.read_text()
    }
    assert asking == {service for service in SERVICES if service.asks_health_of}
    for service in SERVICES:
        expected = {one.name for one in SERVICES if service in one.asks_health_of} | {"operator"}
        for path in HEALTH_PATHS:
            found = {n for n in IDENTITIES if allowed(AUTHORIZATION, service.name, service.port, principal(n), path)}
            assert found == expected
    assert MONITOR.asks_health_of == tuple(service for service in SERVICES if service is not MONITOR)


def test_the_gateway_is_kept_out_of_a_change_that_is_open_to_everybody() -> None:
    """No contract opens one; if one does, by accident or not, then not to the world outside."""
    rpcs = read_rpcs({**contracts(), EXECUTOR: spoiled(EXECUTOR, {"SetTradingState": callers("*")})})
    documents = [document.body for document in authorization(rpcs)]
    path = "/trading.executor.v1.ExecutorService/SetTradingState"
    found = {n for n in IDENTITIES if allowed(documents, EXECUTOR.name, EXECUTOR.port, principal(n), path)}
    assert found == set(IDENTITIES) - {"gateway"}


def test_reflection_is_open_by_its_own_file_alone() -> None:
    for path in REFLECTION_PATHS:
        for name, service in ((name, service) for name in IDENTITIES for service in SERVICES):
            call = (service.name, service.port, principal(name), path)
            assert not allowed(AUTHORIZATION, *call)
            opened = allowed([*AUTHORIZATION, *REFLECTION], *call)
            assert opened is (name in ("operator", "gateway"))


# ---- time, repetition, limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: f"{rpc.service.name}-{rpc.name}")
def test_the_route_of_an_rpc_has_its_time_and_its_repetition(rpc: Rpc) -> None:
    route = first_route(rpc.service, rpc.path, rpc.service.port)
    option = rpc.method.GetOptions().Extensions[policy_pb2.policy]
    deadline = option.deadline.ToMilliseconds() / 1000
    retries = route["retries"]
    streams = rpc.method.client_streaming or rpc.method.server_streaming
    if streams or option.effect == policy_pb2.EFFECT_ONCE:
        assert retries == {"attempts": 0}
    else:
        assert retries["attempts"] > 0
        conditions = set(retries["retryOn"].split(","))
        assert conditions >= {"connect-failure", "refused-stream"}
        if option.effect == policy_pb2.EFFECT_IDEMPOTENT:
            # Only what the server never saw; nothing cuts a try short.
            assert conditions == {"connect-failure", "refused-stream"}
            assert "perTryTimeout" not in retries
        else:
            assert conditions == {"connect-failure", "refused-stream", "reset", "unavailable"}
            assert seconds(retries["perTryTimeout"]) * (retries["attempts"] + 1) <= seconds(route["timeout"])
            # A try that is cut is one that is repeated.
            assert "reset" in conditions
    assert ("timeout" in route) is not streams
    assert streams or seconds(route["timeout"]) == deadline
    assert route["route"] == [{"destination": {"host": host_of(rpc.service), "port": {"number": rpc.service.port}}}]


def test_every_route_says_what_is_repeated_and_the_last_one_repeats_nothing() -> None:
    for service in SERVICES:
        spec = ROUTES[service.name]
        assert spec["hosts"] == [host_of(service)]
        names = [route["name"] for route in spec["http"]]
        assert len(set(names)) == len(names)
        assert all("attempts" in route["retries"] for route in spec["http"])
        last = spec["http"][-1]
        assert last.keys() == {"name", "route", "retries"}
        assert last["retries"] == {"attempts": 0}
        for path in (*HEALTH_PATHS, "/no.such.Service/Method"):
            assert first_route(service, path, service.port) is last


def test_the_page_is_led_to_its_own_port() -> None:
    route = first_route(MONITOR, "/", PAGE_PORT)
    assert route["route"][0]["destination"]["port"] == {"number": PAGE_PORT}
    assert route["retries"] == {"attempts": 0}
    assert first_route(MONITOR, "/", MONITOR.port)["name"] == "default"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_clients_repeat_as_the_mesh_does_or_not_at_all(service: ServiceName) -> None:
    alone = json.loads(service_config(service.full_name))
    behind = json.loads(service_config(service.full_name, retries=False))
    for with_retries, without in zip(alone["methodConfig"], behind["methodConfig"], strict=True):
        path = f"/{service.full_name}/{with_retries['name'][0]['method']}"
        route = first_route(service, path, service.port)
        policy = with_retries.pop("retryPolicy", None)
        # A channel sends again what never arrived without being told.
        assert (policy is not None) is ("reset" in route["retries"].get("retryOn", ""))
        assert policy is None or policy["maxAttempts"] == route["retries"]["attempts"] + 1
        assert with_retries == without
        if "timeout" in route:
            assert seconds(without["timeout"]) == seconds(route["timeout"])
    assert alone.pop("retryThrottling")
    assert {**alone, "methodConfig": None} == {**behind, "methodConfig": None}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_sidecar_limits_later_than_the_server_and_leaves_no_only_replica_out(service: ServiceName) -> None:
    rule = RULES[service.name]
    assert rule["host"] == host_of(service)
    policy = rule["trafficPolicy"]
    assert "tls" not in policy
    assert policy["loadBalancer"]["simple"] == "LEAST_REQUEST"
    http = policy["connectionPool"]["http"]
    limits = [rpc.policy.max_in_flight for rpc in RPCS if rpc.service == service]
    assert http["http2MaxRequests"] > sum(limits) >= max(limits) > 0
    assert 0 < http["maxRetries"] < 100
    assert "maxRequestsPerConnection" not in http
    assert seconds(policy["connectionPool"]["tcp"]["connectTimeout"]) <= 1
    outliers = policy["outlierDetection"]
    assert outliers["consecutive5xxErrors"] == 0
    if service.pod.alone:
        assert outliers["consecutiveGatewayErrors"] == 0
    else:
        # With one replica left out of one, fewer than half are left: it is asked all the same.
        assert outliers["minHealthPercent"] == outliers["maxEjectionPercent"] == 50
    assert EXECUTOR.pod.alone


# ---- contracts that are refused ----------------------------------------------------------------------------------------


def no_policy(method: Any) -> None:
    method.options.ClearExtension(policy_pb2.policy)


def no_effect(method: Any) -> None:
    policy_in(method).effect = policy_pb2.EFFECT_UNSPECIFIED


def no_deadline(method: Any) -> None:
    policy_in(method).ClearField("deadline")


def with_deadline(method: Any) -> None:
    policy_in(method).deadline.seconds = 5


def no_limit(method: Any) -> None:
    policy_in(method).max_in_flight = 0


def callers(*names: str) -> Change:
    def change(method: Any) -> None:
        policy_in(method).callers[:] = names

    return change


@pytest.mark.parametrize(
    ("method", "change", "reason"),
    [
        ("GetOrder", no_policy, "has no method policy"),
        ("GetOrder", no_effect, "does not say its effect"),
        ("GetOrder", no_deadline, "answers once and has no deadline"),
        ("WatchOrders", with_deadline, "answers with a stream"),
        ("GetOrder", no_limit, "how many calls may be in flight"),
        ("GetOrder", callers(), "lets nobody call it"),
        ("GetOrder", callers("orchestrator", "orchestrater"), "lets 'orchestrater' call it, which is no identity"),
        ("GetOrder", callers("gateway"), "names 'gateway'"),
        ("GetOrder", callers("*", "operator"), "lets everybody call it and names operator besides"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_contract_is_refused_with_its_place(method: str, change: Change, reason: str) -> None:
    with pytest.raises(ContractRefused) as refused:
        read_rpcs({**contracts(), EXECUTOR: spoiled(EXECUTOR, {method: change})})
    (fault,) = refused.value.faults
    place, _, words = fault.partition(": ")
    file, _, line = place.partition(":")
    assert file == "proto/trading/executor/v1/executor_service.proto"
    assert (ROOT / file).read_text().splitlines()[int(line) - 1].strip().startswith(f"rpc {method}(")
    assert f"trading.executor.v1.ExecutorService.{method}" in words
    assert reason in words


def test_all_faults_are_told_at_once() -> None:
    changes = {"GetOrder": no_policy, "ListOrders": callers("nobody"), "WatchOrders": with_deadline}
    with pytest.raises(ContractRefused) as refused:
        read_rpcs({EXECUTOR: spoiled(EXECUTOR, changes)})
    assert len(refused.value.faults) == 3
    assert str(refused.value).count("executor_service.proto:") == 3


# ---- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_has_a_row_for_each_rpc_and_knows_every_reason() -> None:
    text = FILES[PAGE]
    for rpc in RPCS:
        table = text.split(f"`{rpc.service.full_name}`")[1].split("\n## ")[0]
        (row,) = re.findall(rf"^\| `{rpc.name}`.*$", table, re.M)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 7
        assert cells[2] == rpc.policy.effect.value
        assert (cells[5] == "never") is (rpc.policy.effect is Effect.ONCE or rpc.name == "ImportCandles")
    reasons = set(re.findall(r"`([A-Z][A-Z_]{3,})`", text)) - {effect.value for effect in Effect}
    assert reasons == set(error_reasons())
    assert "`TICKET_REFUSED`" in re.findall(r"^\| `ExecuteRecommendation`.*$", text, re.M)[0]
