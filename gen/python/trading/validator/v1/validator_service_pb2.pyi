import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trading.common.v1 import error_pb2 as _error_pb2
from trading.common.v1 import recommendation_pb2 as _recommendation_pb2
from trading.common.v1 import stream_pb2 as _stream_pb2
from trading.common.v1 import trade_pb2 as _trade_pb2
from trading.options.v1 import policy_pb2 as _policy_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_APPROVE: _ClassVar[Verdict]
    VERDICT_REJECT: _ClassVar[Verdict]

class ReviewOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REVIEW_OUTCOME_UNSPECIFIED: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_APPROVE: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_REJECT: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_INVALID_OUTPUT: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_TIMEOUT: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_UNAVAILABLE: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_OVERLOADED: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_EXPIRED: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_SKIPPED_CAPACITY: _ClassVar[ReviewOutcome]
    REVIEW_OUTCOME_SKIPPED_DUPLICATE: _ClassVar[ReviewOutcome]

class ReviewMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REVIEW_MODE_UNSPECIFIED: _ClassVar[ReviewMode]
    REVIEW_MODE_VETO: _ClassVar[ReviewMode]
    REVIEW_MODE_SHADOW: _ClassVar[ReviewMode]
VERDICT_UNSPECIFIED: Verdict
VERDICT_APPROVE: Verdict
VERDICT_REJECT: Verdict
REVIEW_OUTCOME_UNSPECIFIED: ReviewOutcome
REVIEW_OUTCOME_APPROVE: ReviewOutcome
REVIEW_OUTCOME_REJECT: ReviewOutcome
REVIEW_OUTCOME_INVALID_OUTPUT: ReviewOutcome
REVIEW_OUTCOME_TIMEOUT: ReviewOutcome
REVIEW_OUTCOME_UNAVAILABLE: ReviewOutcome
REVIEW_OUTCOME_OVERLOADED: ReviewOutcome
REVIEW_OUTCOME_EXPIRED: ReviewOutcome
REVIEW_OUTCOME_SKIPPED_CAPACITY: ReviewOutcome
REVIEW_OUTCOME_SKIPPED_DUPLICATE: ReviewOutcome
REVIEW_MODE_UNSPECIFIED: ReviewMode
REVIEW_MODE_VETO: ReviewMode
REVIEW_MODE_SHADOW: ReviewMode

class Review(_message.Message):
    __slots__ = ("reviewer", "outcome", "reasons", "enforced", "model", "model_digest", "latency_ms")
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    reviewer: str
    outcome: ReviewOutcome
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    enforced: bool
    model: str
    model_digest: str
    latency_ms: float
    def __init__(self, reviewer: _Optional[str] = ..., outcome: _Optional[_Union[ReviewOutcome, str]] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., enforced: _Optional[bool] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., latency_ms: _Optional[float] = ...) -> None: ...

class Validation(_message.Message):
    __slots__ = ("validation_id", "recommendation_id", "verdict", "decided_by", "mode", "reviews", "decide_time")
    VALIDATION_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REVIEWS_FIELD_NUMBER: _ClassVar[int]
    DECIDE_TIME_FIELD_NUMBER: _ClassVar[int]
    validation_id: str
    recommendation_id: str
    verdict: Verdict
    decided_by: str
    mode: ReviewMode
    reviews: _containers.RepeatedCompositeFieldContainer[Review]
    decide_time: _timestamp_pb2.Timestamp
    def __init__(self, validation_id: _Optional[str] = ..., recommendation_id: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., decided_by: _Optional[str] = ..., mode: _Optional[_Union[ReviewMode, str]] = ..., reviews: _Optional[_Iterable[_Union[Review, _Mapping]]] = ..., decide_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ValidateRecommendationRequest(_message.Message):
    __slots__ = ("request_id", "recommendation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    recommendation: _recommendation_pb2.Recommendation
    def __init__(self, request_id: _Optional[str] = ..., recommendation: _Optional[_Union[_recommendation_pb2.Recommendation, _Mapping]] = ...) -> None: ...

class ValidateRecommendationResponse(_message.Message):
    __slots__ = ("validation",)
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    validation: Validation
    def __init__(self, validation: _Optional[_Union[Validation, _Mapping]] = ...) -> None: ...

class StreamValidationsRequest(_message.Message):
    __slots__ = ("open", "item", "heartbeat", "traceparent")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    open: StreamValidationsOpen
    item: ValidateRecommendationRequest
    heartbeat: _stream_pb2.Heartbeat
    traceparent: str
    def __init__(self, open: _Optional[_Union[StreamValidationsOpen, _Mapping]] = ..., item: _Optional[_Union[ValidateRecommendationRequest, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class StreamValidationsOpen(_message.Message):
    __slots__ = ("client", "max_in_flight")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    client: str
    max_in_flight: int
    def __init__(self, client: _Optional[str] = ..., max_in_flight: _Optional[int] = ...) -> None: ...

class StreamValidationsResponse(_message.Message):
    __slots__ = ("opened", "answer", "item_error", "heartbeat", "draining")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ITEM_ERROR_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    opened: StreamValidationsOpened
    answer: ValidationAnswer
    item_error: _error_pb2.ItemError
    heartbeat: _stream_pb2.Heartbeat
    draining: _stream_pb2.Draining
    def __init__(self, opened: _Optional[_Union[StreamValidationsOpened, _Mapping]] = ..., answer: _Optional[_Union[ValidationAnswer, _Mapping]] = ..., item_error: _Optional[_Union[_error_pb2.ItemError, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[_stream_pb2.Draining, _Mapping]] = ...) -> None: ...

class StreamValidationsOpened(_message.Message):
    __slots__ = ("max_in_flight",)
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    max_in_flight: int
    def __init__(self, max_in_flight: _Optional[int] = ...) -> None: ...

class ValidationAnswer(_message.Message):
    __slots__ = ("request_id", "validation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    validation: Validation
    def __init__(self, request_id: _Optional[str] = ..., validation: _Optional[_Union[Validation, _Mapping]] = ...) -> None: ...

class GetReviewerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetReviewerResponse(_message.Message):
    __slots__ = ("reviewer", "mode", "model", "model_digest", "fit", "detail", "self_test_calls", "self_test_valid", "prompt_version")
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SELF_TEST_CALLS_FIELD_NUMBER: _ClassVar[int]
    SELF_TEST_VALID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_VERSION_FIELD_NUMBER: _ClassVar[int]
    reviewer: str
    mode: ReviewMode
    model: str
    model_digest: str
    fit: bool
    detail: str
    self_test_calls: int
    self_test_valid: int
    prompt_version: str
    def __init__(self, reviewer: _Optional[str] = ..., mode: _Optional[_Union[ReviewMode, str]] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., fit: _Optional[bool] = ..., detail: _Optional[str] = ..., self_test_calls: _Optional[int] = ..., self_test_valid: _Optional[int] = ..., prompt_version: _Optional[str] = ...) -> None: ...
