"""Who calls, and whether the contract's method policy lets them: a method without a policy is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from meshkit.errors import PermissionDenied, Unauthenticated
from meshkit.grpc_types import ServicerContext
from meshkit.identity import Caller, IdentitySource, UnknownCaller, set_caller
from meshkit.interceptors.base import BaseInterceptor, Call, is_infrastructure
from meshkit.policy import Policy


class IdentityInterceptor(BaseInterceptor):
    def __init__(self, policies: Mapping[str, Policy], source: IdentitySource) -> None:
        self._policies = policies
        self._source = source

    def applies(self, method: str) -> bool:
        return not is_infrastructure(method)

    @asynccontextmanager
    async def wrap(self, call: Call, context: ServicerContext) -> AsyncIterator[None]:
        admit(self._source, self._policies, call.method, call.metadata, context)
        yield


def admit(
    source: IdentitySource,
    policies: Mapping[str, Policy],
    method: str,
    metadata: Mapping[str, str | bytes],
    context: ServicerContext | None = None,
) -> Caller:
    """The caller, remembered for this call, if the policy lets it call the method. Unauthenticated, PermissionDenied."""
    try:
        caller = source(metadata, context)
    except UnknownCaller as unknown:
        raise Unauthenticated(method, str(unknown)) from None
    if caller is None:
        raise Unauthenticated(method)
    set_caller(caller)
    policy = policies.get(method)
    if policy is None or not policy.allows(caller.name):
        raise PermissionDenied(caller.name, method)
    return caller
