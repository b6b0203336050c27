import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
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

class CancelRecommendationResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_RECOMMENDATION_RESULT_UNSPECIFIED: _ClassVar[CancelRecommendationResult]
    CANCEL_RECOMMENDATION_RESULT_CANCELLED: _ClassVar[CancelRecommendationResult]
    CANCEL_RECOMMENDATION_RESULT_ORDER_GOES_ON: _ClassVar[CancelRecommendationResult]
    CANCEL_RECOMMENDATION_RESULT_ALREADY_ENDED: _ClassVar[CancelRecommendationResult]
CANCEL_RECOMMENDATION_RESULT_UNSPECIFIED: CancelRecommendationResult
CANCEL_RECOMMENDATION_RESULT_CANCELLED: CancelRecommendationResult
CANCEL_RECOMMENDATION_RESULT_ORDER_GOES_ON: CancelRecommendationResult
CANCEL_RECOMMENDATION_RESULT_ALREADY_ENDED: CancelRecommendationResult

class GetPipelineRequest(_message.Message):
    __slots__ = ("from_time",)
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    from_time: _timestamp_pb2.Timestamp
    def __init__(self, from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class OutcomeCount(_message.Message):
    __slots__ = ("outcome", "reason", "count")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    outcome: str
    reason: str
    count: int
    def __init__(self, outcome: _Optional[str] = ..., reason: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class StageStatus(_message.Message):
    __slots__ = ("stage", "total", "outcomes", "watermark", "lag")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    stage: str
    total: int
    outcomes: _containers.RepeatedCompositeFieldContainer[OutcomeCount]
    watermark: _timestamp_pb2.Timestamp
    lag: _duration_pb2.Duration
    def __init__(self, stage: _Optional[str] = ..., total: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[OutcomeCount, _Mapping]]] = ..., watermark: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetPipelineResponse(_message.Message):
    __slots__ = ("stages", "open_recommendations", "waiting_recommendations", "open_orders", "unknown_orders", "market_time", "resting_orders")
    STAGES_FIELD_NUMBER: _ClassVar[int]
    OPEN_RECOMMENDATIONS_FIELD_NUMBER: _ClassVar[int]
    WAITING_RECOMMENDATIONS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    MARKET_TIME_FIELD_NUMBER: _ClassVar[int]
    RESTING_ORDERS_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedCompositeFieldContainer[StageStatus]
    open_recommendations: int
    waiting_recommendations: int
    open_orders: int
    unknown_orders: int
    market_time: _timestamp_pb2.Timestamp
    resting_orders: int
    def __init__(self, stages: _Optional[_Iterable[_Union[StageStatus, _Mapping]]] = ..., open_recommendations: _Optional[int] = ..., waiting_recommendations: _Optional[int] = ..., open_orders: _Optional[int] = ..., unknown_orders: _Optional[int] = ..., market_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resting_orders: _Optional[int] = ...) -> None: ...

class DecisionEvent(_message.Message):
    __slots__ = ("sequence", "recommendation_id", "product_id", "side", "from_state", "to_state", "decided_by", "reasons", "as_of", "event_time")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    FROM_STATE_FIELD_NUMBER: _ClassVar[int]
    TO_STATE_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    recommendation_id: str
    product_id: str
    side: _trade_pb2.Side
    from_state: _recommendation_pb2.RecommendationState
    to_state: _recommendation_pb2.RecommendationState
    decided_by: str
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    as_of: _timestamp_pb2.Timestamp
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, sequence: _Optional[int] = ..., recommendation_id: _Optional[str] = ..., product_id: _Optional[str] = ..., side: _Optional[_Union[_trade_pb2.Side, str]] = ..., from_state: _Optional[_Union[_recommendation_pb2.RecommendationState, str]] = ..., to_state: _Optional[_Union[_recommendation_pb2.RecommendationState, str]] = ..., decided_by: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchDecisionsRequest(_message.Message):
    __slots__ = ("after_sequence",)
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    def __init__(self, after_sequence: _Optional[int] = ...) -> None: ...

class WatchDecisionsResponse(_message.Message):
    __slots__ = ("batch", "watermark", "heartbeat", "draining")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    batch: DecisionBatch
    watermark: _stream_pb2.Watermark
    heartbeat: _stream_pb2.Heartbeat
    draining: _stream_pb2.Draining
    def __init__(self, batch: _Optional[_Union[DecisionBatch, _Mapping]] = ..., watermark: _Optional[_Union[_stream_pb2.Watermark, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[_stream_pb2.Draining, _Mapping]] = ...) -> None: ...

class DecisionBatch(_message.Message):
    __slots__ = ("decisions",)
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[DecisionEvent]
    def __init__(self, decisions: _Optional[_Iterable[_Union[DecisionEvent, _Mapping]]] = ...) -> None: ...

class ExplainRecommendationRequest(_message.Message):
    __slots__ = ("recommendation_id", "signal_id", "order_id")
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    recommendation_id: str
    signal_id: str
    order_id: str
    def __init__(self, recommendation_id: _Optional[str] = ..., signal_id: _Optional[str] = ..., order_id: _Optional[str] = ...) -> None: ...

class ExplainStep(_message.Message):
    __slots__ = ("stage", "summary", "outcome", "reasons", "facts", "as_of", "event_time")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    stage: str
    summary: str
    outcome: str
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    facts: _containers.ScalarMap[str, str]
    as_of: _timestamp_pb2.Timestamp
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, stage: _Optional[str] = ..., summary: _Optional[str] = ..., outcome: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., facts: _Optional[_Mapping[str, str]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExplainRecommendationResponse(_message.Message):
    __slots__ = ("record", "steps", "verdict")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    record: _recommendation_pb2.RecommendationRecord
    steps: _containers.RepeatedCompositeFieldContainer[ExplainStep]
    verdict: str
    def __init__(self, record: _Optional[_Union[_recommendation_pb2.RecommendationRecord, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[ExplainStep, _Mapping]]] = ..., verdict: _Optional[str] = ...) -> None: ...

class CancelRecommendationRequest(_message.Message):
    __slots__ = ("request_id", "recommendation_id", "note")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    recommendation_id: str
    note: str
    def __init__(self, request_id: _Optional[str] = ..., recommendation_id: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class CancelRecommendationResponse(_message.Message):
    __slots__ = ("result", "record", "order_id")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    result: CancelRecommendationResult
    record: _recommendation_pb2.RecommendationRecord
    order_id: str
    def __init__(self, result: _Optional[_Union[CancelRecommendationResult, str]] = ..., record: _Optional[_Union[_recommendation_pb2.RecommendationRecord, _Mapping]] = ..., order_id: _Optional[str] = ...) -> None: ...
