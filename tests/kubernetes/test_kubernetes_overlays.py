"""The overlays staging and prod, judged by a real API server and by istiod's webhook, as far as their kinds are known there."""

from collections import Counter
from typing import Any

import pytest
import yaml

from tests.kubernetes.cluster import NAMESPACE, Cluster, overlay
from tests.kubernetes.edge import ensure_gateway_api
from tests.kubernetes.seen import tell

pytestmark = pytest.mark.timeout(1800)


def known_kinds(place: Cluster) -> set[tuple[str, str]]:
    """Version and kind of all that the API server takes."""
    told = place.run("kubectl", "api-resources", "--no-headers").splitlines()
    return {(words[-3], words[-1]) for words in (line.split() for line in told)}


def elsewhere(document: Any, namespace: str) -> Any:
    """The document in another namespace: what is there already and may not change is no measure of it."""
    metadata = document["metadata"]
    if document["kind"] == "Namespace":
        metadata["name"] = namespace
    elif "namespace" in metadata:
        assert metadata["namespace"] == NAMESPACE
        metadata["namespace"] = namespace
    return document


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_the_api_server_takes_every_document(mesh: Cluster, name: str) -> None:
    ensure_gateway_api(mesh)
    kinds, namespace = known_kinds(mesh), f"trial-{name}"
    documents = [elsewhere(one, namespace) for one in yaml.safe_load_all(overlay(mesh.folder, name)) if one]
    taken = [one for one in documents if (one["apiVersion"], one["kind"]) in kinds]
    left = Counter(one["kind"] for one in documents if one not in taken)
    first = [one for one in taken if one["kind"] == "Namespace"]
    assert len(first) == 1
    try:
        mesh.apply(yaml.safe_dump_all(first))
        done = mesh.done(
            *("kubectl", "apply", "--server-side", "--dry-run=server", "-f", "-"),
            stdin=yaml.safe_dump_all(taken),
            seconds=300,
        )
    finally:
        mesh.run("kubectl", "delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
    warned = [line for line in done.stderr.splitlines() if line.startswith("Warning")]
    tell(f"{name}: {len(taken)} documents taken, {len(left)} kinds not known there {dict(left)} {warned or ''}")
    assert done.returncode == 0, done.stderr
    assert not warned, "such as a pod that the namespace's level would refuse"
    assert len(done.stdout.splitlines()) == len(taken)
    assert set(left) <= {"ExternalSecret", "Cluster", "ScheduledBackup", "ScaledObject", "PodMonitor", "PrometheusRule"}
