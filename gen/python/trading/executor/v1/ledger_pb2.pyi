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

class AdjustmentKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADJUSTMENT_KIND_UNSPECIFIED: _ClassVar[AdjustmentKind]
    ADJUSTMENT_KIND_DEPOSIT: _ClassVar[AdjustmentKind]
    ADJUSTMENT_KIND_WITHDRAWAL: _ClassVar[AdjustmentKind]
    ADJUSTMENT_KIND_REWARD: _ClassVar[AdjustmentKind]
    ADJUSTMENT_KIND_CONVERSION: _ClassVar[AdjustmentKind]
    ADJUSTMENT_KIND_TRADE: _ClassVar[AdjustmentKind]
    ADJUSTMENT_KIND_CORRECTION: _ClassVar[AdjustmentKind]
    ADJUSTMENT_KIND_ADOPTION: _ClassVar[AdjustmentKind]
ADJUSTMENT_KIND_UNSPECIFIED: AdjustmentKind
ADJUSTMENT_KIND_DEPOSIT: AdjustmentKind
ADJUSTMENT_KIND_WITHDRAWAL: AdjustmentKind
ADJUSTMENT_KIND_REWARD: AdjustmentKind
ADJUSTMENT_KIND_CONVERSION: AdjustmentKind
ADJUSTMENT_KIND_TRADE: AdjustmentKind
ADJUSTMENT_KIND_CORRECTION: AdjustmentKind
ADJUSTMENT_KIND_ADOPTION: AdjustmentKind

class LedgerBalance(_message.Message):
    __slots__ = ("currency", "own", "unadopted", "exchange", "difference", "tolerance", "agrees", "foreign_change")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    UNADOPTED_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    AGREES_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_CHANGE_FIELD_NUMBER: _ClassVar[int]
    currency: str
    own: _decimal_pb2.Decimal
    unadopted: _decimal_pb2.Decimal
    exchange: _decimal_pb2.Decimal
    difference: _decimal_pb2.Decimal
    tolerance: _decimal_pb2.Decimal
    agrees: bool
    foreign_change: _decimal_pb2.Decimal
    def __init__(self, currency: _Optional[str] = ..., own: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., unadopted: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., exchange: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., difference: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., tolerance: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., agrees: _Optional[bool] = ..., foreign_change: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ...) -> None: ...

class ForeignOrder(_message.Message):
    __slots__ = ("exchange_order_id", "client_order_id", "product_id", "side", "status", "resting", "hold", "filled_size", "filled_value", "total_fees", "create_time", "unbooked")
    EXCHANGE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESTING_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    FILLED_SIZE_FIELD_NUMBER: _ClassVar[int]
    FILLED_VALUE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FEES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNBOOKED_FIELD_NUMBER: _ClassVar[int]
    exchange_order_id: str
    client_order_id: str
    product_id: str
    side: _trade_pb2.Side
    status: str
    resting: bool
    hold: _decimal_pb2.Decimal
    filled_size: _decimal_pb2.Decimal
    filled_value: _decimal_pb2.Decimal
    total_fees: _decimal_pb2.Decimal
    create_time: _timestamp_pb2.Timestamp
    unbooked: bool
    def __init__(self, exchange_order_id: _Optional[str] = ..., client_order_id: _Optional[str] = ..., product_id: _Optional[str] = ..., side: _Optional[_Union[_trade_pb2.Side, str]] = ..., status: _Optional[str] = ..., resting: _Optional[bool] = ..., hold: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., filled_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., filled_value: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., total_fees: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unbooked: _Optional[bool] = ...) -> None: ...

class LedgerAdjustment(_message.Message):
    __slots__ = ("adjustment_id", "kind", "currency", "amount", "cost", "equity_change", "note", "caller", "create_time", "booking_sequence")
    ADJUSTMENT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    EQUITY_CHANGE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    BOOKING_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    adjustment_id: str
    kind: AdjustmentKind
    currency: str
    amount: _decimal_pb2.Decimal
    cost: _decimal_pb2.Decimal
    equity_change: _decimal_pb2.Decimal
    note: str
    caller: str
    create_time: _timestamp_pb2.Timestamp
    booking_sequence: int
    def __init__(self, adjustment_id: _Optional[str] = ..., kind: _Optional[_Union[AdjustmentKind, str]] = ..., currency: _Optional[str] = ..., amount: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., cost: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., equity_change: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., note: _Optional[str] = ..., caller: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., booking_sequence: _Optional[int] = ...) -> None: ...

class FeeTier(_message.Message):
    __slots__ = ("maker", "taker", "tier", "observe_time", "setting", "reckoned")
    MAKER_FIELD_NUMBER: _ClassVar[int]
    TAKER_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    SETTING_FIELD_NUMBER: _ClassVar[int]
    RECKONED_FIELD_NUMBER: _ClassVar[int]
    maker: _decimal_pb2.Decimal
    taker: _decimal_pb2.Decimal
    tier: str
    observe_time: _timestamp_pb2.Timestamp
    setting: _decimal_pb2.Decimal
    reckoned: _decimal_pb2.Decimal
    def __init__(self, maker: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., taker: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., tier: _Optional[str] = ..., observe_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., setting: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., reckoned: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLedgerResponse(_message.Message):
    __slots__ = ("balances", "foreign_orders", "adjustments", "fee_tier", "open_time", "reconcile_time", "clean", "account_currency", "reconcile_booking_sequence")
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    ADJUSTMENTS_FIELD_NUMBER: _ClassVar[int]
    FEE_TIER_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_TIME_FIELD_NUMBER: _ClassVar[int]
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_BOOKING_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    balances: _containers.RepeatedCompositeFieldContainer[LedgerBalance]
    foreign_orders: _containers.RepeatedCompositeFieldContainer[ForeignOrder]
    adjustments: _containers.RepeatedCompositeFieldContainer[LedgerAdjustment]
    fee_tier: FeeTier
    open_time: _timestamp_pb2.Timestamp
    reconcile_time: _timestamp_pb2.Timestamp
    clean: bool
    account_currency: str
    reconcile_booking_sequence: int
    def __init__(self, balances: _Optional[_Iterable[_Union[LedgerBalance, _Mapping]]] = ..., foreign_orders: _Optional[_Iterable[_Union[ForeignOrder, _Mapping]]] = ..., adjustments: _Optional[_Iterable[_Union[LedgerAdjustment, _Mapping]]] = ..., fee_tier: _Optional[_Union[FeeTier, _Mapping]] = ..., open_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reconcile_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., clean: _Optional[bool] = ..., account_currency: _Optional[str] = ..., reconcile_booking_sequence: _Optional[int] = ...) -> None: ...

class AdjustLedgerRequest(_message.Message):
    __slots__ = ("request_id", "currency", "amount", "kind", "note", "cost", "expected_difference", "preview")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    currency: str
    amount: _decimal_pb2.Decimal
    kind: AdjustmentKind
    note: str
    cost: _decimal_pb2.Decimal
    expected_difference: _decimal_pb2.Decimal
    preview: bool
    def __init__(self, request_id: _Optional[str] = ..., currency: _Optional[str] = ..., amount: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., kind: _Optional[_Union[AdjustmentKind, str]] = ..., note: _Optional[str] = ..., cost: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., expected_difference: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., preview: _Optional[bool] = ...) -> None: ...

class AdjustLedgerResponse(_message.Message):
    __slots__ = ("adjustment", "before", "after", "product_id", "position_before", "position_after")
    ADJUSTMENT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_BEFORE_FIELD_NUMBER: _ClassVar[int]
    POSITION_AFTER_FIELD_NUMBER: _ClassVar[int]
    adjustment: LedgerAdjustment
    before: LedgerBalance
    after: LedgerBalance
    product_id: str
    position_before: _decimal_pb2.Decimal
    position_after: _decimal_pb2.Decimal
    def __init__(self, adjustment: _Optional[_Union[LedgerAdjustment, _Mapping]] = ..., before: _Optional[_Union[LedgerBalance, _Mapping]] = ..., after: _Optional[_Union[LedgerBalance, _Mapping]] = ..., product_id: _Optional[str] = ..., position_before: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., position_after: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ...) -> None: ...

class AdoptHoldingsRequest(_message.Message):
    __slots__ = ("request_id", "currencies", "cost", "note")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCIES_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    currencies: _containers.RepeatedScalarFieldContainer[str]
    cost: _decimal_pb2.Decimal
    note: str
    def __init__(self, request_id: _Optional[str] = ..., currencies: _Optional[_Iterable[str]] = ..., cost: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., note: _Optional[str] = ...) -> None: ...

class AdoptHoldingsResponse(_message.Message):
    __slots__ = ("adopted", "unadopted")
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    UNADOPTED_FIELD_NUMBER: _ClassVar[int]
    adopted: _containers.RepeatedCompositeFieldContainer[LedgerAdjustment]
    unadopted: _containers.RepeatedCompositeFieldContainer[_decimal_pb2.Money]
    def __init__(self, adopted: _Optional[_Iterable[_Union[LedgerAdjustment, _Mapping]]] = ..., unadopted: _Optional[_Iterable[_Union[_decimal_pb2.Money, _Mapping]]] = ...) -> None: ...
