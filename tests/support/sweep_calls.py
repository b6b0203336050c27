"""Every RPC by its name, the faults that can be planted in its requests, and how what came of them is judged."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from generic_client import Outcome, ask
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from hostile import Fault, faults, siblings
from sweep_world import GOOD, World

from tradekit.services import SERVICES
from trading.options.v1 import policy_pb2

METHODS = {
    f"{method.containing_service.name}.{method.name}": (service, method)
    for service in SERVICES
    for method in Default().FindServiceByName(service.full_name).methods
}
every_rpc = pytest.mark.parametrize("name", METHODS)
AT_ONCE = 4
# Fields whose content does not count when a stranger sends it, and why.
IGNORED = {
    ("MarketService.ImportCandles", "candles.candles[0].source"): "set by the service",
    ("ValidatorService.StreamValidations", "traceparent"): "a trace that cannot be read is no trace",
    ("RiskService.StreamAssessments", "traceparent"): "a trace that cannot be read is no trace",
}


# What only the stored state can refuse, once the request's form is right.
JUDGED_LATER = {(f"{name}", "after_sequence") for name in METHODS if name.partition(".")[2].startswith("Watch")}


def rpcs(**wanted: bool) -> list[str]:
    """The RPCs of one kind, such as server_streaming=True."""
    return [
        name
        for name, (_, method) in METHODS.items()
        if all(getattr(method, key) == want for key, want in wanted.items())
    ]


TALKS = rpcs(client_streaming=True, server_streaming=True)


def limit(method: MethodDescriptor) -> int:
    """Calls at once that the method's policy allows, and no more than a few."""
    return min(AT_ONCE, method.GetOptions().Extensions[policy_pb2.policy].max_in_flight)


async def outcomes(world: World, name: str, requests: Sequence[list[Any]], serialize: Any = None) -> list[Outcome]:
    """What each request came to, a few at a time."""
    service, method = METHODS[name]
    turn = asyncio.Semaphore(limit(method))
    async with world.mesh.channel(service) as channel:

        async def one(frames: list[Any]) -> Outcome:
            async with turn:
                return await ask(channel, method, frames, serialize)

        return list(await asyncio.gather(*(one(frames) for frames in requests)))


def complaints(found: Iterable[tuple[str, Outcome]]) -> list[str]:
    return [f"{label}: {'; '.join(outcome.faults())} in {outcome}" for label, outcome in found if outcome.faults()]


def spoiled(name: str, frames: Sequence[Any]) -> list[tuple[Fault, list[Any], set[str]]]:
    """Every fault of form, the frames it is in, and the names that a violation of it may have."""
    return [
        (fault, [*frames[:index], fault.planted(frame), *frames[index + 1 :]], siblings(frame, fault.path))
        for index, frame in enumerate(frames)
        for fault in faults(frame)
        if not fault.well_formed and (name, fault.field) not in IGNORED
    ]


def opening(name: str, world: World) -> list[Any]:
    """The good frames; of a conversation only the first, because its items are answered one by one."""
    frames = GOOD[name](world)
    return frames[:1] if name in TALKS else frames


def refused(label: str, outcome: Outcome, *fields: set[str]) -> str | None:
    """What is wrong with a refusal that must name a violation in each set of fields; None if it is right."""
    if outcome.faults():
        return f"{label}: {'; '.join(outcome.faults())} in {outcome}"
    if outcome.code != "INVALID_ARGUMENT":
        return f"{label}: {outcome}"
    missing = [sorted(names) for names in fields if not names & outcome.fields]
    return f"{label}: {missing} not named by {outcome}" if missing else None


def report(wrong: Iterable[str | None]) -> None:
    found = [text for text in wrong if text]
    assert not found, f"{len(found)} wrong:\n" + "\n".join(found[:40])


def pairs(name: str, cases: Sequence[tuple[Fault, list[Any], set[str]]]) -> list[tuple[Fault, Fault]]:
    """Neighbouring fields, each spoiled in its first way, where both can be spoiled and seen at once."""
    first: dict[str, Fault] = {}
    names: dict[str, set[str]] = {}
    for fault, _, known_as in cases:
        if fault.label != "too many" and (name, fault.field) not in JUDGED_LATER:
            first.setdefault(fault.field, fault)
            names.setdefault(fault.field, known_as)
    # Two members of one choice cannot be sent together.
    return [(one, other) for one, other in pairwise(first.values()) if not names[one.field] & names[other.field]]
