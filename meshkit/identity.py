"""Who is calling: one pluggable function of the service.

With authentication off every caller is the operator, which is why it is refused on an address others can reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from meshkit.policy import OPERATOR


@dataclass(frozen=True, slots=True)
class Caller:
    """A known caller: a service name or `operator`."""

    name: str


class IdentitySource(Protocol):
    """Finds the caller of an RPC from its metadata and its gRPC context."""

    def __call__(self, metadata: Mapping[str, str | bytes], context: Any) -> Caller | None:
        """The caller, or None if it cannot be known."""


def everyone_is_operator(metadata: Mapping[str, str | bytes], context: Any) -> Caller:
    """The identity source of MESH_AUTH=off."""
    return Caller(OPERATOR)


_CALLER: ContextVar[Caller | None] = ContextVar("meshkit_caller", default=None)


def current_caller() -> Caller:
    """The caller of the RPC this code runs in; LookupError outside of one."""
    caller = _CALLER.get()
    if caller is None:
        raise LookupError("no RPC is being served here")
    return caller


def set_caller(caller: Caller) -> None:
    """Remembers the caller for the rest of this RPC; each RPC has a context of its own."""
    _CALLER.set(caller)


def caller_or_none() -> str | None:
    """Name of the caller for logs, None where it is not known."""
    caller = _CALLER.get()
    return None if caller is None else caller.name
