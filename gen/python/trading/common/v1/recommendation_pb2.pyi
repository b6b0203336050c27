import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trading.common.v1 import decimal_pb2 as _decimal_pb2
from trading.common.v1 import trade_pb2 as _trade_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecommendationOrigin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOMMENDATION_ORIGIN_UNSPECIFIED: _ClassVar[RecommendationOrigin]
    RECOMMENDATION_ORIGIN_SIGNAL: _ClassVar[RecommendationOrigin]
    RECOMMENDATION_ORIGIN_OPERATOR: _ClassVar[RecommendationOrigin]

class RecommendationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOMMENDATION_STATE_UNSPECIFIED: _ClassVar[RecommendationState]
    RECOMMENDATION_STATE_PROPOSED: _ClassVar[RecommendationState]
    RECOMMENDATION_STATE_IN_REVIEW: _ClassVar[RecommendationState]
    RECOMMENDATION_STATE_EXECUTING: _ClassVar[RecommendationState]
    RECOMMENDATION_STATE_EXECUTED: _ClassVar[RecommendationState]
    RECOMMENDATION_STATE_REJECTED: _ClassVar[RecommendationState]
    RECOMMENDATION_STATE_EXPIRED: _ClassVar[RecommendationState]
    RECOMMENDATION_STATE_FAILED: _ClassVar[RecommendationState]

class LifeClock(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIFE_CLOCK_UNSPECIFIED: _ClassVar[LifeClock]
    LIFE_CLOCK_MACHINE: _ClassVar[LifeClock]
    LIFE_CLOCK_MARKET: _ClassVar[LifeClock]
RECOMMENDATION_ORIGIN_UNSPECIFIED: RecommendationOrigin
RECOMMENDATION_ORIGIN_SIGNAL: RecommendationOrigin
RECOMMENDATION_ORIGIN_OPERATOR: RecommendationOrigin
RECOMMENDATION_STATE_UNSPECIFIED: RecommendationState
RECOMMENDATION_STATE_PROPOSED: RecommendationState
RECOMMENDATION_STATE_IN_REVIEW: RecommendationState
RECOMMENDATION_STATE_EXECUTING: RecommendationState
RECOMMENDATION_STATE_EXECUTED: RecommendationState
RECOMMENDATION_STATE_REJECTED: RecommendationState
RECOMMENDATION_STATE_EXPIRED: RecommendationState
RECOMMENDATION_STATE_FAILED: RecommendationState
LIFE_CLOCK_UNSPECIFIED: LifeClock
LIFE_CLOCK_MACHINE: LifeClock
LIFE_CLOCK_MARKET: LifeClock

class SignalEvidence(_message.Message):
    __slots__ = ("signal_id", "confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon", "model_version", "feature_set_hash", "features")
    SIGNAL_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    P_DOWN_FIELD_NUMBER: _ClassVar[int]
    P_NEUTRAL_FIELD_NUMBER: _ClassVar[int]
    P_UP_FIELD_NUMBER: _ClassVar[int]
    EDGE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_NET_FIELD_NUMBER: _ClassVar[int]
    SIGMA_HORIZON_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SET_HASH_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    signal_id: str
    confidence: float
    p_down: float
    p_neutral: float
    p_up: float
    edge: float
    expected_net: float
    sigma_horizon: float
    model_version: str
    feature_set_hash: str
    features: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, signal_id: _Optional[str] = ..., confidence: _Optional[float] = ..., p_down: _Optional[float] = ..., p_neutral: _Optional[float] = ..., p_up: _Optional[float] = ..., edge: _Optional[float] = ..., expected_net: _Optional[float] = ..., sigma_horizon: _Optional[float] = ..., model_version: _Optional[str] = ..., feature_set_hash: _Optional[str] = ..., features: _Optional[_Iterable[float]] = ...) -> None: ...

class ExitPlan(_message.Message):
    __slots__ = ("stop_price", "target_price", "exit_time")
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_PRICE_FIELD_NUMBER: _ClassVar[int]
    EXIT_TIME_FIELD_NUMBER: _ClassVar[int]
    stop_price: _decimal_pb2.Decimal
    target_price: _decimal_pb2.Decimal
    exit_time: _timestamp_pb2.Timestamp
    def __init__(self, stop_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., target_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Recommendation(_message.Message):
    __slots__ = ("recommendation_id", "product_id", "side", "quote_size", "base_size", "reference_price", "as_of", "expire_time", "life_clock", "origin", "profile", "priority", "evidence", "note", "exit_plan")
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_SIZE_FIELD_NUMBER: _ClassVar[int]
    BASE_SIZE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LIFE_CLOCK_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EXIT_PLAN_FIELD_NUMBER: _ClassVar[int]
    recommendation_id: str
    product_id: str
    side: _trade_pb2.Side
    quote_size: _decimal_pb2.Decimal
    base_size: _decimal_pb2.Decimal
    reference_price: _decimal_pb2.Decimal
    as_of: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    life_clock: LifeClock
    origin: RecommendationOrigin
    profile: _trade_pb2.DecisionProfile
    priority: float
    evidence: SignalEvidence
    note: str
    exit_plan: ExitPlan
    def __init__(self, recommendation_id: _Optional[str] = ..., product_id: _Optional[str] = ..., side: _Optional[_Union[_trade_pb2.Side, str]] = ..., quote_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., base_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., reference_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., life_clock: _Optional[_Union[LifeClock, str]] = ..., origin: _Optional[_Union[RecommendationOrigin, str]] = ..., profile: _Optional[_Union[_trade_pb2.DecisionProfile, str]] = ..., priority: _Optional[float] = ..., evidence: _Optional[_Union[SignalEvidence, _Mapping]] = ..., note: _Optional[str] = ..., exit_plan: _Optional[_Union[ExitPlan, _Mapping]] = ...) -> None: ...

class RecommendationRecord(_message.Message):
    __slots__ = ("recommendation", "state", "reasons", "decided_by", "adjusted_size", "order_id", "sequence", "create_time", "update_time")
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    ADJUSTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    recommendation: Recommendation
    state: RecommendationState
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    decided_by: str
    adjusted_size: _decimal_pb2.Decimal
    order_id: str
    sequence: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, recommendation: _Optional[_Union[Recommendation, _Mapping]] = ..., state: _Optional[_Union[RecommendationState, str]] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., decided_by: _Optional[str] = ..., adjusted_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., order_id: _Optional[str] = ..., sequence: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
