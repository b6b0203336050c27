"""What runs in each overlay: bounded, restricted pods whose ports, variables and secrets agree with the code."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cli.effective import settings_class
from cluster.entry import module_of
from cluster.keys import EXCHANGE_NAMES, SETS
from exchange_sim.settings import Settings as SimulatorSettings
from meshkit.health import LIVE
from meshkit.lifecycle import longest_drain_seconds
from schema.grants import ROLES
from tests.istio.manifests import (
    OVERLAYS,
    Document,
    containers_of,
    environment_of,
    of_kind,
    overlay,
    pod_of,
    template_of,
    variables_of,
    workloads,
)
from tradekit.services import EXECUTOR, SERVICES, ServiceName
from tradekit.states import Venue

MADE = {
    "mesh": {"ticket-signing-key", "ticket-public-key", "model-signing-key", "model-public-key"},
    "exchange": {"coinbase-api", "exchange-sim-keys", "exchange-sim-tls"},
    "database": {"trading-database"},
}
# The sidecar ends after its service: Istio's terminationDrainDuration, and as much again to stop.
SIDECAR_DRAIN_SECONDS = 10
VENUES = {"dev": Venue.SIMULATED, "staging": Venue.SIMULATED, "prod": Venue.LIVE}


def secret_names(pod: Document) -> set[str]:
    """Every Secret that a pod wants."""
    volumes = {one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one}
    entries = [entry for one in pod["containers"] for entry in one.get("env", [])]
    return volumes | {
        one["valueFrom"]["secretKeyRef"]["name"] for one in entries if "secretKeyRef" in one.get("valueFrom", {})
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_secret_comes_from_somebody(name: str) -> None:
    documents = overlay(name)
    wanted = {secret for workload in workloads(documents).values() for secret in secret_names(pod_of(workload))}
    external = {one["spec"]["target"]["name"] for one in of_kind(documents, "ExternalSecret").values()}
    keys = of_kind(documents, "Job").get("keys")
    sets = [] if keys is None else pod_of(keys)["containers"][0]["args"][1:]
    made = {secret for one in sets for secret in MADE[one]}
    # CloudNativePG makes the authority of its own certificates.
    operator = {f"{cluster}-ca" for cluster in of_kind(documents, "Cluster")}
    assert not external & made, "two would make it"
    assert wanted <= external | made | operator
    assert of_kind(documents, "Secret") == {}
    if keys is not None:
        rules = of_kind(documents, "Role")["keys"]["rules"]
        assert rules[0] == {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}
        assert set(rules[1].pop("resourceNames")) == set().union(*MADE.values())
        assert rules[1:] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    assert MADE.keys() == SETS.keys()


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_pod_is_restricted_and_bounded(name: str) -> None:
    for workload_name, workload in workloads(overlay(name)).items():
        pod = pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True, workload_name
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is (workload_name == "keys")
        assert pod["serviceAccountName"] == workload_name
        for container in containers_of(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}
            assert "command" not in container, "the image's own entry takes signals from the first moment"
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for container in containers_of(workload) for mount in container["volumeMounts"]}
        assert mounted == volumes, workload_name


@pytest.mark.parametrize("name", OVERLAYS)
def test_arguments_name_processes_of_the_image(name: str) -> None:
    for workload_name, workload in workloads(overlay(name)).items():
        for container in containers_of(workload):
            module = module_of(container["args"][0])
            assert module is not None, workload_name
            assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_service_starts_with_what_it_is_given(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings class of each service takes its variables; the files that they name are there."""
    documents = overlay(name)
    for variable in [one for one in os.environ if one.startswith(("DB_", "MESH_", "EXCHANGE_"))]:
        monkeypatch.delenv(variable)
    for service in SERVICES:
        settings = _loaded(documents, service, tmp_path)
        assert settings.venue is VENUES[name]
        assert settings.mesh_auth == "xfcc"
        assert settings.port == service.port
        assert settings.db_host == "trading-db-rw"
        assert longest_drain_seconds(settings) + SIDECAR_DRAIN_SECONDS <= _grace(documents, service)
        assert settings.mesh_reflection is (name == "dev")


def test_the_executor_of_prod_refuses_to_start_until_somebody_names_the_portfolio(tmp_path: Path) -> None:
    documents = overlay("prod")
    with pytest.raises(ValidationError, match="set LIVE_CONFIRM to the portfolio's UUID"):
        _settings(documents, EXECUTOR, tmp_path, {})


def _grace(documents: list[Document], service: ServiceName) -> float:
    return float(pod_of(of_kind(documents, "Deployment")[service.name])["terminationGracePeriodSeconds"])


def _loaded(documents: list[Document], service: ServiceName, folder: Path) -> Any:
    return _settings(documents, service, folder, {"LIVE_CONFIRM": "7b9a4a52-0000-4000-8000-000000000000"})


def _settings(documents: list[Document], service: ServiceName, folder: Path, instead_of_empty: dict[str, str]) -> Any:
    (container,) = pod_of(of_kind(documents, "Deployment")[service.name])["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    values: dict[str, str] = {}
    for variable, value in environment_of(documents, container).items():
        if variable.endswith(("_FILE", "_DIR")):
            assert value is not None
            assert any(value.startswith(f"{path}") for path in mounts), f"{service.name}: {variable}={value} is nowhere"
            file = folder / variable
            file.touch()
            value = str(file if variable.endswith("_FILE") else folder)
        if not value:
            value = "secret" if value is None else instead_of_empty.get(variable, "")
        values[variable] = value
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in values.items():
            environment.setenv(variable, value)
        return settings_class(service)()


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_variable_is_one_that_somebody_reads(name: str) -> None:
    documents = overlay(name)
    known = {variable for service in SERVICES for variable in variables_of(settings_class(service))}
    assert set(of_kind(documents, "ConfigMap")["crypto-trading-config"]["data"]) <= known
    for service in SERVICES:
        (container,) = pod_of(of_kind(documents, "Deployment")[service.name])["containers"]
        assert {entry["name"] for entry in container.get("env", [])} <= set(variables_of(settings_class(service)))


@pytest.mark.parametrize("name", OVERLAYS)
def test_services_find_their_pods(name: str) -> None:
    documents = overlay(name)
    pods = [one for one in workloads(documents).values() if one["kind"] != "Job"]
    for service_name, service in of_kind(documents, "Service").items():
        selected = [
            one for one in pods if service["spec"]["selector"].items() <= template_of(one)["metadata"]["labels"].items()
        ]
        assert len(selected) == 1, service_name
        ports = {port["name"] for container in pod_of(selected[0])["containers"] for port in container["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports
            assert "appProtocol" in port
        # Headless, a service would lose the balancing of each call.
        assert service["spec"].get("clusterIP") is None


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_start_is_judged_by_whether_the_process_answers(name: str) -> None:
    deployments = of_kind(overlay(name), "Deployment")
    for service in SERVICES:
        (container,) = pod_of(deployments[service.name])["containers"]
        assert container["startupProbe"]["grpc"] == {"port": service.port, "service": LIVE}
        assert container["livenessProbe"]["grpc"] == {"port": service.port, "service": LIVE}
        assert container["readinessProbe"]["grpc"] == {"port": service.port, "service": ""}
        probe = container["startupProbe"]
        # 72 s were seen on a busy node of two cores.
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 300


@pytest.mark.parametrize("name", ["dev", "staging"])
def test_the_simulated_exchange_is_certified_for_what_it_is_called(name: str, tmp_path: Path) -> None:
    documents = overlay(name)
    deployments = of_kind(documents, "Deployment")
    (container,) = pod_of(deployments["exchange-sim"])["containers"]
    given = environment_of(documents, container)
    settings = SimulatorSettings(**{variable.removeprefix("SIM_").lower(): value for variable, value in given.items()})
    assert settings.host_names() == EXCHANGE_NAMES
    probe = container["startupProbe"]
    assert probe["httpGet"] == container["livenessProbe"]["httpGet"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 300
    for service in ("market", "executor"):
        (client,) = pod_of(deployments[service])["containers"]
        host, port = str(environment_of(documents, client)["EXCHANGE_HOST"]).split(":")
        assert host in settings.host_names()
        assert int(port) == settings.port
    # It is the world outside of the mesh, and has no sidecar.
    assert template_of(deployments["exchange-sim"])["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_staging_has_no_way_to_the_real_exchange() -> None:
    documents = overlay("staging")
    assert "coinbase-api" not in of_kind(documents, "ExternalSecret")
    assert of_kind(documents, "ServiceEntry") == {}
    assert "to-coinbase" not in of_kind(documents, "NetworkPolicy")


@pytest.mark.parametrize("name", OVERLAYS)
def test_requests_leave_room_for_a_rollout_on_a_small_node(name: str) -> None:
    if name != "dev":
        return
    deployments = of_kind(overlay(name), "Deployment")
    asked = sum(
        _milli(container["resources"]["requests"]["cpu"])
        for one in deployments.values()
        for container in containers_of(one)
    )
    sidecars = sum(
        _milli(template_of(one)["metadata"]["annotations"]["sidecar.istio.io/proxyCPU"])
        for one in deployments.values()
        if template_of(one)["metadata"]["labels"].get("sidecar.istio.io/inject") != "false"
    )
    # Twice, as in a rollout of everything, on a node of one core.
    assert 2 * (asked + sidecars) <= 1000


def _milli(cpu: str) -> int:
    return int(cpu.removesuffix("m")) if cpu.endswith("m") else int(float(cpu) * 1000)


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_process_takes_on_its_role_in_the_database(name: str) -> None:
    """And where the owner may make no roles, the database is made with those that are wanted."""
    documents = overlay(name)
    taken_on = {
        workload: environment_of(documents, pod_of(one)["containers"][0]).get("DB_ROLE")
        for workload, one in workloads(documents).items()
    }
    assert {one.name: taken_on[one.name] for one in SERVICES} == {one.name: ROLES[one.name] for one in SERVICES}
    assert taken_on["train"] == ROLES["training"] and taken_on["migrate"] is None
    for made in of_kind(documents, "Cluster").values():
        bootstrap = made["spec"]["bootstrap"]["initdb"]
        *creates, grant = bootstrap["postInitSQL"]
        assert sorted(creates) == sorted(f"CREATE ROLE {role} LOGIN" for role in ROLES.values())
        granted, _, owner = grant.removeprefix("GRANT ").partition(" TO ")
        assert sorted(granted.replace(",", " ").split()) == sorted(ROLES.values()) and owner == bootstrap["owner"]
