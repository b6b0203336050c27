"""Method policy read from the contracts: who may call, what a call changes, how long, how many at once.

The server's permission table and the client's service config both come from here, so code and contract cannot disagree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from meshkit.errors import Misconfigured
from trading.options.v1 import policy_pb2

ANYONE = "*"
OPERATOR = "operator"
# The ingress of a cluster: it acts for whoever holds a token, and so may only look.
GATEWAY = "gateway"
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Stops retries when more than half of the calls fail, so that an outage is not multiplied.
_RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}


class Effect(StrEnum):
    """What a call may change, and so whether a transport may send it again by itself."""

    READ = "READ"
    IDEMPOTENT = "IDEMPOTENT"
    ONCE = "ONCE"


_EFFECTS = {
    policy_pb2.EFFECT_READ: Effect.READ,
    policy_pb2.EFFECT_IDEMPOTENT: Effect.IDEMPOTENT,
    policy_pb2.EFFECT_ONCE: Effect.ONCE,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """Policy of one method; `max_in_flight` 0 sets no limit."""

    callers: frozenset[str]
    effect: Effect
    deadline_seconds: float | None
    max_in_flight: int
    streaming: bool

    def allows(self, caller: str) -> bool:
        """Whether the caller may call. What is open to every identity is open to the gateway where it changes nothing."""
        if caller == GATEWAY and self.effect is not Effect.READ:
            return False
        return ANYONE in self.callers or caller in self.callers

    def quota(self, caller: str) -> int:
        """Calls that one caller may have in flight. Each leaves some to the others, and the operator's to those of services;
        who is the only one that may call, or the only service, may use all, and a single call is not divided.
        """
        services = self.callers - {OPERATOR}
        alone = ANYONE not in self.callers and {caller} in (services, self.callers)
        if alone or self.max_in_flight <= 1:
            return self.max_in_flight
        return self.max_in_flight - max(self.max_in_flight // 4, 1)


def policies(full_name: str) -> dict[str, Policy]:
    """Policy of every method of a service by its path `/package.Service/Method`."""
    service = _service(full_name)
    return {f"/{full_name}/{method.name}": _policy(method) for method in service.methods}


def service_config(full_name: str) -> str:
    """The gRPC service config of a client of this service, as JSON text."""
    methods = []
    for path, policy in policies(full_name).items():
        config: dict[str, Any] = {"name": [{"service": full_name, "method": path.rpartition("/")[2]}]}
        if policy.deadline_seconds is not None:
            config["timeout"] = f"{policy.deadline_seconds:.3f}s"
        # A stream is resumed by its reader from a cursor, never replayed by the transport.
        if policy.effect is not Effect.ONCE and not policy.streaming:
            config["retryPolicy"] = _RETRY_POLICY
        methods.append(config)
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": methods,
            "retryThrottling": _RETRY_THROTTLING,
        }
    )


def _service(full_name: str) -> ServiceDescriptor:
    try:
        return descriptor_pool.Default().FindServiceByName(full_name)
    except KeyError:
        raise Misconfigured(f"no contract is loaded for service {full_name}; import its generated module") from None


def _policy(method: MethodDescriptor) -> Policy:
    options = method.GetOptions()
    extension: Any = policy_pb2.policy
    if not options.HasExtension(extension):
        raise Misconfigured(f"{method.full_name} has no method policy in its contract")
    policy: policy_pb2.MethodPolicy = options.Extensions[extension]
    effect = _EFFECTS.get(policy.effect)
    if effect is None:
        raise Misconfigured(f"{method.full_name} does not say its effect in its contract")
    deadline = policy.deadline.ToNanoseconds() / 1e9 if policy.HasField("deadline") else None
    return Policy(
        callers=frozenset(policy.callers),
        effect=effect,
        deadline_seconds=deadline,
        max_in_flight=policy.max_in_flight,
        streaming=method.client_streaming or method.server_streaming,
    )
