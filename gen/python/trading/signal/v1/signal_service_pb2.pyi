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

class DriftLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_LEVEL_UNSPECIFIED: _ClassVar[DriftLevel]
    DRIFT_LEVEL_NONE: _ClassVar[DriftLevel]
    DRIFT_LEVEL_NOTICE: _ClassVar[DriftLevel]
    DRIFT_LEVEL_WARNING: _ClassVar[DriftLevel]
    DRIFT_LEVEL_ALARM: _ClassVar[DriftLevel]

class ModelRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_ROLE_UNSPECIFIED: _ClassVar[ModelRole]
    MODEL_ROLE_CHAMPION: _ClassVar[ModelRole]
    MODEL_ROLE_CHALLENGER: _ClassVar[ModelRole]
    MODEL_ROLE_RETIRED: _ClassVar[ModelRole]
    MODEL_ROLE_REFUSED: _ClassVar[ModelRole]
SIGNAL_SIDE_UNSPECIFIED: SignalSide
SIGNAL_SIDE_BUY: SignalSide
SIGNAL_SIDE_SELL: SignalSide
SIGNAL_SIDE_HOLD: SignalSide
DRIFT_LEVEL_UNSPECIFIED: DriftLevel
DRIFT_LEVEL_NONE: DriftLevel
DRIFT_LEVEL_NOTICE: DriftLevel
DRIFT_LEVEL_WARNING: DriftLevel
DRIFT_LEVEL_ALARM: DriftLevel
MODEL_ROLE_UNSPECIFIED: ModelRole
MODEL_ROLE_CHAMPION: ModelRole
MODEL_ROLE_CHALLENGER: ModelRole
MODEL_ROLE_RETIRED: ModelRole
MODEL_ROLE_REFUSED: ModelRole

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
    features: _containers.RepeatedScalarFieldContainer[float]
    sequence: int
    def __init__(self, signal_id: _Optional[str] = ..., product_id: _Optional[str] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., bar_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., side: _Optional[_Union[SignalSide, str]] = ..., confidence: _Optional[float] = ..., p_down: _Optional[float] = ..., p_neutral: _Optional[float] = ..., p_up: _Optional[float] = ..., edge: _Optional[float] = ..., expected_net: _Optional[float] = ..., sigma_horizon: _Optional[float] = ..., reference_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., model_version: _Optional[str] = ..., feature_set_hash: _Optional[str] = ..., profile: _Optional[_Union[_trade_pb2.DecisionProfile, str]] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., features: _Optional[_Iterable[float]] = ..., sequence: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("model_version", "loaded", "refusal_code", "refusal_detail", "feature_set_hash", "profile", "theta_buy", "theta_sell", "always_hold", "train_start_time", "train_end_time", "load_time", "manifest_json", "serving_engine", "challenger_version", "previous_version", "suspended", "drift", "feature_names")
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
    SERVING_ENGINE_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    FEATURE_NAMES_FIELD_NUMBER: _ClassVar[int]
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
    serving_engine: str
    challenger_version: str
    previous_version: str
    suspended: bool
    drift: ModelDrift
    feature_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model_version: _Optional[str] = ..., loaded: _Optional[bool] = ..., refusal_code: _Optional[str] = ..., refusal_detail: _Optional[str] = ..., feature_set_hash: _Optional[str] = ..., profile: _Optional[_Union[_trade_pb2.DecisionProfile, str]] = ..., theta_buy: _Optional[float] = ..., theta_sell: _Optional[float] = ..., always_hold: _Optional[bool] = ..., train_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., train_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., load_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., manifest_json: _Optional[str] = ..., serving_engine: _Optional[str] = ..., challenger_version: _Optional[str] = ..., previous_version: _Optional[str] = ..., suspended: _Optional[bool] = ..., drift: _Optional[_Union[ModelDrift, _Mapping]] = ..., feature_names: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelDrift(_message.Message):
    __slots__ = ("as_of", "rows", "features", "edge_psi", "buy_share", "sell_share", "mean_confidence", "matured_labels", "log_loss", "prior_log_loss")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EDGE_PSI_FIELD_NUMBER: _ClassVar[int]
    BUY_SHARE_FIELD_NUMBER: _ClassVar[int]
    SELL_SHARE_FIELD_NUMBER: _ClassVar[int]
    MEAN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MATURED_LABELS_FIELD_NUMBER: _ClassVar[int]
    LOG_LOSS_FIELD_NUMBER: _ClassVar[int]
    PRIOR_LOG_LOSS_FIELD_NUMBER: _ClassVar[int]
    as_of: _timestamp_pb2.Timestamp
    rows: int
    features: _containers.RepeatedCompositeFieldContainer[FeatureDrift]
    edge_psi: float
    buy_share: float
    sell_share: float
    mean_confidence: float
    matured_labels: int
    log_loss: float
    prior_log_loss: float
    def __init__(self, as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows: _Optional[int] = ..., features: _Optional[_Iterable[_Union[FeatureDrift, _Mapping]]] = ..., edge_psi: _Optional[float] = ..., buy_share: _Optional[float] = ..., sell_share: _Optional[float] = ..., mean_confidence: _Optional[float] = ..., matured_labels: _Optional[int] = ..., log_loss: _Optional[float] = ..., prior_log_loss: _Optional[float] = ...) -> None: ...

class FeatureDrift(_message.Message):
    __slots__ = ("name", "psi", "level")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    psi: float
    level: DriftLevel
    def __init__(self, name: _Optional[str] = ..., psi: _Optional[float] = ..., level: _Optional[_Union[DriftLevel, str]] = ...) -> None: ...

class ModelEvidence(_message.Message):
    __slots__ = ("shadow_since_time", "as_of", "matured_labels", "log_loss", "champion_log_loss", "probability_better", "net_return", "champion_net_return", "trades", "champion_trades", "calibration_error", "missing")
    SHADOW_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    MATURED_LABELS_FIELD_NUMBER: _ClassVar[int]
    LOG_LOSS_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_LOG_LOSS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_BETTER_FIELD_NUMBER: _ClassVar[int]
    NET_RETURN_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_NET_RETURN_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_TRADES_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    shadow_since_time: _timestamp_pb2.Timestamp
    as_of: _timestamp_pb2.Timestamp
    matured_labels: int
    log_loss: float
    champion_log_loss: float
    probability_better: float
    net_return: float
    champion_net_return: float
    trades: int
    champion_trades: int
    calibration_error: float
    missing: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    def __init__(self, shadow_since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., matured_labels: _Optional[int] = ..., log_loss: _Optional[float] = ..., champion_log_loss: _Optional[float] = ..., probability_better: _Optional[float] = ..., net_return: _Optional[float] = ..., champion_net_return: _Optional[float] = ..., trades: _Optional[int] = ..., champion_trades: _Optional[int] = ..., calibration_error: _Optional[float] = ..., missing: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("model_version", "folder", "role", "refusal_code", "refusal_detail", "train_start_time", "train_end_time", "theta_buy", "always_hold", "manifest_sha256", "first_load_time", "evidence", "other_folders")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_CODE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_DETAIL_FIELD_NUMBER: _ClassVar[int]
    TRAIN_START_TIME_FIELD_NUMBER: _ClassVar[int]
    TRAIN_END_TIME_FIELD_NUMBER: _ClassVar[int]
    THETA_BUY_FIELD_NUMBER: _ClassVar[int]
    ALWAYS_HOLD_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    FIRST_LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FOLDERS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    folder: str
    role: ModelRole
    refusal_code: str
    refusal_detail: str
    train_start_time: _timestamp_pb2.Timestamp
    train_end_time: _timestamp_pb2.Timestamp
    theta_buy: float
    always_hold: bool
    manifest_sha256: str
    first_load_time: _timestamp_pb2.Timestamp
    evidence: ModelEvidence
    other_folders: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model_version: _Optional[str] = ..., folder: _Optional[str] = ..., role: _Optional[_Union[ModelRole, str]] = ..., refusal_code: _Optional[str] = ..., refusal_detail: _Optional[str] = ..., train_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., train_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., theta_buy: _Optional[float] = ..., always_hold: _Optional[bool] = ..., manifest_sha256: _Optional[str] = ..., first_load_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Union[ModelEvidence, _Mapping]] = ..., other_folders: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelChange(_message.Message):
    __slots__ = ("kind", "model_version", "previous_version", "caller", "note", "change_time")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    model_version: str
    previous_version: str
    caller: str
    note: str
    change_time: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[str] = ..., model_version: _Optional[str] = ..., previous_version: _Optional[str] = ..., caller: _Optional[str] = ..., note: _Optional[str] = ..., change_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "changes", "folders_left_out")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    FOLDERS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    changes: _containers.RepeatedCompositeFieldContainer[ModelChange]
    folders_left_out: int
    def __init__(self, models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[ModelChange, _Mapping]]] = ..., folders_left_out: _Optional[int] = ...) -> None: ...

class PromoteModelRequest(_message.Message):
    __slots__ = ("request_id", "model_version")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model_version: str
    def __init__(self, request_id: _Optional[str] = ..., model_version: _Optional[str] = ...) -> None: ...

class PromoteModelResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: ModelChange
    def __init__(self, change: _Optional[_Union[ModelChange, _Mapping]] = ...) -> None: ...

class RollbackModelRequest(_message.Message):
    __slots__ = ("request_id", "note")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    note: str
    def __init__(self, request_id: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class RollbackModelResponse(_message.Message):
    __slots__ = ("change", "challenger_version")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_VERSION_FIELD_NUMBER: _ClassVar[int]
    change: ModelChange
    challenger_version: str
    def __init__(self, change: _Optional[_Union[ModelChange, _Mapping]] = ..., challenger_version: _Optional[str] = ...) -> None: ...
