"""Every overlay renders, and every document of it is one that its API takes."""

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.istio.manifests import OVERLAYS, ROOT, Document, of_kind, overlay, pod_of, with_component, workloads

SCHEMAS = ROOT.parent / "shared" / "schemas" / "istio"
KUBERNETES = "1.37"
# APIs of which Kubernetes itself knows the fields.
CORE = re.compile(r"v1|(apps|batch|autoscaling|policy|(networking|rbac\.authorization|scheduling)\.k8s\.io)/v\d")


@functools.cache
def _validators() -> dict[tuple[str, str], Draft202012Validator]:
    index = json.loads((SCHEMAS / "index.json").read_text())
    read = {(one["apiVersion"], one["kind"]): json.loads((SCHEMAS / one["file"]).read_text()) for one in index}
    return {key: Draft202012Validator(schema) for key, schema in read.items()}


def faults_of(document: Document) -> list[str]:
    """What is wrong with a document; a kind that nobody knows is."""
    api, kind = document["apiVersion"], document["kind"]
    if CORE.fullmatch(api):
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [str(error.message)]
        return []
    validator = _validators().get((api, kind))
    if validator is None:
        return [f"nobody here knows {api} {kind}"]
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_document_fits_its_schema(name: str) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("the folder of schemas is not beside this checkout")
    wrong = {f"{one['kind']}/{one['metadata']['name']}": found for one in overlay(name) if (found := faults_of(one))}
    assert wrong == {}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_signal_service_may_be_several_pods_each_with_a_share(name: str, tmp_path: Path) -> None:
    documents = with_component(name, "signal-shards", tmp_path)
    alone = of_kind(overlay(name), "Deployment")["signal"]
    assert "signal" not in of_kind(documents, "Deployment")
    shards = of_kind(documents, "StatefulSet")["signal"]
    if SCHEMAS.is_dir():
        assert faults_of(shards) == []
    (container,) = pod_of(shards)["containers"]
    given = {one["name"]: one for one in container["env"]}
    assert given["SIGNAL_SHARDS"]["value"] == str(shards["spec"]["replicas"]) == "2"
    number = given["SIGNAL_SHARD"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert number == "metadata.labels['apps.kubernetes.io/pod-index']"
    # Everything else is as in the one pod that it is elsewhere.
    mine, theirs = pod_of(shards), pod_of(alone)
    container["env"] = [one for one in container["env"] if not one["name"].startswith("SIGNAL_SHARD")]
    assert mine == theirs
    assert shards["spec"]["serviceName"] in of_kind(documents, "Service")


def test_a_field_that_nobody_knows_and_a_kind_that_nobody_knows_are_found() -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("the folder of schemas is not beside this checkout")
    documents = overlay("prod")
    for kind, spoiled in (("Deployment", "replica"), ("Sidecar", "outboundPolicy"), ("GRPCRoute", "rule")):
        document = next(iter(of_kind(documents, kind).values()))
        assert faults_of({**document, "spec": {**document["spec"], spoiled: 1}}), kind
    assert faults_of({"apiVersion": "example.org/v1", "kind": "Sidecar", "metadata": {"name": "x"}})


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_old_api_and_no_name_twice(name: str) -> None:
    documents = overlay(name)
    istio = {document["apiVersion"] for document in documents if ".istio.io/" in document["apiVersion"]}
    assert istio == {"networking.istio.io/v1", "security.istio.io/v1"} | (
        {"telemetry.istio.io/v1"} if name != "dev" else set()
    )
    keys = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in documents]
    assert len(keys) == len(set(keys))
    cluster_wide = {"Namespace", "PriorityClass"}
    assert {one["metadata"].get("namespace") for one in documents if one["kind"] not in cluster_wide} == {
        "crypto-trading"
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_image_is_the_one_of_the_mesh_with_a_version(name: str) -> None:
    images = {
        container["image"]
        for workload in workloads(overlay(name)).values()
        for container in [
            *workload["spec"]["template"]["spec"].get("initContainers", []),
            *workload["spec"]["template"]["spec"]["containers"],
        ]
    }
    assert len(images) == 1
    assert re.fullmatch(r"(registry\.example\.com/)?trading-mesh:[0-9]+\.[0-9]+\.[0-9]+", images.pop())


@pytest.mark.parametrize("name", OVERLAYS)
def test_istioctl_finds_nothing(name: str, tmp_path: Path) -> None:
    istioctl = shutil.which("istioctl") or shutil.which("istioctl", path=str(Path.home() / ".cache/test-cluster/bin"))
    if istioctl is None:
        pytest.skip("istioctl is not at hand; the schemas alone judge")
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(overlay(name)))
    done = subprocess.run(
        [istioctl, "validate", "-f", str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
