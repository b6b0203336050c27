"""A mesh on a real Kubernetes with Istio, from an empty cluster to trades, and through what a cluster does to it.

Only `make test-kubernetes` runs it, in the order of this file: each test takes the mesh as the one before left it.
"""

import json
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshkit.policy import ANYONE, GATEWAY, OPERATOR
from tests.contracts.contract_walk import methods
from tests.kubernetes.cluster import NAMESPACE, ROOT, Cluster
from tests.kubernetes.seen import (
    Load,
    all_available,
    open_recommendations,
    outcome,
    pipeline,
    pods_of,
    ready,
    restarts,
    tell,
    total,
)
from tradekit.services import BRIDGE, IDENTITIES, SERVICES, ServiceName
from trading.options.v1 import policy_pb2

pytestmark = pytest.mark.timeout(7200)
DENIED = "RBAC: access denied"
# What runs in a pod, by its text.
ASKER = (Path(__file__).parent / "asker.py").read_text()


def executed(place: Cluster) -> int:
    """Orders that were filled."""
    (told,) = place.call("executor", "ListOrders", state="ORDER_STATE_FILLED")
    return len(told.get("orders", []))


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


READS = {
    "market": "ListProducts",
    "signal": "GetModel",
    "bridge": "ListRecommendations",
    "validator": "GetReviewer",
    "risk": "GetLimits",
    "orchestrator": "GetPipeline",
    "monitor": "GetStatus",
}
PACE = 20


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
def test_a_rolling_restart_under_load_fails_no_call(mesh: Cluster, service: ServiceName) -> None:
    """Reads of the service itself and twenty recommendations a second through the whole mesh, until the old pod is gone. The
    executor's old pod ends before the new one begins, so its reads fail meanwhile, and recommendations wait."""
    before, began = pipeline(mesh), time.monotonic()
    loads = [Load(mesh, "recommendations", f"{BRIDGE.name}:{BRIDGE.port}", str(PACE))]
    try:
        if service.name in READS:
            path = f"/{service.full_name}/{READS[service.name]}"
            loads.append(Load(mesh, "reads", f"{service.name}:{service.port}", path))
        time.sleep(5)
        mesh.kubectl("rollout", "restart", f"deployment/{service.name}")
        mesh.kubectl("rollout", "status", f"deployment/{service.name}", "--timeout=600s", seconds=660)
        mesh.until(lambda: len(pods_of(mesh, service.name)) == 1, f"an end of the old pod of {service.name}", 300)
        took = time.monotonic() - began
        (calls, made, failed, faults, refused), *reads = [load.end() for load in loads]
    finally:
        for load in loads:
            load.kill()
    mesh.until(lambda: not open_recommendations(mesh), "an end of every recommendation", 400)
    after = pipeline(mesh)
    ended = {name: outcome(after, "recommendations", name) - outcome(before, "recommendations", name) for name in ENDS}
    sent = total(after, "orders") - total(before, "orders")
    tell(
        f"rolling restart of {service.name} in {took:.0f} s: {calls} recommendations asked for, {made} made, {failed} failed "
        f"{faults or ''}; {sent} orders, {ended}, refused {refused}"
        + "".join(f"; {read[0]} reads, {read[1]} failed {read[2] or ''}" for read in reads)
        # A node that is starved by others refuses and is late, whatever restarts.
        + f"; load average here {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    )
    assert calls > PACE * took * 0.8 and failed == 0, faults
    assert made >= 0.8 * calls, refused
    for read in reads:
        assert read[0] > 2 * took and read[1] == 0, read[2]
    assert sent > 0, "recommendations flow as far as orders"
    assert ended["FAILED"] == 0


ENDS = ("EXECUTED", "REJECTED", "EXPIRED", "FAILED")


def test_every_order_at_the_exchange_is_one_of_ours(mesh: Cluster) -> None:
    """After every restart under load. The database lets a recommendation have one order; one that was sent twice would be
    a stranger's at the exchange, and its fills a difference of the ledger."""
    (entries, orders), compared = ordered(mesh), reconciled(mesh)
    tell(
        f"{entries} entries among {orders} orders; the exchange knows these and no others, and the ledger agrees with it"
    )
    assert entries > 20
    assert compared["clean"] and not compared.get("foreignOrders"), compared


def ordered(place: Cluster) -> tuple[int, int]:
    """Entries, and all orders."""
    entries, orders, token = 0, 0, ""
    while True:
        (page,) = place.call("executor", "ListOrders", pageSize=500, pageToken=token)
        orders += len(page.get("orders", []))
        entries += sum(one.get("purpose") == "ORDER_PURPOSE_ENTRY" for one in page.get("orders", []))
        token = page.get("nextPageToken", "")
        if not token:
            return entries, orders


def reconciled(place: Cluster) -> Any:
    """The ledger compared with the exchange now; asked again while another comparison runs."""
    found: list[Any] = []

    def answered() -> bool:
        found[:] = place.call("executor", "Reconcile", requestId=str(uuid.uuid4()))
        return bool(found)

    place.until(answered, "a comparison with the exchange", 180)
    return found[0]


def test_a_database_that_is_away_for_eighty_seconds_restarts_nothing(mesh: Cluster) -> None:
    mesh.until(lambda: all_available(mesh), "every service available", 600)
    before = restarts(mesh)
    mesh.kubectl("scale", "statefulset/trading-db", "--replicas=0")
    time.sleep(80)
    mesh.kubectl("scale", "statefulset/trading-db", "--replicas=1")
    seconds = mesh.until(lambda: all_available(mesh), "every service available again", 600)
    assert restarts(mesh) == before
    tell(f"database away for 80 s: no restart; all available again {seconds:.0f} s after it was let back")


def test_one_of_two_orchestrators_may_go(mesh: Cluster) -> None:
    mesh.kubectl("scale", "deployment/orchestrator", "--replicas=2")
    try:
        mesh.until(lambda: len(pods_of(mesh, "orchestrator")) == 2 and all_available(mesh), "two orchestrators", 300)
        made = []
        for number in range(20):
            made.append(recommended(mesh, ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")[number % 4]))
            if number == 8:
                pod = pods_of(mesh, "orchestrator")[0]["metadata"]["name"]
                mesh.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

        def ended() -> bool:
            for one in list(made):
                (story,) = mesh.call("orchestrator", "ExplainRecommendation", recommendationId=one)
                if re.search(r"EXECUTED|REJECTED|EXPIRED|FAILED", story["verdict"]):
                    made.remove(one)
            return not made

        mesh.until(ended, "an end of every recommendation", 400)
        compared = reconciled(mesh)
    finally:
        mesh.kubectl("scale", "deployment/orchestrator", "--replicas=1")
    assert compared["clean"] and not compared.get("foreignOrders"), compared
    tell("two orchestrators, one deleted: 20 recommendations ended, every order at the exchange is one of ours")
    mesh.until(lambda: len(pods_of(mesh, "orchestrator")) == 1, "one orchestrator again", 300)


def recommended(place: Cluster, product: str) -> str:
    """A recommendation's id. The same request again makes no second one, so one that was answered too late is asked again."""
    asked = {"requestId": str(uuid.uuid4()), "productId": product, "side": "SIDE_BUY", "note": "two"}
    found: list[str] = []

    def answered() -> bool:
        (answer,) = place.call("bridge", "CreateRecommendation", **asked)
        found.append(answer["record"]["recommendation"]["recommendationId"])
        return True

    place.until(answered, "a recommendation", 60)
    return found[0]


def test_istioctl_finds_nothing(mesh: Cluster) -> None:
    # What it finds goes to standard output; that there is nothing, to the other.
    told = mesh.run("istioctl", "analyze", "-n", NAMESPACE, "--failure-threshold", "Info", seconds=300).strip()
    assert told == ""
    tell("istioctl analyze: nothing found")
