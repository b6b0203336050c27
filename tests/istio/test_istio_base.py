"""The rendered base: eight workloads whose ports, probes, selectors, variables and secrets agree with the code."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import AliasChoices, SecretStr

from cli.effective import settings_class
from meshkit.health import LIVE
from meshkit.settings import KitSettings
from tools.istio_base import FOLDER, rendered
from tradekit.services import MONITOR, PAGE_PORT, SERVICES, ServiceName

ROOT = Path(__file__).resolve().parents[2]
KNOWN_FIELDS = {
    "container": "name image command ports envFrom env startupProbe readinessProbe livenessProbe resources "
    "securityContext volumeMounts",
    "pod": "serviceAccountName automountServiceAccountToken enableServiceLinks terminationGracePeriodSeconds "
    "securityContext initContainers containers volumes",
    "probe": "grpc periodSeconds timeoutSeconds failureThreshold",
    "port": "name containerPort",
    "service port": "name port targetPort appProtocol",
    "deployment": "replicas minReadySeconds strategy selector template",
}
CORE = {"v1", "apps/v1"}

Document = dict[str, Any]


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    """What `kubectl kustomize` makes of the base."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", str(ROOT / "istio" / "base")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="session")
def deployments(documents: list[Document]) -> dict[str, Document]:
    return of_kind(documents, "Deployment")


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def pod_of(deployment: Document) -> Document:
    return deployment["spec"]["template"]["spec"]


def container_of(deployment: Document) -> Document:
    (container,) = pod_of(deployment)["containers"]
    return container


def variables_of(settings: type[KitSettings]) -> dict[str, Any]:
    """Every environment variable of a settings class, with its field."""
    found: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        found |= {str(one).upper(): field for one in names}
    return found


def test_services_folder_is_what_the_generator_gives() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == rendered(), "run tools/istio_base.py"


def test_the_workloads_are_the_eight_services(documents: list[Document], deployments: dict[str, Document]) -> None:
    names = {service.name for service in SERVICES}
    for kind in ("Deployment", "Service", "ServiceAccount"):
        assert set(of_kind(documents, kind)) == names, kind
    assert {document["metadata"].get("namespace") for document in documents if document["kind"] != "Namespace"} == {
        "crypto-trading"
    }
    (namespace,) = of_kind(documents, "Namespace").values()
    labels = namespace["metadata"]["labels"]
    assert labels["istio-injection"] == "enabled"
    assert "istio.io/rev" not in labels
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_ports_probes_and_selectors_agree(
    service: ServiceName, documents: list[Document], deployments: dict[str, Document]
) -> None:
    deployment, own = deployments[service.name], of_kind(documents, "Service")[service.name]
    template, container = deployment["spec"]["template"], container_of(deployment)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["grpc"] == service.port
    assert len(set(ports.values())) == len(ports)
    for kind, name in (("startupProbe", ""), ("readinessProbe", ""), ("livenessProbe", LIVE)):
        assert container[kind]["grpc"] == {"port": service.port, "service": name}, kind
    grpc = next(port for port in own["spec"]["ports"] if port["name"] == "grpc")
    assert grpc == {"name": "grpc", "port": service.port, "targetPort": "grpc", "appProtocol": "grpc"}
    assert {port["targetPort"] for port in own["spec"]["ports"]} <= set(ports)
    assert ("http-page" in ports) is (service is MONITOR)
    assert (
        ports.get("http-page", PAGE_PORT)
        == PAGE_PORT
        == variables_of(settings_class(MONITOR))["MONITOR_PAGE_PORT"].default
    )
    # A headless service would take the balancing per call away from the sidecar.
    assert own["spec"].get("clusterIP") is None
    for selector in (deployment["spec"]["selector"]["matchLabels"], own["spec"]["selector"]):
        assert selector.items() <= template["metadata"]["labels"].items()
        assert selector == {"app": service.name}
    assert container["command"] == ["python", "-P", "-m", service.package]
    assert (ROOT / service.package / "__main__.py").is_file()


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_pod_is_restricted_bounded_and_ends_in_time(
    service: ServiceName, documents: list[Document], deployments: dict[str, Document]
) -> None:
    pod, container = pod_of(deployments[service.name]), container_of(deployments[service.name])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] not in (0, 1337)  # 1337 is the sidecar's
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert pod["serviceAccountName"] == service.name
    assert pod["automountServiceAccountToken"] is False
    assert of_kind(documents, "ServiceAccount")[service.name]["automountServiceAccountToken"] is False
    config = of_kind(documents, "ConfigMap")["crypto-trading-config"]["data"]
    needed = float(config["DRAIN_NOTICE_SECONDS"]) + float(config["DRAIN_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] >= needed + 5
    volumes = {volume["name"] for volume in pod["volumes"]}
    containers = [container, *pod.get("initContainers", [])]
    assert {mount["name"] for one in containers for mount in one["volumeMounts"]} == volumes
    assert all(one["securityContext"] == container["securityContext"] for one in containers)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_variables_are_those_of_the_settings(
    service: ServiceName, documents: list[Document], deployments: dict[str, Document]
) -> None:
    pod, container = pod_of(deployments[service.name]), container_of(deployments[service.name])
    # Otherwise Kubernetes sets RISK_PORT=tcp://… for the Service risk, and every port setting is broken.
    assert pod["enableServiceLinks"] is False
    assert container["envFrom"] == [{"configMapRef": {"name": "crypto-trading-config"}}]
    variables = variables_of(settings_class(service))
    given = container.get("env", [])
    names = [entry["name"] for entry in given]
    assert set(names) <= set(variables)
    config = of_kind(documents, "ConfigMap")["crypto-trading-config"]["data"]
    required = {name for name, field in variables.items() if field.is_required()}
    assert required <= set(names) | set(config)
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    for entry in given:
        if entry["name"].endswith(("_FILE", "_DIR")):
            assert any(entry["value"].startswith(path) for path in mounted), entry["name"]


def test_config_map_names_settings_and_holds_values_that_they_take(documents: list[Document]) -> None:
    config = of_kind(documents, "ConfigMap")["crypto-trading-config"]["data"]
    known = {
        name: (settings_class(s), field) for s in SERVICES for name, field in variables_of(settings_class(s)).items()
    }
    assert set(config) <= set(known)
    assert all(isinstance(value, str) for value in config.values())
    for service in SERVICES:
        assert config[service.address_variable] == f"{service.name}:{service.port}"
    from tradekit.settings import TradingSettings

    # Everything but the address, which waits for an identity source, is a value that a service starts with.
    taken = {name.lower(): value for name, value in config.items() if name != "MESH_BIND"}
    settings = TradingSettings(service_name="check", port=1, **taken)
    assert settings.venue.value == config["VENUE"]
    assert not settings.mesh_reflection


def test_no_secret_stands_in_a_manifest(documents: list[Document], deployments: dict[str, Document]) -> None:
    assert of_kind(documents, "Secret") == {}
    secret_variables = {
        name
        for service in SERVICES
        for name, field in variables_of(settings_class(service)).items()
        if SecretStr.__name__ in str(field.annotation)
    }
    assert "DB_PASSWORD" in secret_variables
    config = of_kind(documents, "ConfigMap")["crypto-trading-config"]["data"]
    assert not secret_variables & set(config)
    for deployment in deployments.values():
        for entry in container_of(deployment).get("env", []):
            if entry["name"] in secret_variables:
                assert "value" not in entry
                assert entry["valueFrom"].keys() == {"secretKeyRef"}
    text = "\n".join(path.read_text() for path in (ROOT / "istio").rglob("*.yaml"))
    assert "PRIVATE KEY" not in text
    assert not re.search(r"organizations/[0-9a-f-]+/apiKeys", text)


def test_only_the_executor_holds_the_exchange_key_and_only_risk_the_signing_key(
    deployments: dict[str, Document],
) -> None:
    holders: dict[str, set[str]] = {}
    for name, deployment in deployments.items():
        for volume in pod_of(deployment)["volumes"]:
            if "secret" in volume:
                holders.setdefault(volume["secret"]["secretName"], set()).add(name)
    assert holders == {
        "coinbase-api": {"executor"},
        "ticket-public-key": {"executor"},
        "ticket-signing-key": {"risk"},
        "model-public-key": {"signal"},
    }


def test_a_rollout_runs_no_two_executors_and_no_other_service_goes_away(deployments: dict[str, Document]) -> None:
    """Locks, a halt and how long a send was watched are in the executor's process; the others lose nothing by an overlap."""
    strategies = {name: deployment["spec"]["strategy"] for name, deployment in deployments.items()}
    assert strategies.pop("executor") == {"type": "Recreate"}
    assert deployments["executor"]["spec"]["replicas"] == 1
    for name, strategy in strategies.items():
        assert strategy == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}, name


def test_the_signing_key_becomes_a_file_of_the_service_alone(deployments: dict[str, Document]) -> None:
    pod, container = pod_of(deployments["risk"]), container_of(deployments["risk"])
    (init,) = pod["initContainers"]
    where = next(entry["value"] for entry in container["env"] if entry["name"] == "TICKET_SIGNING_KEY_FILE")
    assert init["command"][:3] == ["install", "-m", "0600"]
    assert init["command"][-1] == where
    assert not {"ticket-signing-key"} & {mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["own-key"]["emptyDir"]["medium"] == "Memory"


def test_documents_hold_no_field_that_their_kind_does_not_know(
    documents: list[Document], deployments: dict[str, Document]
) -> None:
    def known(what: str, found: Document) -> None:
        assert set(found) <= set(KNOWN_FIELDS[what].split()), f"{what}: {set(found)}"

    for deployment in deployments.values():
        container = container_of(deployment)
        known("deployment", deployment["spec"])
        known("pod", pod_of(deployment))
        known("container", container)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            known("probe", container[probe])
        for port in container["ports"]:
            known("port", port)
            assert re.fullmatch(r"[a-z0-9-]{1,15}", port["name"])
    for service in of_kind(documents, "Service").values():
        for port in service["spec"]["ports"]:
            known("service port", port)
    for document in documents:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", document["metadata"]["name"])


def test_custom_resources_fit_their_schemas(documents: list[Document]) -> None:
    custom = [document for document in documents if document["apiVersion"] not in CORE]
    folder = ROOT.parent / "shared" / "schemas" / "istio"
    if custom and not folder.is_dir():
        pytest.skip("the folder of schemas is not beside this checkout")
    index = json.loads((folder / "index.json").read_text()) if custom else []
    files = {(entry["apiVersion"], entry["kind"]): entry["file"] for entry in index}
    for document in custom:
        name = files[document["apiVersion"], document["kind"]]
        schema = json.loads((folder / name).read_text())
        errors = [error.message for error in Draft202012Validator(schema).iter_errors(document)]
        assert errors == [], document["metadata"]["name"]
