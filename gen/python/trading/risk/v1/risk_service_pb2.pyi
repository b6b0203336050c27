import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trading.common.v1 import decimal_pb2 as _decimal_pb2
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

class TradingState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRADING_STATE_UNSPECIFIED: _ClassVar[TradingState]
    TRADING_STATE_ACTIVE: _ClassVar[TradingState]
    TRADING_STATE_REDUCING: _ClassVar[TradingState]
    TRADING_STATE_HALTED: _ClassVar[TradingState]

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_APPROVE: _ClassVar[Decision]
    DECISION_REDUCE: _ClassVar[Decision]
    DECISION_REJECT: _ClassVar[Decision]
TRADING_STATE_UNSPECIFIED: TradingState
TRADING_STATE_ACTIVE: TradingState
TRADING_STATE_REDUCING: TradingState
TRADING_STATE_HALTED: TradingState
DECISION_UNSPECIFIED: Decision
DECISION_APPROVE: Decision
DECISION_REDUCE: Decision
DECISION_REJECT: Decision

class ScoreParts(_message.Message):
    __slots__ = ("volatility", "heat", "exposure", "drawdown", "uncertainty")
    VOLATILITY_FIELD_NUMBER: _ClassVar[int]
    HEAT_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_FIELD_NUMBER: _ClassVar[int]
    DRAWDOWN_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    volatility: float
    heat: float
    exposure: float
    drawdown: float
    uncertainty: float
    def __init__(self, volatility: _Optional[float] = ..., heat: _Optional[float] = ..., exposure: _Optional[float] = ..., drawdown: _Optional[float] = ..., uncertainty: _Optional[float] = ...) -> None: ...

class Assessment(_message.Message):
    __slots__ = ("assessment_id", "recommendation_id", "attempt", "decision", "requested_size", "adjusted_size", "score", "score_shown", "parts", "sigma_14d", "heat_before", "heat_after", "exposure_before", "exposure_after", "equity", "reasons", "reservation_id", "reservation_expire_time", "ticket", "limits_version", "decide_time")
    ASSESSMENT_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    ADJUSTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_SHOWN_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    SIGMA_14D_FIELD_NUMBER: _ClassVar[int]
    HEAT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    HEAT_AFTER_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_AFTER_FIELD_NUMBER: _ClassVar[int]
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    LIMITS_VERSION_FIELD_NUMBER: _ClassVar[int]
    DECIDE_TIME_FIELD_NUMBER: _ClassVar[int]
    assessment_id: str
    recommendation_id: str
    attempt: int
    decision: Decision
    requested_size: _decimal_pb2.Decimal
    adjusted_size: _decimal_pb2.Decimal
    score: float
    score_shown: str
    parts: ScoreParts
    sigma_14d: float
    heat_before: float
    heat_after: float
    exposure_before: _decimal_pb2.Decimal
    exposure_after: _decimal_pb2.Decimal
    equity: _decimal_pb2.Decimal
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    reservation_id: str
    reservation_expire_time: _timestamp_pb2.Timestamp
    ticket: str
    limits_version: str
    decide_time: _timestamp_pb2.Timestamp
    def __init__(self, assessment_id: _Optional[str] = ..., recommendation_id: _Optional[str] = ..., attempt: _Optional[int] = ..., decision: _Optional[_Union[Decision, str]] = ..., requested_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., adjusted_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., score: _Optional[float] = ..., score_shown: _Optional[str] = ..., parts: _Optional[_Union[ScoreParts, _Mapping]] = ..., sigma_14d: _Optional[float] = ..., heat_before: _Optional[float] = ..., heat_after: _Optional[float] = ..., exposure_before: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exposure_after: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., equity: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., reservation_id: _Optional[str] = ..., reservation_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ticket: _Optional[str] = ..., limits_version: _Optional[str] = ..., decide_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AssessRecommendationRequest(_message.Message):
    __slots__ = ("request_id", "recommendation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    recommendation: _recommendation_pb2.Recommendation
    def __init__(self, request_id: _Optional[str] = ..., recommendation: _Optional[_Union[_recommendation_pb2.Recommendation, _Mapping]] = ...) -> None: ...

class AssessRecommendationResponse(_message.Message):
    __slots__ = ("assessment",)
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    assessment: Assessment
    def __init__(self, assessment: _Optional[_Union[Assessment, _Mapping]] = ...) -> None: ...

class StreamAssessmentsRequest(_message.Message):
    __slots__ = ("open", "item", "heartbeat", "traceparent")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    open: StreamAssessmentsOpen
    item: AssessRecommendationRequest
    heartbeat: _stream_pb2.Heartbeat
    traceparent: str
    def __init__(self, open: _Optional[_Union[StreamAssessmentsOpen, _Mapping]] = ..., item: _Optional[_Union[AssessRecommendationRequest, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class StreamAssessmentsOpen(_message.Message):
    __slots__ = ("client", "max_in_flight")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    client: str
    max_in_flight: int
    def __init__(self, client: _Optional[str] = ..., max_in_flight: _Optional[int] = ...) -> None: ...

class StreamAssessmentsResponse(_message.Message):
    __slots__ = ("opened", "answer", "item_error", "heartbeat", "draining")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ITEM_ERROR_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    opened: StreamAssessmentsOpened
    answer: AssessmentAnswer
    item_error: _error_pb2.ItemError
    heartbeat: _stream_pb2.Heartbeat
    draining: _stream_pb2.Draining
    def __init__(self, opened: _Optional[_Union[StreamAssessmentsOpened, _Mapping]] = ..., answer: _Optional[_Union[AssessmentAnswer, _Mapping]] = ..., item_error: _Optional[_Union[_error_pb2.ItemError, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[_stream_pb2.Draining, _Mapping]] = ...) -> None: ...

class StreamAssessmentsOpened(_message.Message):
    __slots__ = ("max_in_flight",)
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    max_in_flight: int
    def __init__(self, max_in_flight: _Optional[int] = ...) -> None: ...

class AssessmentAnswer(_message.Message):
    __slots__ = ("request_id", "assessment")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    assessment: Assessment
    def __init__(self, request_id: _Optional[str] = ..., assessment: _Optional[_Union[Assessment, _Mapping]] = ...) -> None: ...

class GetPortfolioRiskRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PositionRisk(_message.Message):
    __slots__ = ("product_id", "base_size", "mark_price", "exposure", "sigma_14d", "heat")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_SIZE_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_FIELD_NUMBER: _ClassVar[int]
    SIGMA_14D_FIELD_NUMBER: _ClassVar[int]
    HEAT_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    base_size: _decimal_pb2.Decimal
    mark_price: _decimal_pb2.Decimal
    exposure: _decimal_pb2.Decimal
    sigma_14d: float
    heat: float
    def __init__(self, product_id: _Optional[str] = ..., base_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., mark_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exposure: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., sigma_14d: _Optional[float] = ..., heat: _Optional[float] = ...) -> None: ...

class RiskLock(_message.Message):
    __slots__ = ("lock_id", "code", "scope", "until_time", "reason")
    LOCK_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    lock_id: str
    code: str
    scope: str
    until_time: _timestamp_pb2.Timestamp
    reason: _trade_pb2.Reason
    def __init__(self, lock_id: _Optional[str] = ..., code: _Optional[str] = ..., scope: _Optional[str] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_trade_pb2.Reason, _Mapping]] = ...) -> None: ...

class GetPortfolioRiskResponse(_message.Message):
    __slots__ = ("trading_state", "trading_state_note", "equity", "cash", "exposure", "heat", "drawdown", "daily_loss", "high_water_mark", "positions", "locks", "held_reservations", "as_of")
    TRADING_STATE_FIELD_NUMBER: _ClassVar[int]
    TRADING_STATE_NOTE_FIELD_NUMBER: _ClassVar[int]
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    CASH_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_FIELD_NUMBER: _ClassVar[int]
    HEAT_FIELD_NUMBER: _ClassVar[int]
    DRAWDOWN_FIELD_NUMBER: _ClassVar[int]
    DAILY_LOSS_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATER_MARK_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    LOCKS_FIELD_NUMBER: _ClassVar[int]
    HELD_RESERVATIONS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    trading_state: TradingState
    trading_state_note: str
    equity: _decimal_pb2.Decimal
    cash: _decimal_pb2.Decimal
    exposure: _decimal_pb2.Decimal
    heat: float
    drawdown: float
    daily_loss: float
    high_water_mark: _decimal_pb2.Decimal
    positions: _containers.RepeatedCompositeFieldContainer[PositionRisk]
    locks: _containers.RepeatedCompositeFieldContainer[RiskLock]
    held_reservations: int
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, trading_state: _Optional[_Union[TradingState, str]] = ..., trading_state_note: _Optional[str] = ..., equity: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., cash: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exposure: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., heat: _Optional[float] = ..., drawdown: _Optional[float] = ..., daily_loss: _Optional[float] = ..., high_water_mark: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., positions: _Optional[_Iterable[_Union[PositionRisk, _Mapping]]] = ..., locks: _Optional[_Iterable[_Union[RiskLock, _Mapping]]] = ..., held_reservations: _Optional[int] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetLimitsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Limit(_message.Message):
    __slots__ = ("code", "value", "unit", "kind", "buy_only", "scope", "on_sell", "words")
    CODE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BUY_ONLY_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ON_SELL_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    code: str
    value: str
    unit: str
    kind: str
    buy_only: bool
    scope: str
    on_sell: str
    words: str
    def __init__(self, code: _Optional[str] = ..., value: _Optional[str] = ..., unit: _Optional[str] = ..., kind: _Optional[str] = ..., buy_only: _Optional[bool] = ..., scope: _Optional[str] = ..., on_sell: _Optional[str] = ..., words: _Optional[str] = ...) -> None: ...

class GetLimitsResponse(_message.Message):
    __slots__ = ("limits_version", "limits", "parameters")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LIMITS_VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    limits_version: str
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    parameters: _containers.ScalarMap[str, str]
    def __init__(self, limits_version: _Optional[str] = ..., limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ..., parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SetTradingStateRequest(_message.Message):
    __slots__ = ("request_id", "state", "note", "release_locks", "only_tighten")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_LOCKS_FIELD_NUMBER: _ClassVar[int]
    ONLY_TIGHTEN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    state: TradingState
    note: str
    release_locks: bool
    only_tighten: bool
    def __init__(self, request_id: _Optional[str] = ..., state: _Optional[_Union[TradingState, str]] = ..., note: _Optional[str] = ..., release_locks: _Optional[bool] = ..., only_tighten: _Optional[bool] = ...) -> None: ...

class SetTradingStateResponse(_message.Message):
    __slots__ = ("state", "previous_state", "released_locks", "set_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    RELEASED_LOCKS_FIELD_NUMBER: _ClassVar[int]
    SET_TIME_FIELD_NUMBER: _ClassVar[int]
    state: TradingState
    previous_state: TradingState
    released_locks: int
    set_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[TradingState, str]] = ..., previous_state: _Optional[_Union[TradingState, str]] = ..., released_locks: _Optional[int] = ..., set_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
