"""The one error model of the mesh: what went wrong, and who must act.

Code raises these; one interceptor turns them into `google.rpc.Status` with exactly one `ErrorInfo`, and clients read
them back into the same classes. The reasons are names of the contract's error enum without its prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from meshkit.text import printable

SHOWN_LENGTH = 64
# Details travel in trailers, whose hard limit is 16 KiB and soft limit 8 KiB for everything together.
_MAX_MESSAGE_LENGTH = 512
_MAX_VIOLATION_BYTES = 4096
_MAX_METADATA_BYTES = 1024

_STATUS_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def shown(value: object) -> str:
    """A value as it may appear in a message: shortened, so that no caller can fill a log or a trailer, and printable."""
    text = printable(value[: SHOWN_LENGTH + 1] if isinstance(value, str) else repr(value))
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken field rule: path of the field, rule id in UPPER_SNAKE_CASE, and words for people."""

    field: str
    rule: str
    description: str


class MeshError(Exception):
    """An error with a code, a machine-readable reason and words; the base of all errors that cross services."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})
        self.violations: tuple[Violation, ...] = tuple(violations)
        self.retry_after = retry_after


class InvalidRequest(MeshError):
    """The caller must mend the request; a retry cannot help. Carries every violation at once."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        found = tuple(violations)
        positions = bool(found) and all(violation.rule == "INVALID_POSITION" for violation in found)
        fields = list(dict.fromkeys(violation.field for violation in found))[:8]
        super().__init__(
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_POSITION" if positions else "INVALID_REQUEST",
            f"{len(found)} field rule(s) broken: {', '.join(fields)}",
            violations=found,
        )


class NotFound(MeshError):
    """The caller asked for something that is not stored; it must use another id."""

    def __init__(self, what: str, id: object) -> None:
        super().__init__(
            grpc.StatusCode.NOT_FOUND,
            "NOT_FOUND",
            f"no {what} is stored under {shown(str(id))}",
            metadata={"what": what, "id": shown(str(id))},
        )


class RequestIdReused(MeshError):
    """The caller used one request_id for two bodies; it must take a new id for a new request."""

    def __init__(self, request_id: object) -> None:
        super().__init__(
            grpc.StatusCode.ALREADY_EXISTS,
            "REQUEST_ID_REUSED",
            f"request_id {shown(str(request_id))} was used for another body; use a new id for a new request",
            metadata={"request_id": shown(str(request_id))},
        )


class AlreadyInProgress(MeshError):
    """The same request is being worked on; the caller asks again after `retry_after` with the same request_id."""

    def __init__(self, request_id: object, retry_after: float = 1.0) -> None:
        super().__init__(
            grpc.StatusCode.ABORTED,
            "REQUEST_IN_PROGRESS",
            f"request_id {shown(str(request_id))} is being worked on; ask again with the same id",
            metadata={"request_id": shown(str(request_id))},
            retry_after=retry_after,
        )


class PermissionDenied(MeshError):
    """The operator must change the method's policy, or the caller must not call it."""

    def __init__(self, caller: str, method: str) -> None:
        super().__init__(
            grpc.StatusCode.PERMISSION_DENIED,
            "CALLER_NOT_ALLOWED",
            f"{shown(caller)} may not call {shown(method)}",
            metadata={"caller": shown(caller), "method": shown(method)},
        )


class Unauthenticated(MeshError):
    """The caller must show who it is."""

    def __init__(self, method: str, why: str = "") -> None:
        super().__init__(
            grpc.StatusCode.UNAUTHENTICATED,
            "CALLER_UNKNOWN",
            f"the caller of {shown(method)} is not known" + (f": {why}" if why else ""),
            metadata={"method": shown(method)},
        )


class TooManyInFlight(MeshError):
    """The caller must slow down and retry after `retry_after`."""

    def __init__(
        self,
        what: str,
        limit: int,
        retry_after: float = 0.5,
        reason: str = "TOO_MANY_IN_FLIGHT",
        whose: str = "its limit",
    ) -> None:
        super().__init__(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason,
            f"{shown(what)} already has {limit} in flight, {whose}; retry after {retry_after:g} s",
            metadata={"what": shown(what), "limit": str(limit)},
            retry_after=retry_after,
        )


class Unavailable(MeshError):
    """Time must act: something does not answer now; retry after `retry_after`. Not for effects in doubt."""

    def __init__(self, reason: str, message: str, retry_after: float | None = 1.0) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, reason, message, retry_after=retry_after)


class OutcomeUnknown(MeshError):
    """Nobody knows yet whether the effect happened; ask again with the same id, never with a new one."""

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN", message, metadata=metadata)


class FailedPrecondition(MeshError):
    """The state of the system forbids this; somebody must change the state before a retry can help."""

    def __init__(self, reason: str, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(grpc.StatusCode.FAILED_PRECONDITION, reason, message, metadata=metadata)


class Misconfigured(FailedPrecondition):
    """The operator must mend the configuration; a restart alone cannot help."""

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__("MISCONFIGURED", message, metadata)


class Aborted(MeshError):
    """The caller lost a race; it starts again from a fresh read."""

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(grpc.StatusCode.ABORTED, reason, message, metadata=metadata, retry_after=retry_after)


class DeadlineTooShort(MeshError):
    """The caller must give more time, or the time is simply over. If the call had an effect, its outcome is unknown."""

    def __init__(self, message: str, reason: str = "DEADLINE_TOO_SHORT") -> None:
        super().__init__(grpc.StatusCode.DEADLINE_EXCEEDED, reason, message)


class Internal(MeshError):
    """A defect: the developer must act. The log has the cause under `error_id`; the caller never sees it."""

    def __init__(self, error_id: str) -> None:
        super().__init__(
            grpc.StatusCode.INTERNAL,
            "INTERNAL",
            f"internal error {error_id}; the service's log has it under this id",
            metadata={"error_id": error_id},
        )


_CLASS_BY_CODE: dict[grpc.StatusCode, type[MeshError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: RequestIdReused,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooManyInFlight,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineTooShort,
    grpc.StatusCode.INTERNAL: Internal,
}
_CLASS_BY_REASON: dict[str, type[MeshError]] = {
    "REQUEST_IN_PROGRESS": AlreadyInProgress,
    "MISCONFIGURED": Misconfigured,
    "OUTCOME_UNKNOWN": OutcomeUnknown,
}
# A status without ErrorInfo was made by a transport; these are the reasons that fit what a transport can mean.
_REASON_BY_CODE: dict[grpc.StatusCode, str] = {
    grpc.StatusCode.UNAVAILABLE: "DEPENDENCY_UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_TOO_SHORT",
    grpc.StatusCode.UNIMPLEMENTED: "UNKNOWN_METHOD",
    grpc.StatusCode.INTERNAL: "INTERNAL",
}


def rebuild(
    code: grpc.StatusCode | int,
    reason: str,
    message: str,
    *,
    metadata: Mapping[str, str] | None = None,
    violations: Iterable[Violation] = (),
    retry_after: float | None = None,
) -> MeshError:
    """The error of the class that fits code and reason; for errors that arrive over the wire."""
    status = _STATUS_BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN) if isinstance(code, int) else code
    kind = _CLASS_BY_REASON.get(reason) or _CLASS_BY_CODE.get(status, MeshError)
    error = kind.__new__(kind)
    MeshError.__init__(
        error, status, reason, message, metadata=metadata, violations=violations, retry_after=retry_after
    )
    return error


def to_status(error: MeshError, domain: str) -> status_pb2.Status:
    """The error as `google.rpc.Status`; `domain` names the service that says so."""
    status = status_pb2.Status(code=error.code.value[0], message=printable(error.message)[:_MAX_MESSAGE_LENGTH])
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=domain)
    for key, value in _within(_readable(error.metadata), _MAX_METADATA_BYTES):
        info.metadata[key] = value
    status.details.add().Pack(info)
    if error.violations:
        status.details.add().Pack(_bad_request(error.violations))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after * 1e9))
        status.details.add().Pack(retry)
    return status


def _readable(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(printable(key), printable(value)) for key, value in metadata.items()]


def _within(pairs: Iterable[tuple[str, str]], budget: int) -> list[tuple[str, str]]:
    kept = []
    for key, value in pairs:
        budget -= len(key.encode()) + len(value.encode())
        if budget < 0:
            break
        kept.append((key, value))
    return kept


def _bad_request(violations: tuple[Violation, ...]) -> error_details_pb2.BadRequest:
    """As many violations as the trailer can carry, then one that counts the rest."""
    request = error_details_pb2.BadRequest()
    for number, violation in enumerate(violations):
        request.field_violations.add(
            field=violation.field[:128], reason=violation.rule[:63], description=violation.description[:256]
        )
        if request.ByteSize() > _MAX_VIOLATION_BYTES:
            del request.field_violations[-1]
            left = len(violations) - number
            request.field_violations.add(reason="MORE_VIOLATIONS", description=f"and {left} more")
            break
    return request


def from_rpc_error(error: grpc.aio.AioRpcError) -> MeshError:
    """Reads ErrorInfo, BadRequest and RetryInfo back; a status without them gets the reason that fits its code."""
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # a proxy rewrote code or message: the details can no longer be trusted
        status = None
    if status is None:
        code = error.code()
        return rebuild(code, _REASON_BY_CODE.get(code, code.name), error.details() or code.name)
    return from_status(status)


def is_told(error: grpc.aio.AioRpcError) -> bool:
    """Whether a service said this itself: its errors carry details, those of a transport do not."""
    try:
        return rpc_status.from_call(cast("grpc.Call", error)) is not None
    except ValueError:
        return False


def from_status(status: status_pb2.Status) -> MeshError:
    """The error that `to_status` wrote."""
    code = _STATUS_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    reason, metadata = _REASON_BY_CODE.get(code, code.name), {}
    violations: list[Violation] = []
    retry_after: float | None = None
    info, request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status.details:
        if detail.Unpack(info):
            reason = printable(info.reason)
            metadata = {printable(key): printable(text) for key, text in info.metadata.items()}
        elif detail.Unpack(request):
            violations = [_violation(found) for found in request.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return rebuild(
        code, reason, printable(status.message), metadata=metadata, violations=violations, retry_after=retry_after
    )


def _violation(found: Any) -> Violation:
    return Violation(printable(found.field), printable(found.reason), printable(found.description))


def code_number(error: MeshError) -> int:
    """Number of `google.rpc.Code`, as item errors of streams carry it."""
    number: int = error.code.value[0]
    if number not in code_pb2.Code.values():
        raise ValueError(f"{error.code} has no google.rpc.Code")
    return number
