"""What a test sees of a mesh on a cluster: what is available, how often it was started again, what flows."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster import NAMESPACE, Cluster, ended
from tradekit.services import SERVICES

WORKLOADS = tuple(service.name for service in SERVICES)
LOAD = (Path(__file__).parent / "load.py").read_text()


def tell(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def available(place: Cluster) -> set[str]:
    """Deployments whose pods are all ready."""
    found = place.got("deployments")["items"]
    return {
        one["metadata"]["name"]
        for one in found
        if one["status"].get("availableReplicas", 0)
        >= one["spec"]["replicas"]
        == one["status"].get("updatedReplicas", 0)
    }


def all_available(place: Cluster) -> bool:
    """Whether every service is."""
    return available(place) >= set(WORKLOADS)


def pods_of(place: Cluster, app: str) -> list[Any]:
    """The pods of a workload, those that are ending among them."""
    return list(place.got("pods", "-l", f"app={app}")["items"])


def ready(place: Cluster, pod: str) -> bool:
    """Whether all containers of a pod are ready."""
    found = place.got("pod", pod)["status"].get("containerStatuses", [])
    return bool(found) and all(one["ready"] for one in found)


def restarts(place: Cluster) -> dict[str, int]:
    """How often each container of a service, of a sidecar and of the exchange was started again, by pod and container."""
    found = {}
    for pod in place.got("pods", "-l", f"app in ({','.join((*WORKLOADS, 'exchange-sim'))})")["items"]:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        status = pod["status"]
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            found[f"{pod['metadata']['name']}/{container['name']}"] = container["restartCount"]
    return found


def pipeline(place: Cluster) -> Any:
    """The funnel, as the orchestrator tells it."""
    (told,) = place.call("orchestrator", "GetPipeline")
    return told


def open_recommendations(place: Cluster) -> int:
    """How many are not ended."""
    return int(pipeline(place).get("openRecommendations", 0))


def stage(told: Any, name: str) -> Any:
    """One stage of the funnel."""
    return next(one for one in told["stages"] if one["stage"] == name)


def total(told: Any, name: str) -> int:
    """Rows of a stage."""
    return int(stage(told, name).get("total", 0))


def outcome(told: Any, name: str, ended: str) -> int:
    """Rows of a stage that ended so, of both sides and for whatever reason."""
    counts = stage(told, name).get("outcomes", [])
    return sum(int(one["count"]) for one in counts if one["outcome"].split()[-1] == ended)


class Load:
    """A load from the operator's pod, until it is ended."""

    def __init__(self, place: Cluster, *arguments: str) -> None:
        inside = ("exec", "-i", "operator", "-c", "operator", "--", "python", "-P", "-c", LOAD, *arguments)
        self._process = place.begin("kubectl", "-n", NAMESPACE, *inside)

    def end(self) -> list[Any]:
        """What it tells of itself."""
        out, err = self._process.communicate(timeout=120)
        told = [line for line in out.splitlines() if line.startswith("[")]
        assert told, f"the load said nothing of itself\n{out[-1000:]}\n{err[-2000:]}"
        found: list[Any] = json.loads(told[-1])
        return found

    def kill(self) -> None:
        """Where the test ends before the load."""
        ended(self._process)


def lines(log: str, event: str) -> list[Any]:
    """The entries of a log that tell of an event; a line that is not whole is none."""
    found = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("event") == event:
            found.append(entry)
    return found
