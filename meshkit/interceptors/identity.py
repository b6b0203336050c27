"""Who calls, and whether the contract's method policy lets them: a method without a policy is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from meshkit.errors import PermissionDenied, Unauthenticated
from meshkit.identity import IdentitySource, set_caller
from meshkit.interceptors.around import Around, Call, is_infrastructure
from meshkit.policy import Policy


class IdentityInterceptor(Around):
    def __init__(self, policies: Mapping[str, Policy], source: IdentitySource) -> None:
        self._policies = policies
        self._source = source

    def applies(self, method: str) -> bool:
        return not is_infrastructure(method)

    @asynccontextmanager
    async def around(self, call: Call, context: Any) -> AsyncIterator[None]:
        caller = self._source(call.metadata, context)
        if caller is None:
            raise Unauthenticated(call.method)
        set_caller(caller)
        policy = self._policies.get(call.method)
        if policy is None or not policy.allows(caller.name):
            raise PermissionDenied(caller.name, call.method)
        yield
