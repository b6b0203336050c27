import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trading.common.v1 import decimal_pb2 as _decimal_pb2
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

class SignalSide(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNAL_SIDE_UNSPECIFIED: _ClassVar[SignalSide]
    SIGNAL_SIDE_BUY: _ClassVar[SignalSide]
    SIGNAL_SIDE_SELL: _ClassVar[SignalSide]
    SIGNAL_SIDE_HOLD: _ClassVar[SignalSide]
SIGNAL_SIDE_UNSPECIFIED: SignalSide
SIGNAL_SIDE_BUY: SignalSide
SIGNAL_SIDE_SELL: SignalSide
SIGNAL_SIDE_HOLD: SignalSide

class Signal(_message.Message):
    __slots__ = ("signal_id", "product_id", "granularity", "bar_start_time", "as_of", "side", "confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon", "reference_price", "model_version", "feature_set_hash", "profile", "reasons", "features", "sequence")
    SIGNAL_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    BAR_START_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    P_DOWN_FIELD_NUMBER: _ClassVar[int]
    P_NEUTRAL_FIELD_NUMBER: _ClassVar[int]
    P_UP_FIELD_NUMBER: _ClassVar[int]
    EDGE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_NET_FIELD_NUMBER: _ClassVar[int]
    SIGMA_HORIZON_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SET_HASH_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    signal_id: str
    product_id: str
    granularity: _trade_pb2.Granularity
    bar_start_time: _timestamp_pb2.Timestamp
    as_of: _timestamp_pb2.Timestamp
    side: SignalSide
    confidence: float
    p_down: float
    p_neutral: float
    p_up: float
    edge: float
    expected_net: float
    sigma_horizon: float
    reference_price: _decimal_pb2.Decimal
    model_version: str
    feature_set_hash: str
    profile: _trade_pb2.DecisionProfile
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    features: _containers.RepeatedCompositeFieldContainer[_trade_pb2.FeatureValue]
    sequence: int
    def __init__(self, signal_id: _Optional[str] = ..., product_id: _Optional[str] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., bar_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., side: _Optional[_Union[SignalSide, str]] = ..., confidence: _Optional[float] = ..., p_down: _Optional[float] = ..., p_neutral: _Optional[float] = ..., p_up: _Optional[float] = ..., edge: _Optional[float] = ..., expected_net: _Optional[float] = ..., sigma_horizon: _Optional[float] = ..., reference_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., model_version: _Optional[str] = ..., feature_set_hash: _Optional[str] = ..., profile: _Optional[_Union[_trade_pb2.DecisionProfile, str]] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[_trade_pb2.FeatureValue, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class GenerateSignalsRequest(_message.Message):
    __slots__ = ("request_id", "product_ids", "as_of")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, request_id: _Optional[str] = ..., product_ids: _Optional[_Iterable[str]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GenerateSignalsResponse(_message.Message):
    __slots__ = ("signals",)
    SIGNALS_FIELD_NUMBER: _ClassVar[int]
    signals: _containers.RepeatedCompositeFieldContainer[Signal]
    def __init__(self, signals: _Optional[_Iterable[_Union[Signal, _Mapping]]] = ...) -> None: ...

class GetSignalRequest(_message.Message):
    __slots__ = ("signal_id",)
    SIGNAL_ID_FIELD_NUMBER: _ClassVar[int]
    signal_id: str
    def __init__(self, signal_id: _Optional[str] = ...) -> None: ...

class GetSignalResponse(_message.Message):
    __slots__ = ("signal",)
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    signal: Signal
    def __init__(self, signal: _Optional[_Union[Signal, _Mapping]] = ...) -> None: ...

class ListSignalsRequest(_message.Message):
    __slots__ = ("product_id", "side", "page_size", "page_token")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    side: SignalSide
    page_size: int
    page_token: str
    def __init__(self, product_id: _Optional[str] = ..., side: _Optional[_Union[SignalSide, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSignalsResponse(_message.Message):
    __slots__ = ("signals", "next_page_token")
    SIGNALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    signals: _containers.RepeatedCompositeFieldContainer[Signal]
    next_page_token: str
    def __init__(self, signals: _Optional[_Iterable[_Union[Signal, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchSignalsRequest(_message.Message):
    __slots__ = ("after_sequence",)
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    def __init__(self, after_sequence: _Optional[int] = ...) -> None: ...

class WatchSignalsResponse(_message.Message):
    __slots__ = ("batch", "watermark", "heartbeat", "draining")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    batch: SignalBatch
    watermark: _stream_pb2.Watermark
    heartbeat: _stream_pb2.Heartbeat
    draining: _stream_pb2.Draining
    def __init__(self, batch: _Optional[_Union[SignalBatch, _Mapping]] = ..., watermark: _Optional[_Union[_stream_pb2.Watermark, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[_stream_pb2.Draining, _Mapping]] = ...) -> None: ...

class SignalBatch(_message.Message):
    __slots__ = ("signals",)
    SIGNALS_FIELD_NUMBER: _ClassVar[int]
    signals: _containers.RepeatedCompositeFieldContainer[Signal]
    def __init__(self, signals: _Optional[_Iterable[_Union[Signal, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model_version", "loaded", "refusal_code", "refusal_detail", "feature_set_hash", "profile", "theta_buy", "theta_sell", "always_hold", "train_start_time", "train_end_time", "load_time", "manifest_json")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_CODE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_DETAIL_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SET_HASH_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    THETA_BUY_FIELD_NUMBER: _ClassVar[int]
    THETA_SELL_FIELD_NUMBER: _ClassVar[int]
    ALWAYS_HOLD_FIELD_NUMBER: _ClassVar[int]
    TRAIN_START_TIME_FIELD_NUMBER: _ClassVar[int]
    TRAIN_END_TIME_FIELD_NUMBER: _ClassVar[int]
    LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    loaded: bool
    refusal_code: str
    refusal_detail: str
    feature_set_hash: str
    profile: _trade_pb2.DecisionProfile
    theta_buy: float
    theta_sell: float
    always_hold: bool
    train_start_time: _timestamp_pb2.Timestamp
    train_end_time: _timestamp_pb2.Timestamp
    load_time: _timestamp_pb2.Timestamp
    manifest_json: str
    def __init__(self, model_version: _Optional[str] = ..., loaded: _Optional[bool] = ..., refusal_code: _Optional[str] = ..., refusal_detail: _Optional[str] = ..., feature_set_hash: _Optional[str] = ..., profile: _Optional[_Union[_trade_pb2.DecisionProfile, str]] = ..., theta_buy: _Optional[float] = ..., theta_sell: _Optional[float] = ..., always_hold: _Optional[bool] = ..., train_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., train_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., load_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., manifest_json: _Optional[str] = ...) -> None: ...
