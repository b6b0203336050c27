"""A mesh on a real Kubernetes with Istio, from an empty cluster to trades, and through what a cluster does to it.

Takes the better part of an hour with the image; only `make test-kubernetes` runs it, in the order of this file.
"""

import json
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshkit.policy import ANYONE, GATEWAY, OPERATOR
from tests.contracts.contract_walk import methods
from tests.image import builder
from tests.kubernetes.cluster import NAMESPACE, ROOT, Cluster, cluster, fault, overlay
from tradekit.services import BRIDGE, IDENTITIES, SERVICES, ServiceName
from trading.options.v1 import policy_pb2

pytestmark = pytest.mark.timeout(7200)
DENIED = "RBAC: access denied"
# What runs in a pod, by its text.
ASKER, LOADER, RECOMMENDER = (
    (Path(__file__).parent / name).read_text() for name in ("asker.py", "loader.py", "recommender.py")
)
WORKLOADS = tuple(service.name for service in SERVICES)


@pytest.fixture(scope="module")
def place() -> Iterator[Cluster]:
    if os.environ.get("KUBERNETES_TESTS") != "1":
        pytest.skip("make test-kubernetes builds the image and runs it on a cluster")
    if why := builder.fault() or fault():
        pytest.skip(why)
    with cluster() as found:
        yield found


@pytest.fixture(scope="module")
def mesh(place: Cluster) -> Cluster:
    """The dev overlay, applied to an empty cluster."""
    began = time.monotonic()
    place.run("kubectl", "apply", "--server-side", "-f", "-", stdin=overlay(place.folder), seconds=300)
    place.run("kubectl", "apply", "-f", "-", stdin=(ROOT / "istio" / "operator.yaml").read_text())
    place.until(lambda: available(place) >= set(WORKLOADS), "every service available", 1500)
    tell(f"applied to all available: {time.monotonic() - began:.0f} s")
    return place


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


def executed(place: Cluster) -> int:
    """Orders that were filled."""
    (told,) = place.call("executor", "ListOrders", state="ORDER_STATE_FILLED")
    return len(told.get("orders", []))


def restarts(place: Cluster) -> dict[str, int]:
    """How often each container of a service was started again, by pod and container."""
    found = {}
    for pod in place.got("pods", "-l", f"app in ({','.join(WORKLOADS)})")["items"]:
        for container in pod["status"].get("containerStatuses", []):
            found[f"{pod['metadata']['name']}/{container['name']}"] = container["restartCount"]
    return found


def test_from_an_empty_cluster_to_a_trade(mesh: Cluster) -> None:
    def traded() -> bool:
        if executed(mesh):
            return True
        mesh.call(
            "bridge",
            "CreateRecommendation",
            requestId=str(uuid.uuid4()),
            productId="BTC-USD",
            side="SIDE_BUY",
            note="first",
        )
        time.sleep(5)
        return executed(mesh) > 0

    tell(f"first executed trade after another {mesh.until(traded, 'an executed trade', 600):.0f} s")
    (state,) = mesh.call("executor", "GetTradingState")
    assert state["state"] == "TRADING_STATE_ACTIVE"
    assert not any(restarts(mesh).values()), "who comes before the schema waits for it"


def test_every_rpc_as_every_identity_through_the_policies_of_istiod(mesh: Cluster) -> None:
    """A service's own pod is shown only what it calls, so each is asked for by a pod with its account that is shown all, as the
    operator's is: the policies at the other end are what is tested.
    """
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": GATEWAY}}  # where there is no gateway
    for made in (account, *map(pod_of, IDENTITIES)):
        mesh.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    mesh.until(lambda: all(ready(mesh, f"as-{name}") for name in IDENTITIES), "a pod of each account", 300)
    asked = [
        (one, service)
        for one in methods()
        for service in SERVICES
        if one.containing_service.full_name == service.full_name
    ]
    lines = "".join(json.dumps(question(method, service)) + "\n" for method, service in asked)
    allowed_in_all = 0
    for name in IDENTITIES:
        inside = ("exec", "-i", f"as-{name}", "-c", OPERATOR, "--", "python", "-P", "-c", ASKER)
        told = mesh.kubectl(*inside, stdin=lines, seconds=900).splitlines()
        assert len(told) == len(asked), name
        for (method, service), line in zip(asked, told, strict=True):
            code, words = json.loads(line)
            policy = method.GetOptions().Extensions[policy_pb2.policy]
            allowed = ANYONE in policy.callers or name in policy.callers
            if name == GATEWAY:
                allowed = ANYONE in policy.callers and policy.effect == policy_pb2.EFFECT_READ
            refused = code == "PERMISSION_DENIED" and DENIED in words
            assert refused is not allowed, f"{service.name}.{method.name} as {name}: {code} {words}"
            allowed_in_all += allowed
    tell(f"{len(asked) * len(IDENTITIES)} calls, {allowed_in_all} let in, as declared")
    mesh.kubectl("delete", "pod", "--wait=false", *(f"as-{name}" for name in IDENTITIES))


def question(method: Any, service: Any) -> dict[str, str]:
    """What a pod is asked to call."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    path = f"/{service.full_name}/{method.name}"
    return {"address": f"{service.name}:{service.port}", "path": path, "kind": kind}


def pod_of(name: str) -> dict[str, Any]:
    """The operator's pod with another account."""
    made: dict[str, Any] = yaml.safe_load((ROOT / "istio" / "operator.yaml").read_text())
    made["metadata"]["name"], made["spec"]["serviceAccountName"] = f"as-{name}", name
    return made


def ready(place: Cluster, pod: str) -> bool:
    """Whether all containers of a pod are ready."""
    found = place.got("pod", pod)["status"].get("containerStatuses", [])
    return bool(found) and all(one["ready"] for one in found)


READS = {
    "market": "ListProducts",
    "signal": "GetModel",
    "bridge": "ListRecommendations",
    "validator": "GetReviewer",
    "risk": "GetLimits",
    "orchestrator": "GetPipeline",
    "monitor": "GetStatus",
}
PACE, LOAD_SECONDS = 20, 100


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
def test_a_rolling_restart_under_load_fails_no_call(mesh: Cluster, service: ServiceName) -> None:
    """Reads of the service itself and twenty recommendations a second through the whole mesh. The executor's old pod ends before
    the new one begins, so its reads fail meanwhile, and recommendations wait."""
    inside = ("kubectl", "-n", NAMESPACE, "exec", "operator", "-c", "operator", "--", "python", "-P", "-c")
    loads = [mesh.begin(*inside, RECOMMENDER, f"{BRIDGE.name}:{BRIDGE.port}", str(PACE), str(LOAD_SECONDS))]
    if service.name in READS:
        path = f"/{service.full_name}/{READS[service.name]}"
        loads.append(mesh.begin(*inside, LOADER, f"{service.name}:{service.port}", path, str(LOAD_SECONDS)))
    began = time.monotonic()
    time.sleep(5)
    mesh.kubectl("rollout", "restart", f"deployment/{service.name}")
    mesh.kubectl("rollout", "status", f"deployment/{service.name}", "--timeout=600s", seconds=660)
    took = time.monotonic() - began
    told = [json.loads(load.communicate(timeout=300)[0].strip().splitlines()[-1]) for load in loads]
    (calls, made, failed, faults), reads = told[0], told[1:]
    words = f"rolling restart of {service.name} in {took:.0f} s: {calls} recommendations asked for, {made} made, {failed} failed"
    tell(f"{words} {faults or ''}" + "".join(f"; {read[0]} reads, {read[1]} failed {read[2] or ''}" for read in reads))
    assert took < LOAD_SECONDS, "the load must outlast the restart"
    assert calls > PACE * LOAD_SECONDS / 2 and failed == 0, faults
    for read in reads:
        assert read[0] > 200 and read[1] == 0, read[2]
    mesh.until(lambda: not open_recommendations(mesh), "an end of every recommendation", 400)


def open_recommendations(place: Cluster) -> int:
    """How many are not ended."""
    (pipeline,) = place.call("orchestrator", "GetPipeline")
    return int(pipeline.get("openRecommendations", 0))


def test_no_recommendation_has_two_orders(mesh: Cluster) -> None:
    """After every restart under load."""
    of, token = [], ""
    while True:
        (page,) = mesh.call("executor", "ListOrders", pageSize=500, pageToken=token)
        of += [one["recommendationId"] for one in page.get("orders", []) if one.get("purpose") == "ORDER_PURPOSE_ENTRY"]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert of and len(of) == len(set(of))
    tell(f"{len(of)} entries ordered, one order each")


def test_a_database_that_is_away_for_eighty_seconds_restarts_nothing(mesh: Cluster) -> None:
    mesh.until(lambda: available(mesh) >= set(WORKLOADS), "every service available", 600)
    before = restarts(mesh)
    mesh.kubectl("scale", "statefulset/trading-db", "--replicas=0")
    time.sleep(80)
    mesh.kubectl("scale", "statefulset/trading-db", "--replicas=1")
    seconds = mesh.until(lambda: available(mesh) >= set(WORKLOADS), "every service available again", 600)
    assert restarts(mesh) == before
    tell(f"database away for 80 s: no restart; all available again {seconds:.0f} s after it was let back")


def test_one_of_two_orchestrators_may_go(mesh: Cluster) -> None:
    mesh.kubectl("scale", "deployment/orchestrator", "--replicas=2")
    mesh.until(lambda: "orchestrator" in available(mesh), "two orchestrators", 300)
    wanted = [str(uuid.uuid4()) for _ in range(20)]
    products = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")
    made = []
    for number, request_id in enumerate(wanted):
        answer = mesh.call(
            "bridge",
            "CreateRecommendation",
            requestId=request_id,
            productId=products[number % 4],
            side="SIDE_BUY",
            note="two",
        )
        made.append(answer[0]["record"]["recommendation"]["recommendationId"])
        if number == 8:
            pods = mesh.got("pods", "-l", "app=orchestrator")["items"]
            mesh.kubectl("delete", "pod", pods[0]["metadata"]["name"], "--grace-period=0", "--force")

    def ended() -> bool:
        for one in list(made):
            (story,) = mesh.call("orchestrator", "ExplainRecommendation", recommendationId=one)
            if re.search(r"EXECUTED|REJECTED|EXPIRED|FAILED", story["verdict"]):
                made.remove(one)
        return not made

    mesh.until(ended, "an end of every recommendation", 400)
    orders = mesh.call("executor", "ListOrders", pageSize=100)[0].get("orders", [])
    of = [order["recommendationId"] for order in orders if order.get("recommendationId")]
    assert len(of) == len(set(of)), "more than one order for a recommendation"
    tell(f"two orchestrators, one deleted: {len(wanted)} recommendations ended, one order each")


def test_istioctl_finds_nothing(mesh: Cluster) -> None:
    # What it finds goes to standard output; that there is nothing, to the other.
    told = mesh.run("istioctl", "analyze", "-n", NAMESPACE, "--failure-threshold", "Info", seconds=300).strip()
    assert told == ""
    tell("istioctl analyze: nothing found")


def test_the_signal_service_as_two_pods_decides_every_product(mesh: Cluster) -> None:
    mesh.kubectl("delete", "deployment", "signal", "--wait=true", seconds=180)
    sharded = overlay(mesh.folder, component="signal-shards")
    mesh.run("kubectl", "apply", "--server-side", "-f", "-", stdin=sharded, seconds=300)

    def both_decide() -> bool:
        logs = [mesh.kubectl("logs", f"signal-{number}", "-c", "signal") for number in (0, 1)]
        decided = [[json.loads(line) for line in log.splitlines() if '"bar_decided"' in line] for log in logs]
        return all(any(bar["signals"] for bar in bars) for bars in decided)

    mesh.until(both_decide, "signals of both pods", 600)
    before = signal_watermark(mesh)
    seconds = mesh.until(lambda: signal_watermark(mesh) > before, "a further bar of all products", 300)
    tell(f"two pods of the signal service: both decide their share, a whole bar after {seconds:.0f} s")


def signal_watermark(place: Cluster) -> str:
    """Market time up to which the signals of every product are stored."""
    (pipeline,) = place.call("orchestrator", "GetPipeline")
    return str(next(stage["watermark"] for stage in pipeline["stages"] if stage["stage"] == "signals"))
