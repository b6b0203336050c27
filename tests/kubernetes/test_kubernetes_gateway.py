"""The way in from outside, through a gateway that Istio makes: who holds a token reads, and nobody else does anything."""

import time
import uuid

import pytest

from tests.kubernetes.cluster import Cluster, added, overlay
from tests.kubernetes.edge import (
    Issuer,
    certified,
    ensure_gateway_api,
    forwarded,
    outside,
    secret_of,
    with_issuer,
)
from tests.kubernetes.seen import all_available, tell
from tradekit.services import SERVICES

pytestmark = pytest.mark.timeout(3600)
READ = "trading.executor.v1.ExecutorService/GetTradingState"
CREATE = "trading.bridge.v1.BridgeService/CreateRecommendation"
READS = {
    "market": "ListProducts",
    "signal": "GetModel",
    "bridge": "ListRecommendations",
    "validator": "GetReviewer",
    "risk": "GetLimits",
    "executor": "GetTradingState",
    "orchestrator": "GetPipeline",
    "monitor": "GetStatus",
}


def test_who_holds_a_token_reads_and_nobody_else_does_anything(mesh: Cluster) -> None:
    ensure_gateway_api(mesh)
    issuer, foreign, certificate = Issuer(), Issuer(), certified()
    began = time.monotonic()
    mesh.apply(secret_of(certificate))
    manifests = added(overlay(mesh.folder), overlay(mesh.folder, component="gateway"))
    mesh.apply(with_issuer(manifests, issuer.jwks()))
    mesh.until(lambda: all_available(mesh), "every service available", 300)
    mesh.until(lambda: mesh.kubectl("rollout", "status", "deployment/gateway", "--timeout=5s"), "a gateway", 300)
    (pod,) = mesh.got("pods", "-l", "gateway.networking.k8s.io/gateway-name=gateway")["items"]
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["serviceAccountName"] == "gateway"
    with forwarded(mesh) as port:
        caller = outside(mesh, port, certificate)
        for service in SERVICES:
            path = f"{service.full_name}/{READS[service.name]}"
            # Endpoints come to the gateway one after the other.
            mesh.until(lambda path=path: caller.grpc(path, {}, issuer.token()) == "OK", f"an answer to {path}", 120)
        tell(f"gateway: all services answer {time.monotonic() - began:.0f} s after it was applied")
        assert caller.grpc(READ, {}).startswith("PermissionDenied")
        expired = int(time.time()) - 120
        for what, token in {
            "expired": issuer.token(exp=expired),
            "signed by another": foreign.token(),
            "for others": issuer.token(aud="another mesh"),
            "of another issuer": issuer.token(iss="https://other.example.com"),
        }.items():
            answer = caller.grpc(READ, {}, token)
            assert answer.startswith(
                ("Unauthenticated", "PermissionDenied") if "of another" in what else "Unauthenticated"
            ), f"{what}: {answer}"
        wanted = {"requestId": str(uuid.uuid4()), "productId": "BTC-USD", "side": "SIDE_BUY", "note": "from outside"}
        assert caller.grpc(CREATE, wanted, issuer.token()).startswith("PermissionDenied")
        assert caller.page("/").startswith("403")
        assert caller.page("/", issuer.token()).startswith("200")
        assert caller.page("/", issuer.token(exp=expired)).startswith("401")
    tell(
        "gateway: 8 services read with a token, none without, with a wrong one or to create; the page 403, 200 and 401"
    )
    mesh.run("kubectl", "delete", "--wait=false", "-f", "-", stdin=manifests)
