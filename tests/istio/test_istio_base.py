"""The rendered base: eight workloads whose ports, probes, selectors, variables and secrets agree with the code."""

import re

import pytest
from pydantic import SecretStr

from cli.effective import settings_class
from cluster.entry import module_of
from meshkit.health import LIVE
from tests.istio.manifests import ROOT, Document, documents_of, of_kind, pod_of, variables_of
from tools.istio_base import FOLDER, all_files
from tradekit.services import MONITOR, PAGE_PORT, SERVICES, ServiceName


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    """What `kubectl kustomize` makes of the base."""
    return documents_of("istio/base")


@pytest.fixture(scope="session")
def deployments(documents: list[Document]) -> dict[str, Document]:
    return of_kind(documents, "Deployment")


def container_of(deployment: Document) -> Document:
    (container,) = pod_of(deployment)["containers"]
    return container


def test_rendered_folders_are_what_the_generator_gives() -> None:
    files = all_files()
    there = {path: path.read_text() for folder in {one.parent for one in files} for path in folder.iterdir()}
    assert FOLDER / "risk.yaml" in files
    assert there == files, "run tools/istio_base.py"


def test_the_workloads_are_the_eight_services(documents: list[Document], deployments: dict[str, Document]) -> None:
    names = {service.name for service in SERVICES}
    assert set(of_kind(documents, "Deployment")) == set(of_kind(documents, "Service")) == names
    assert set(of_kind(documents, "Job")) == {"migrate", "train"}
    assert set(of_kind(documents, "ServiceAccount")) == names | {"operator", "migrate", "train"}
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
    for kind, name in (("startupProbe", LIVE), ("readinessProbe", ""), ("livenessProbe", LIVE)):
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
    assert container["args"] == [service.name]
    assert module_of(service.name) == service.package
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

    taken = {name.lower(): value for name, value in config.items()}
    settings = TradingSettings(service_name="check", port=1, **taken)
    assert settings.venue.value == config["VENUE"]
    assert settings.mesh_auth == "xfcc"
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
    assert init["args"] == ["own-key", "/secret/private.pem", where]
    assert not {"ticket-signing-key"} & {mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["own-key"]["emptyDir"]["medium"] == "Memory"


def test_the_model_needs_no_storage_that_many_nodes_can_mount(
    documents: list[Document], deployments: dict[str, Document]
) -> None:
    """Whoever mounts the volume is placed on one node, so a rollout does not wait for a node that cannot have it."""
    claim = of_kind(documents, "PersistentVolumeClaim")["model"]["spec"]
    assert claim["accessModes"] == ["ReadWriteOnce"]
    assert "storageClassName" not in claim
    expected = [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "signal"}}}]
    for workload in (deployments["signal"], of_kind(documents, "Job")["train"]):
        pod = pod_of(workload)
        assert {"name": "model", "persistentVolumeClaim": {"claimName": "model"}} in pod["volumes"]
        assert pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == expected
    (mount,) = [one for one in container_of(deployments["signal"])["volumeMounts"] if one["name"] == "model"]
    assert mount["readOnly"] is True


def test_jobs_may_run_again(documents: list[Document]) -> None:
    for name, job in of_kind(documents, "Job").items():
        assert job["spec"]["ttlSecondsAfterFinished"] <= 600, "a new image cannot be applied to one that is there"
        assert pod_of(job)["restartPolicy"] == "OnFailure"
        assert module_of(name) is not None
