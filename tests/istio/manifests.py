"""The overlays as `kubectl kustomize` renders them, and how a test finds its way in them."""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices

from meshkit.settings import KitSettings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("dev", "staging", "prod")
Document = dict[str, Any]


@functools.cache
def _text(folder: str) -> str:
    return _built(ROOT / folder)


def _built(folder: Path) -> str:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    command = [kubectl, "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return done.stdout


def documents_of(folder: str) -> list[Document]:
    """Every document of a folder such as istio/base."""
    return [document for document in yaml.safe_load_all(_text(folder)) if document]


def overlay(name: str) -> list[Document]:
    """Every document of an overlay."""
    return documents_of(f"istio/overlays/{name}")


def with_component(name: str, component: str, folder: Path) -> list[Document]:
    """An overlay as an operator adds a component to it: in a copy of `istio`, listed last."""
    copy = folder / "istio"
    shutil.copytree(ROOT / "istio", copy)
    file = copy / "overlays" / name / "kustomization.yaml"
    lines = yaml.safe_load(file.read_text())
    lines["components"] = [*lines.get("components", ()), f"../../components/{component}"]
    file.write_text(yaml.safe_dump(lines))
    return [document for document in yaml.safe_load_all(_built(file.parent)) if document]


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    """Documents of one kind by their names."""
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def workloads(documents: list[Document]) -> dict[str, Document]:
    """Everything that makes pods, by its name."""
    kinds = ("Deployment", "StatefulSet", "Job")
    return {name: one for kind in kinds for name, one in of_kind(documents, kind).items()}


def template_of(workload: Document) -> Document:
    """The template of its pods."""
    template: Document = workload["spec"]["template"]
    return template


def pod_of(workload: Document) -> Document:
    """What its pods are."""
    pod: Document = template_of(workload)["spec"]
    return pod


def containers_of(workload: Document) -> Iterator[Document]:
    """Every container of its pods."""
    yield from pod_of(workload).get("initContainers", [])
    yield from pod_of(workload)["containers"]


def environment_of(documents: list[Document], container: Document) -> dict[str, str | None]:
    """What a container is given as variables; None stands for the value of a Secret."""
    found: dict[str, str | None] = {}
    maps = of_kind(documents, "ConfigMap")
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]["data"]
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("configMapKeyRef")
        found[entry["name"]] = maps[reference["name"]]["data"][reference["key"]] if reference else entry.get("value")
    return found


def variables_of(settings: type[KitSettings]) -> dict[str, Any]:
    """Every environment variable of a settings class, with its field."""
    found: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        found |= {str(one).upper(): field for one in names}
    return found
