import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_ID_REUSED: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_IN_PROGRESS: _ClassVar[ErrorReason]
    ERROR_REASON_CALLER_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_CALLER_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_IN_FLIGHT: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_TOO_SHORT: _ClassVar[ErrorReason]
    ERROR_REASON_DATABASE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_DEPENDENCY_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_OUTCOME_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_MISCONFIGURED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_TICKET_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_RESERVATION_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_TRADING_HALTED: _ClassVar[ErrorReason]
    ERROR_REASON_STALE_DATA: _ClassVar[ErrorReason]
    ERROR_REASON_ORDER_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_POSITION: _ClassVar[ErrorReason]
    ERROR_REASON_CREDIT_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_HELD: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_METHOD: _ClassVar[ErrorReason]
    ERROR_REASON_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_REVIEWED: _ClassVar[ErrorReason]
    ERROR_REASON_PROMOTION_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_MARKET_SIMULATED: _ClassVar[ErrorReason]
    ERROR_REASON_NOTHING_AVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_TERMS_DIFFER: _ClassVar[ErrorReason]
    ERROR_REASON_LEDGER_MOVED: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_REQUEST: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_REQUEST_ID_REUSED: ErrorReason
ERROR_REASON_REQUEST_IN_PROGRESS: ErrorReason
ERROR_REASON_CALLER_NOT_ALLOWED: ErrorReason
ERROR_REASON_CALLER_UNKNOWN: ErrorReason
ERROR_REASON_TOO_MANY_IN_FLIGHT: ErrorReason
ERROR_REASON_DEADLINE_TOO_SHORT: ErrorReason
ERROR_REASON_DATABASE_UNAVAILABLE: ErrorReason
ERROR_REASON_DEPENDENCY_UNAVAILABLE: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_OUTCOME_UNKNOWN: ErrorReason
ERROR_REASON_MISCONFIGURED: ErrorReason
ERROR_REASON_MODEL_UNAVAILABLE: ErrorReason
ERROR_REASON_TICKET_REFUSED: ErrorReason
ERROR_REASON_RESERVATION_LOST: ErrorReason
ERROR_REASON_TRADING_HALTED: ErrorReason
ERROR_REASON_STALE_DATA: ErrorReason
ERROR_REASON_ORDER_UNKNOWN: ErrorReason
ERROR_REASON_INVALID_POSITION: ErrorReason
ERROR_REASON_CREDIT_EXCEEDED: ErrorReason
ERROR_REASON_NOT_HELD: ErrorReason
ERROR_REASON_UNKNOWN_METHOD: ErrorReason
ERROR_REASON_EXPIRED: ErrorReason
ERROR_REASON_NOT_REVIEWED: ErrorReason
ERROR_REASON_PROMOTION_REFUSED: ErrorReason
ERROR_REASON_MARKET_SIMULATED: ErrorReason
ERROR_REASON_NOTHING_AVAILABLE: ErrorReason
ERROR_REASON_TERMS_DIFFER: ErrorReason
ERROR_REASON_LEDGER_MOVED: ErrorReason

class FieldViolation(_message.Message):
    __slots__ = ("field", "rule", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    rule: str
    description: str
    def __init__(self, field: _Optional[str] = ..., rule: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("request_id", "recommendation_id", "code", "reason", "message", "violations", "retry_after")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    recommendation_id: str
    code: int
    reason: ErrorReason
    message: str
    violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    retry_after: _duration_pb2.Duration
    def __init__(self, request_id: _Optional[str] = ..., recommendation_id: _Optional[str] = ..., code: _Optional[int] = ..., reason: _Optional[_Union[ErrorReason, str]] = ..., message: _Optional[str] = ..., violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
