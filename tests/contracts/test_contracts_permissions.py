"""Every RPC as every identity, three times: by the option in the contract, in process, and by the mesh's policies.

In process a call goes through the interceptor and the permission table of a real server. The mesh's policies are those that
lie in istio/generated, decided by an evaluator that knows nothing of how they were made.
"""

import importlib
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf.descriptor import MethodDescriptor

from meshkit.errors import MeshError
from meshkit.identity import TokenSource, bearer, digest
from meshkit.interceptors.identity import IdentityInterceptor
from meshkit.server import permission_table
from meshkit.spec import Registration
from tests.contracts.contract_walk import ROOT, methods
from tests.istio.authorization_oracle import allowed
from tradekit.services import IDENTITIES, SERVICES, ServiceName
from trading.options.v1 import policy_pb2

METHODS = methods()
SERVICE_OF = {service.full_name: service for service in SERVICES}
# Somebody with a token or a service account that nobody gave an identity.
STRANGER = "stranger"
CALLERS = (*IDENTITIES, STRANGER)
MANIFESTS = [*yaml.safe_load_all((ROOT / "istio" / "generated" / "authorization.yaml").read_text())]
SOURCE = TokenSource({digest(f"the token of {name}"): name for name in IDENTITIES})


class Handlers:
    """Stands in for a server, and keeps the handlers of the service that is added to it."""

    def __init__(self, service: ServiceName) -> None:
        rpc = importlib.import_module(f"{service.contract_module}_grpc")
        name = service.full_name.rpartition(".")[2]
        add = getattr(rpc, f"add_{name}Servicer_to_server")
        # Its methods are not written: each that is reached raises NotImplementedError.
        servicer = getattr(rpc, f"{name}Servicer")()
        self.by_method: dict[str, Any] = {}
        add(servicer, self)
        self.interceptor = IdentityInterceptor(
            permission_table([Registration(add, servicer, service.full_name)]), SOURCE
        )

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """What older servers take."""

    def add_registered_method_handlers(self, name: str, handlers: dict[str, Any]) -> None:
        self.by_method = {f"/{name}/{method}": handler for method, handler in handlers.items()}

    async def call(self, path: str, caller: str) -> grpc.StatusCode | None:
        """How a call by this caller is refused; None if it reached the method."""

        async def found(details: Any) -> Any:
            return self.by_method[details.method]

        details = SimpleNamespace(method=path, invocation_metadata=bearer(f"the token of {caller}"))
        handler = await self.interceptor.intercept_service(found, details)
        kind = f"{'stream' if handler.request_streaming else 'unary'}_"
        behaviour = getattr(handler, kind + ("stream" if handler.response_streaming else "unary"))
        context = SimpleNamespace(set_code=lambda _: None, set_details=lambda _: None)
        try:
            answer = behaviour(None, context)
            if handler.response_streaming:
                async for _ in answer:
                    pass
            else:
                await answer
        except MeshError as error:
            return error.code
        except NotImplementedError:
            return None
        raise AssertionError(f"{path} answered")


@pytest.fixture(scope="module")
def handlers() -> dict[ServiceName, Handlers]:
    return {service: Handlers(service) for service in SERVICES}


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def named_by_contract(method: MethodDescriptor, caller: str) -> bool:
    """From the option itself."""
    option = method.GetOptions().Extensions[policy_pb2.policy]
    if caller == STRANGER:
        return False
    if caller == "gateway":
        return list(option.callers) == ["*"] and option.effect == policy_pb2.EFFECT_READ
    return caller in option.callers or "*" in option.callers


def allowed_by_mesh(method: MethodDescriptor, caller: str) -> bool:
    service = SERVICE_OF[method.containing_service.full_name]
    principal = f"cluster.local/ns/crypto-trading/sa/{caller}"
    return allowed(MANIFESTS, service.name, service.port, principal, path_of(method))


async def test_every_rpc_refuses_everybody_but_those_that_its_contract_names(
    handlers: dict[ServiceName, Handlers],
) -> None:
    pairs, reached = 0, 0
    for method in METHODS:
        service = SERVICE_OF[method.containing_service.full_name]
        for caller in CALLERS:
            expected = named_by_contract(method, caller)
            refused = await handlers[service].call(path_of(method), caller)
            who = f"{method.full_name} as {caller}"
            assert (refused is None) is expected, f"{who}: {refused} in process"
            unknown = caller == STRANGER
            assert expected or refused is (
                grpc.StatusCode.UNAUTHENTICATED if unknown else grpc.StatusCode.PERMISSION_DENIED
            ), who
            assert allowed_by_mesh(method, caller) is expected, f"{who}: in the mesh"
            pairs, reached = pairs + 1, reached + expected
    assert pairs == len(METHODS) * len(CALLERS)
    print(f"{pairs} pairs of RPC and identity, {reached} of them allowed")  # noqa: T201


def test_whoever_has_no_certificate_reaches_nothing() -> None:
    reached = [
        path_of(method)
        for method in METHODS
        for service in [SERVICE_OF[method.containing_service.full_name]]
        if allowed(MANIFESTS, service.name, service.port, None, path_of(method))
    ]
    assert reached == []


def test_the_way_in_from_outside_only_reads() -> None:
    """No contract names it, and it changes nothing, whatever is open to everybody."""
    for method in METHODS:
        option = method.GetOptions().Extensions[policy_pb2.policy]
        assert "gateway" not in option.callers
        assert option.effect == policy_pb2.EFFECT_READ or not allowed_by_mesh(method, "gateway")


def test_an_allow_that_widens_by_accident_does_not_open_what_acts_once() -> None:
    everybody = {"kind": "AuthorizationPolicy", "spec": {"action": "ALLOW", "rules": [{}]}}
    wide = [*MANIFESTS, everybody]
    once = []
    for method in METHODS:
        option = method.GetOptions().Extensions[policy_pb2.policy]
        service = SERVICE_OF[method.containing_service.full_name]
        principals = [(name, f"cluster.local/ns/crypto-trading/sa/{name}") for name in CALLERS]
        found = {n for n, p in principals if allowed(wide, service.name, service.port, p, path_of(method))}
        if option.effect == policy_pb2.EFFECT_ONCE:
            once.append(method.name)
            assert found == set(option.callers), method.name
        else:
            assert found == set(CALLERS), method.name
    assert once == ["ExecuteRecommendation", "ClosePositions"]


def test_the_evaluator_knows_a_denied_from_an_allowed_call() -> None:
    """It must be able to say both, or the tests above say nothing."""
    rule = {"from": [{"source": {"principals": ["a"]}}], "to": [{"operation": {"ports": ["1"], "paths": ["/x"]}}]}
    allow = {"kind": "AuthorizationPolicy", "spec": {"selector": {"matchLabels": {"app": "one"}}, "rules": [rule]}}
    assert allowed([], "one", 1, None, "/x")
    assert allowed([allow], "one", 1, "a", "/x")
    assert allowed([allow], "another", 1, None, "/x")
    for call in ((1, "b", "/x"), (2, "a", "/x"), (1, "a", "/y"), (1, None, "/x")):
        assert not allowed([allow], "one", *call), call
    with pytest.raises(AssertionError, match="unknown fields"):
        allowed([{"kind": "AuthorizationPolicy", "spec": {"rules": [{"when": []}]}}], "one", 1, "a", "/x")
