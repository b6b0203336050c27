"""The way in from outside, through a gateway that Istio makes: who holds a token reads, and nobody else does anything."""

import time
import uuid
from collections.abc import Iterator

import pytest

from tests.kubernetes.cluster import Cluster, added, overlay
from tests.kubernetes.edge import (
    Issuer,
    Outside,
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


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def gateway(mesh: Cluster, issuer: Issuer) -> Iterator[Outside]:
    """A caller in front of a gateway that lets in whoever the issuer gave a token; the mesh is as before in the end."""
    ensure_gateway_api(mesh)
    certificate = certified()
    manifests = added(overlay(mesh.folder), overlay(mesh.folder, component="gateway"))
    mesh.apply(secret_of(certificate))
    try:
        mesh.apply(with_issuer(manifests, issuer.jwks()))
        mesh.until(lambda: all_available(mesh), "every service available", 300)
        mesh.until(lambda: mesh.kubectl("rollout", "status", "deployment/gateway", "--timeout=5s"), "a gateway", 300)
        with forwarded(mesh) as port:
            yield outside(mesh, port, certificate)
    finally:
        mesh.run("kubectl", "delete", "--wait=false", "--ignore-not-found", "-f", "-", stdin=manifests)


def test_who_holds_a_token_reads_and_nobody_else_does_anything(mesh: Cluster, gateway: Outside, issuer: Issuer) -> None:
    (pod,) = mesh.got("pods", "-l", "gateway.networking.k8s.io/gateway-name=gateway")["items"]
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["serviceAccountName"] == "gateway"
    for service in SERVICES:
        path = f"{service.full_name}/{READS[service.name]}"
        # Endpoints come to the gateway one after the other.
        mesh.until(lambda path=path: gateway.grpc(path, {}, issuer.token()) == "OK", f"an answer to {path}", 120)
    expired = issuer.token(exp=int(time.time()) - 120)
    wanted = {"requestId": str(uuid.uuid4()), "productId": "BTC-USD", "side": "SIDE_BUY", "note": "from outside"}
    for what, refused, status in (
        ("no token", gateway.grpc(READ, {}), "PermissionDenied"),
        ("an expired one", gateway.grpc(READ, {}, expired), "Unauthenticated"),
        ("one of a foreign key", gateway.grpc(READ, {}, Issuer().token()), "Unauthenticated"),
        ("another issuer", gateway.grpc(READ, {}, issuer.token(iss="https://other.example.com")), "Unauthenticated"),
        ("other readers", gateway.grpc(READ, {}, issuer.token(aud="another mesh")), "PermissionDenied"),
        ("no read", gateway.grpc(CREATE, wanted, issuer.token()), "PermissionDenied"),
        ("a page without", gateway.page("/"), "403"),
        ("a page with an expired one", gateway.page("/", expired), "401"),
    ):
        assert refused.startswith(status), f"{what}: {refused}"
    page = gateway.page("/", issuer.token())
    assert page.startswith("200"), page
    tell(
        "gateway: 8 services and the page read with a token; refused without, with 4 wrong ones, and where it is no read"
    )
