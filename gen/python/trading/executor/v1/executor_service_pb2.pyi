import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trading.common.v1 import decimal_pb2 as _decimal_pb2
from trading.common.v1 import recommendation_pb2 as _recommendation_pb2
from trading.common.v1 import stream_pb2 as _stream_pb2
from trading.common.v1 import trade_pb2 as _trade_pb2
from trading.executor.v1 import ledger_pb2 as _ledger_pb2
from trading.options.v1 import policy_pb2 as _policy_pb2
from trading.risk.v1 import risk_service_pb2 as _risk_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_STATE_UNSPECIFIED: _ClassVar[OrderState]
    ORDER_STATE_PENDING: _ClassVar[OrderState]
    ORDER_STATE_UNKNOWN: _ClassVar[OrderState]
    ORDER_STATE_OPEN: _ClassVar[OrderState]
    ORDER_STATE_FILLED: _ClassVar[OrderState]
    ORDER_STATE_CANCELLED: _ClassVar[OrderState]
    ORDER_STATE_REJECTED: _ClassVar[OrderState]
    ORDER_STATE_WAITING: _ClassVar[OrderState]

class OrderPurpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_PURPOSE_UNSPECIFIED: _ClassVar[OrderPurpose]
    ORDER_PURPOSE_ENTRY: _ClassVar[OrderPurpose]
    ORDER_PURPOSE_EXIT: _ClassVar[OrderPurpose]
    ORDER_PURPOSE_CLOSE: _ClassVar[OrderPurpose]
    ORDER_PURPOSE_PROTECTION: _ClassVar[OrderPurpose]

class OrderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_TYPE_UNSPECIFIED: _ClassVar[OrderType]
    ORDER_TYPE_MARKET: _ClassVar[OrderType]
    ORDER_TYPE_BRACKET: _ClassVar[OrderType]
    ORDER_TYPE_LIMIT: _ClassVar[OrderType]
    ORDER_TYPE_POST_ONLY: _ClassVar[OrderType]

class ExitTrigger(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXIT_TRIGGER_UNSPECIFIED: _ClassVar[ExitTrigger]
    EXIT_TRIGGER_STOP: _ClassVar[ExitTrigger]
    EXIT_TRIGGER_TARGET: _ClassVar[ExitTrigger]
    EXIT_TRIGGER_TRAILING_STOP: _ClassVar[ExitTrigger]
    EXIT_TRIGGER_TIME_LIMIT: _ClassVar[ExitTrigger]

class CancelResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_RESULT_UNSPECIFIED: _ClassVar[CancelResult]
    CANCEL_RESULT_ENDED_UNSENT: _ClassVar[CancelResult]
    CANCEL_RESULT_CANCELLED: _ClassVar[CancelResult]
    CANCEL_RESULT_ALREADY_DONE: _ClassVar[CancelResult]
    CANCEL_RESULT_STILL_OPEN: _ClassVar[CancelResult]
    CANCEL_RESULT_UNKNOWN: _ClassVar[CancelResult]
ORDER_STATE_UNSPECIFIED: OrderState
ORDER_STATE_PENDING: OrderState
ORDER_STATE_UNKNOWN: OrderState
ORDER_STATE_OPEN: OrderState
ORDER_STATE_FILLED: OrderState
ORDER_STATE_CANCELLED: OrderState
ORDER_STATE_REJECTED: OrderState
ORDER_STATE_WAITING: OrderState
ORDER_PURPOSE_UNSPECIFIED: OrderPurpose
ORDER_PURPOSE_ENTRY: OrderPurpose
ORDER_PURPOSE_EXIT: OrderPurpose
ORDER_PURPOSE_CLOSE: OrderPurpose
ORDER_PURPOSE_PROTECTION: OrderPurpose
ORDER_TYPE_UNSPECIFIED: OrderType
ORDER_TYPE_MARKET: OrderType
ORDER_TYPE_BRACKET: OrderType
ORDER_TYPE_LIMIT: OrderType
ORDER_TYPE_POST_ONLY: OrderType
EXIT_TRIGGER_UNSPECIFIED: ExitTrigger
EXIT_TRIGGER_STOP: ExitTrigger
EXIT_TRIGGER_TARGET: ExitTrigger
EXIT_TRIGGER_TRAILING_STOP: ExitTrigger
EXIT_TRIGGER_TIME_LIMIT: ExitTrigger
CANCEL_RESULT_UNSPECIFIED: CancelResult
CANCEL_RESULT_ENDED_UNSENT: CancelResult
CANCEL_RESULT_CANCELLED: CancelResult
CANCEL_RESULT_ALREADY_DONE: CancelResult
CANCEL_RESULT_STILL_OPEN: CancelResult
CANCEL_RESULT_UNKNOWN: CancelResult

class Fill(_message.Message):
    __slots__ = ("fill_id", "trade_id", "price", "size", "commission", "liquidity", "trade_time", "booking_sequence")
    FILL_ID_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    LIQUIDITY_FIELD_NUMBER: _ClassVar[int]
    TRADE_TIME_FIELD_NUMBER: _ClassVar[int]
    BOOKING_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    fill_id: str
    trade_id: str
    price: _decimal_pb2.Decimal
    size: _decimal_pb2.Decimal
    commission: _decimal_pb2.Decimal
    liquidity: str
    trade_time: _timestamp_pb2.Timestamp
    booking_sequence: int
    def __init__(self, fill_id: _Optional[str] = ..., trade_id: _Optional[str] = ..., price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., commission: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., liquidity: _Optional[str] = ..., trade_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., booking_sequence: _Optional[int] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("order_id", "recommendation_id", "exchange_order_id", "product_id", "side", "state", "quote_size", "base_size", "filled_size", "filled_value", "total_fees", "average_price", "reasons", "venue", "send_count", "as_of", "create_time", "update_time", "sequence", "fills", "note", "purpose", "order_type", "stop_price", "target_price", "exit_time", "trigger", "entry_order_id", "limit_price", "end_time", "cancel_requested")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_SIZE_FIELD_NUMBER: _ClassVar[int]
    BASE_SIZE_FIELD_NUMBER: _ClassVar[int]
    FILLED_SIZE_FIELD_NUMBER: _ClassVar[int]
    FILLED_VALUE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FEES_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    SEND_COUNT_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FILLS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    ORDER_TYPE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_PRICE_FIELD_NUMBER: _ClassVar[int]
    EXIT_TIME_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    ENTRY_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_PRICE_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    recommendation_id: str
    exchange_order_id: str
    product_id: str
    side: _trade_pb2.Side
    state: OrderState
    quote_size: _decimal_pb2.Decimal
    base_size: _decimal_pb2.Decimal
    filled_size: _decimal_pb2.Decimal
    filled_value: _decimal_pb2.Decimal
    total_fees: _decimal_pb2.Decimal
    average_price: _decimal_pb2.Decimal
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    venue: _trade_pb2.Venue
    send_count: int
    as_of: _timestamp_pb2.Timestamp
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    sequence: int
    fills: _containers.RepeatedCompositeFieldContainer[Fill]
    note: str
    purpose: OrderPurpose
    order_type: OrderType
    stop_price: _decimal_pb2.Decimal
    target_price: _decimal_pb2.Decimal
    exit_time: _timestamp_pb2.Timestamp
    trigger: ExitTrigger
    entry_order_id: str
    limit_price: _decimal_pb2.Decimal
    end_time: _timestamp_pb2.Timestamp
    cancel_requested: bool
    def __init__(self, order_id: _Optional[str] = ..., recommendation_id: _Optional[str] = ..., exchange_order_id: _Optional[str] = ..., product_id: _Optional[str] = ..., side: _Optional[_Union[_trade_pb2.Side, str]] = ..., state: _Optional[_Union[OrderState, str]] = ..., quote_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., base_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., filled_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., filled_value: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., total_fees: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., average_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ..., venue: _Optional[_Union[_trade_pb2.Venue, str]] = ..., send_count: _Optional[int] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sequence: _Optional[int] = ..., fills: _Optional[_Iterable[_Union[Fill, _Mapping]]] = ..., note: _Optional[str] = ..., purpose: _Optional[_Union[OrderPurpose, str]] = ..., order_type: _Optional[_Union[OrderType, str]] = ..., stop_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., target_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trigger: _Optional[_Union[ExitTrigger, str]] = ..., entry_order_id: _Optional[str] = ..., limit_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cancel_requested: _Optional[bool] = ...) -> None: ...

class ExecuteRecommendationRequest(_message.Message):
    __slots__ = ("request_id", "recommendation", "size", "ticket")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    recommendation: _recommendation_pb2.Recommendation
    size: _decimal_pb2.Decimal
    ticket: str
    def __init__(self, request_id: _Optional[str] = ..., recommendation: _Optional[_Union[_recommendation_pb2.Recommendation, _Mapping]] = ..., size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., ticket: _Optional[str] = ...) -> None: ...

class ExecuteRecommendationResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("order_id", "recommendation_id")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    recommendation_id: str
    def __init__(self, order_id: _Optional[str] = ..., recommendation_id: _Optional[str] = ...) -> None: ...

class GetOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: Order
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("product_id", "state", "page_size", "page_token")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    state: OrderState
    page_size: int
    page_token: str
    def __init__(self, product_id: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    next_page_token: str
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchOrdersRequest(_message.Message):
    __slots__ = ("after_sequence",)
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    def __init__(self, after_sequence: _Optional[int] = ...) -> None: ...

class WatchOrdersResponse(_message.Message):
    __slots__ = ("batch", "heartbeat", "draining")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    batch: OrderBatch
    heartbeat: _stream_pb2.Heartbeat
    draining: _stream_pb2.Draining
    def __init__(self, batch: _Optional[_Union[OrderBatch, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[_stream_pb2.Draining, _Mapping]] = ...) -> None: ...

class OrderBatch(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ...) -> None: ...

class ListPositionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Position(_message.Message):
    __slots__ = ("product_id", "base_size", "average_cost", "mark_price", "market_value", "unrealized_pnl", "realized_pnl", "update_time", "orders")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_SIZE_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_COST_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    MARKET_VALUE_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    base_size: _decimal_pb2.Decimal
    average_cost: _decimal_pb2.Decimal
    mark_price: _decimal_pb2.Decimal
    market_value: _decimal_pb2.Decimal
    unrealized_pnl: _decimal_pb2.Decimal
    realized_pnl: _decimal_pb2.Decimal
    update_time: _timestamp_pb2.Timestamp
    orders: _containers.RepeatedCompositeFieldContainer[ProtectiveOrder]
    def __init__(self, product_id: _Optional[str] = ..., base_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., average_cost: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., mark_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., market_value: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., unrealized_pnl: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., realized_pnl: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., orders: _Optional[_Iterable[_Union[ProtectiveOrder, _Mapping]]] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("positions", "cash", "opening_balance", "equity", "realized_pnl", "unrealized_pnl", "total_fees", "venue", "unadopted", "transfers")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    CASH_FIELD_NUMBER: _ClassVar[int]
    OPENING_BALANCE_FIELD_NUMBER: _ClassVar[int]
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FEES_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    UNADOPTED_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    cash: _containers.RepeatedCompositeFieldContainer[_decimal_pb2.Money]
    opening_balance: _decimal_pb2.Decimal
    equity: _decimal_pb2.Decimal
    realized_pnl: _decimal_pb2.Decimal
    unrealized_pnl: _decimal_pb2.Decimal
    total_fees: _decimal_pb2.Decimal
    venue: _trade_pb2.Venue
    unadopted: _containers.RepeatedCompositeFieldContainer[_decimal_pb2.Money]
    transfers: _decimal_pb2.Decimal
    def __init__(self, positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., cash: _Optional[_Iterable[_Union[_decimal_pb2.Money, _Mapping]]] = ..., opening_balance: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., equity: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., realized_pnl: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., unrealized_pnl: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., total_fees: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., venue: _Optional[_Union[_trade_pb2.Venue, str]] = ..., unadopted: _Optional[_Iterable[_Union[_decimal_pb2.Money, _Mapping]]] = ..., transfers: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ...) -> None: ...

class ReconcileRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class BalanceComparison(_message.Message):
    __slots__ = ("currency", "ledger", "exchange", "difference", "tolerance", "agrees")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    AGREES_FIELD_NUMBER: _ClassVar[int]
    currency: str
    ledger: _decimal_pb2.Decimal
    exchange: _decimal_pb2.Decimal
    difference: _decimal_pb2.Decimal
    tolerance: _decimal_pb2.Decimal
    agrees: bool
    def __init__(self, currency: _Optional[str] = ..., ledger: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exchange: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., difference: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., tolerance: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., agrees: _Optional[bool] = ...) -> None: ...

class ReconcileResponse(_message.Message):
    __slots__ = ("orders_checked", "orders_settled", "orders_unknown", "balances", "clean", "reconcile_time", "foreign_orders")
    ORDERS_CHECKED_FIELD_NUMBER: _ClassVar[int]
    ORDERS_SETTLED_FIELD_NUMBER: _ClassVar[int]
    ORDERS_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_TIME_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders_checked: int
    orders_settled: int
    orders_unknown: int
    balances: _containers.RepeatedCompositeFieldContainer[BalanceComparison]
    clean: bool
    reconcile_time: _timestamp_pb2.Timestamp
    foreign_orders: _containers.RepeatedCompositeFieldContainer[_ledger_pb2.ForeignOrder]
    def __init__(self, orders_checked: _Optional[int] = ..., orders_settled: _Optional[int] = ..., orders_unknown: _Optional[int] = ..., balances: _Optional[_Iterable[_Union[BalanceComparison, _Mapping]]] = ..., clean: _Optional[bool] = ..., reconcile_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., foreign_orders: _Optional[_Iterable[_Union[_ledger_pb2.ForeignOrder, _Mapping]]] = ...) -> None: ...

class SetTradingStateRequest(_message.Message):
    __slots__ = ("request_id", "state", "note", "only_tighten")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ONLY_TIGHTEN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    state: _risk_service_pb2.TradingState
    note: str
    only_tighten: bool
    def __init__(self, request_id: _Optional[str] = ..., state: _Optional[_Union[_risk_service_pb2.TradingState, str]] = ..., note: _Optional[str] = ..., only_tighten: _Optional[bool] = ...) -> None: ...

class SetTradingStateResponse(_message.Message):
    __slots__ = ("state", "previous_state", "stored", "set_time", "unresolved_order_ids", "open_order_ids", "kept")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    SET_TIME_FIELD_NUMBER: _ClassVar[int]
    UNRESOLVED_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    state: _risk_service_pb2.TradingState
    previous_state: _risk_service_pb2.TradingState
    stored: bool
    set_time: _timestamp_pb2.Timestamp
    unresolved_order_ids: _containers.RepeatedScalarFieldContainer[str]
    open_order_ids: _containers.RepeatedScalarFieldContainer[str]
    kept: bool
    def __init__(self, state: _Optional[_Union[_risk_service_pb2.TradingState, str]] = ..., previous_state: _Optional[_Union[_risk_service_pb2.TradingState, str]] = ..., stored: _Optional[bool] = ..., set_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unresolved_order_ids: _Optional[_Iterable[str]] = ..., open_order_ids: _Optional[_Iterable[str]] = ..., kept: _Optional[bool] = ...) -> None: ...

class GetTradingStateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTradingStateResponse(_message.Message):
    __slots__ = ("state", "local_state", "stored_state", "note", "kept", "reason")
    STATE_FIELD_NUMBER: _ClassVar[int]
    LOCAL_STATE_FIELD_NUMBER: _ClassVar[int]
    STORED_STATE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    state: _risk_service_pb2.TradingState
    local_state: _risk_service_pb2.TradingState
    stored_state: _risk_service_pb2.TradingState
    note: str
    kept: bool
    reason: str
    def __init__(self, state: _Optional[_Union[_risk_service_pb2.TradingState, str]] = ..., local_state: _Optional[_Union[_risk_service_pb2.TradingState, str]] = ..., stored_state: _Optional[_Union[_risk_service_pb2.TradingState, str]] = ..., note: _Optional[str] = ..., kept: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelOrdersRequest(_message.Message):
    __slots__ = ("request_id", "product_id", "note", "order_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    product_id: str
    note: str
    order_id: str
    def __init__(self, request_id: _Optional[str] = ..., product_id: _Optional[str] = ..., note: _Optional[str] = ..., order_id: _Optional[str] = ...) -> None: ...

class CancelOutcome(_message.Message):
    __slots__ = ("result", "order", "detail")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    result: CancelResult
    order: Order
    detail: str
    def __init__(self, result: _Optional[_Union[CancelResult, str]] = ..., order: _Optional[_Union[Order, _Mapping]] = ..., detail: _Optional[str] = ...) -> None: ...

class CancelOrdersResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[CancelOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[CancelOutcome, _Mapping]]] = ...) -> None: ...

class ClosePositionsRequest(_message.Message):
    __slots__ = ("request_id", "product_ids", "note")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    note: str
    def __init__(self, request_id: _Optional[str] = ..., product_ids: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ...) -> None: ...

class CloseOutcome(_message.Message):
    __slots__ = ("product_id", "held_size", "order", "remaining_size", "reasons")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_SIZE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SIZE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    held_size: _decimal_pb2.Decimal
    order: Order
    remaining_size: _decimal_pb2.Decimal
    reasons: _containers.RepeatedCompositeFieldContainer[_trade_pb2.Reason]
    def __init__(self, product_id: _Optional[str] = ..., held_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., order: _Optional[_Union[Order, _Mapping]] = ..., remaining_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[_trade_pb2.Reason, _Mapping]]] = ...) -> None: ...

class ClosePositionsResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[CloseOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[CloseOutcome, _Mapping]]] = ...) -> None: ...

class ProtectPositionsRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class ProtectiveOrder(_message.Message):
    __slots__ = ("order_id", "state", "order_type", "left_size", "stop_price", "target_price", "exit_time")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ORDER_TYPE_FIELD_NUMBER: _ClassVar[int]
    LEFT_SIZE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_PRICE_FIELD_NUMBER: _ClassVar[int]
    EXIT_TIME_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    state: OrderState
    order_type: OrderType
    left_size: _decimal_pb2.Decimal
    stop_price: _decimal_pb2.Decimal
    target_price: _decimal_pb2.Decimal
    exit_time: _timestamp_pb2.Timestamp
    def __init__(self, order_id: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ..., order_type: _Optional[_Union[OrderType, str]] = ..., left_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., stop_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., target_price: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PositionProtection(_message.Message):
    __slots__ = ("product_id", "held_size", "protected_size", "unprotected_size", "orders")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROTECTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    UNPROTECTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    held_size: _decimal_pb2.Decimal
    protected_size: _decimal_pb2.Decimal
    unprotected_size: _decimal_pb2.Decimal
    orders: _containers.RepeatedCompositeFieldContainer[ProtectiveOrder]
    def __init__(self, product_id: _Optional[str] = ..., held_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., protected_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., unprotected_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., orders: _Optional[_Iterable[_Union[ProtectiveOrder, _Mapping]]] = ...) -> None: ...

class ProtectPositionsResponse(_message.Message):
    __slots__ = ("positions", "watches", "resting_entries")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    WATCHES_FIELD_NUMBER: _ClassVar[int]
    RESTING_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[PositionProtection]
    watches: bool
    resting_entries: _containers.RepeatedCompositeFieldContainer[Order]
    def __init__(self, positions: _Optional[_Iterable[_Union[PositionProtection, _Mapping]]] = ..., watches: _Optional[bool] = ..., resting_entries: _Optional[_Iterable[_Union[Order, _Mapping]]] = ...) -> None: ...
