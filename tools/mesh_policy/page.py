"""docs/contract.md: for each RPC who may call it, what it changes, how long it takes, what is repeated, how it fails."""

import re
from collections.abc import Iterator, Sequence

from meshkit.policy import ANYONE, GATEWAY, OPERATOR
from tools.mesh_policy.documents import HEAD
from tools.mesh_policy.sources import comment_of, error_reasons
from tools.mesh_policy.table import Rpc, of_service
from tradekit.services import SERVICES, ServiceName

_INTRODUCTION = f"""\
<!-- {HEAD} -->
# Contract

What each RPC promises, as its `.proto` says it in the option `trading.options.v1.policy`. The same table makes the permission
check of the servers, the time limits and retries of the clients, and the policies of the mesh in `istio/generated/`, so none
of them can disagree.

- **callers**: the identities that get in; everybody else gets `CALLER_NOT_ALLOWED`, and who cannot be known `CALLER_UNKNOWN`.
  *all* are the {len(SERVICES)} services, `{OPERATOR}` and, for what reads, `{GATEWAY}`: the way in from outside,
  which acts for whoever holds a token and reaches nothing else. In a mesh an identity is the service account of its name.
- **effect**: `READ` changes nothing. `IDEMPOTENT` changes something, and the same `request_id` gives the stored answer.
  `ONCE` acts in the world and must not be sent again by a transport.
- **deadline**: the longest a call may take; the server shortens longer ones. A stream of answers lives as long as its reader.
- **in flight**: calls that one server process runs at once. Where several may call, one of them gets at most three quarters; the
  only service that may call can have all.
- **retry**: what a transport repeats by itself, in one layer only: the sidecar in a mesh, the channel elsewhere. *n ×* are the
  tries after the first; a sidecar ends each of them after the time named. Of an effect only what never reached the server is
  sent again; after that its caller asks again, knowingly, with the same `request_id`. A stream is opened again by its reader.
- **errors**: the reasons that the contract names for this RPC, beside those that every RPC of its kind can give:

| an RPC | can also fail with |
|---|---|
"""
# What an RPC can fail with because of what its policy and its request are, whatever it does.
_GENERAL = (
    (
        "of any kind",
        "CALLER_UNKNOWN CALLER_NOT_ALLOWED INVALID_REQUEST TOO_MANY_IN_FLIGHT DATABASE_UNAVAILABLE DEPENDENCY_UNAVAILABLE "
        "MISCONFIGURED INTERNAL",
    ),
    ("with a deadline", "DEADLINE_TOO_SHORT"),
    ("with a `request_id`", "REQUEST_ID_REUSED REQUEST_IN_PROGRESS"),
    ("that lists in pages, or watches", "INVALID_POSITION"),
    ("that streams", "DRAINING"),
    ("that streams both ways, for one item", "CREDIT_EXCEEDED"),
)


def page(rpcs: Sequence[Rpc], services: Sequence[ServiceName] = SERVICES) -> str:
    """The whole page."""
    general = "".join(f"| {kind} | {_codes(reasons.split())} |\n" for kind, reasons in _GENERAL)
    tables = "".join(_table(service, of_service(rpcs, service)) for service in services)
    return f"{_INTRODUCTION}{general}{tables}{_errors()}"


def _table(service: ServiceName, rpcs: Sequence[Rpc]) -> str:
    head = f"\n## {service.name.capitalize()}\n\n`{service.full_name}`, port {service.port}.\n\n"
    columns = "| RPC | callers | effect | deadline | in flight | retry | errors |\n|---|---|---|---|--:|---|---|\n"
    return head + columns + "".join(f"| {' | '.join(_cells(rpc))} |\n" for rpc in rpcs)


def _cells(rpc: Rpc) -> Iterator[str]:
    policy = rpc.policy
    yield f"`{rpc.name}`{_shape(rpc)}"
    yield "all" if ANYONE in policy.callers else ", ".join(rpc.callers)
    yield policy.effect.value
    yield "none" if policy.deadline_seconds is None else f"{policy.deadline_seconds:g} s"
    yield str(policy.max_in_flight)
    yield _retry(rpc)
    said = comment_of(rpc.method)
    yield _codes([reason for reason in error_reasons() if re.search(rf"\b{reason}\b", said)])


def _shape(rpc: Rpc) -> str:
    if rpc.method.client_streaming and rpc.method.server_streaming:
        return ", stream both ways"
    if rpc.method.client_streaming:
        return ", stream of requests"
    return ", stream of answers" if rpc.method.server_streaming else ""


def _retry(rpc: Rpc) -> str:
    retry = rpc.policy.retry
    if not retry.attempts:
        return "by its reader" if rpc.method.server_streaming else "never"
    if not retry.received or retry.per_try_seconds is None:
        return f"{retry.attempts} ×, if it never arrived"
    return f"{retry.attempts} ×, each try {retry.per_try_seconds:g} s"


def _codes(reasons: Sequence[str]) -> str:
    return ", ".join(f"`{reason}`" for reason in reasons)


def _errors() -> str:
    head = """
## Errors

`google.rpc.ErrorInfo.reason` is one of these; [reasons.md](reasons.md) lists the reasons of decisions, which are no errors.
A status without `ErrorInfo` was made by a transport: the outcome of an effect is not known then.

| reason | status | means |
|---|---|---|
"""
    rows = [f"| `{reason}` | {status} | {meaning} |\n" for reason, (status, meaning) in error_reasons().items()]
    return head + "".join(rows)
