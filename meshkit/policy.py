"""Method policy read from the contracts: who may call, what a call changes, how long, how many at once, what is repeated.

The server's permission table, the client's service config and the policies of a service mesh all come from here, so code,
contract and mesh cannot disagree.
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
# The way in from outside of the mesh. Behind it stands whoever holds a token, so no contract names it, and of what is open
# to everybody it reaches only what changes nothing.
GATEWAY = "gateway"
# Tries after the first, by whichever layer repeats a call: the client's channel, or the sidecar in a mesh; never both.
_RETRIES = 2
_BACKOFF = {"initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2}
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
class Retry:
    """How often a transport may send a call again by itself, and when.

    `attempts` are the tries after the first; 0 is never. `received`: also where the server may have begun, so what never
    reached it is not all that is sent again. `per_try_seconds` is the most that one try may take, so that all of them fit
    into the deadline; None lets a try take the call's whole time.
    """

    attempts: int
    received: bool = False
    per_try_seconds: float | None = None


NEVER = Retry(0)


@dataclass(frozen=True, slots=True)
class Policy:
    """Policy of one method; `max_in_flight` 0 sets no limit."""

    callers: frozenset[str]
    effect: Effect
    deadline_seconds: float | None
    max_in_flight: int
    streaming: bool

    def allows(self, caller: str) -> bool:
        """Whether this identity of the mesh may call."""
        if caller == GATEWAY:
            return ANYONE in self.callers and self.effect is Effect.READ
        return ANYONE in self.callers or caller in self.callers

    @property
    def retry(self) -> Retry:
        """What a transport may repeat: a READ whenever it failed; an IDEMPOTENT call only where it never reached the server.

        Whether an effect that was cut short is to be asked for again is known to its caller alone: asking again for a resume
        undoes a halt that came between, and a halt waits longer for its database than a third of its time. A stream is
        resumed by its reader from a cursor.
        """
        if self.effect is Effect.ONCE or self.streaming or self.deadline_seconds is None:
            return NEVER
        if self.effect is Effect.IDEMPOTENT:
            return Retry(_RETRIES)
        # Down to the millisecond, so that the tries never add up to more than the deadline.
        milliseconds = round(self.deadline_seconds * 1000) // (_RETRIES + 1)
        return Retry(_RETRIES, received=True, per_try_seconds=milliseconds / 1000)

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
    return {f"/{full_name}/{method.name}": policy_of(method) for method in service.methods}


def service_config(full_name: str, retries: bool = True) -> str:
    """The gRPC service config of a client of this service, as JSON text; without `retries` where a sidecar repeats calls.

    A channel repeats by itself, and without being told, what never left it and what the server refused before it began.
    """
    methods = []
    for path, policy in policies(full_name).items():
        config: dict[str, Any] = {"name": [{"service": full_name, "method": path.rpartition("/")[2]}]}
        if policy.deadline_seconds is not None:
            config["timeout"] = f"{policy.deadline_seconds:.3f}s"
        if retries and policy.retry.received:
            attempts = policy.retry.attempts + 1
            config["retryPolicy"] = {"maxAttempts": attempts, **_BACKOFF, "retryableStatusCodes": ["UNAVAILABLE"]}
        methods.append(config)
    found: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": methods}
    if retries:
        found["retryThrottling"] = _RETRY_THROTTLING
    return json.dumps(found)


def _service(full_name: str) -> ServiceDescriptor:
    try:
        return descriptor_pool.Default().FindServiceByName(full_name)
    except KeyError:
        raise Misconfigured(f"no contract is loaded for service {full_name}; import its generated module") from None


def policy_of(method: MethodDescriptor) -> Policy:
    """Policy of one method, from its contract. Misconfigured if it has none, or does not say its effect."""
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
