import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trading.common.v1 import decimal_pb2 as _decimal_pb2
from trading.common.v1 import stream_pb2 as _stream_pb2
from trading.common.v1 import trade_pb2 as _trade_pb2
from trading.options.v1 import policy_pb2 as _policy_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Product(_message.Message):
    __slots__ = ("product_id", "base_currency", "quote_currency", "base_increment", "quote_increment", "price_increment", "base_min_size", "quote_min_size", "tradable", "status", "observe_time")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    QUOTE_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BASE_INCREMENT_FIELD_NUMBER: _ClassVar[int]
    QUOTE_INCREMENT_FIELD_NUMBER: _ClassVar[int]
    PRICE_INCREMENT_FIELD_NUMBER: _ClassVar[int]
    BASE_MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    TRADABLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    base_currency: str
    quote_currency: str
    base_increment: _decimal_pb2.Decimal
    quote_increment: _decimal_pb2.Decimal
    price_increment: _decimal_pb2.Decimal
    base_min_size: _decimal_pb2.Decimal
    quote_min_size: _decimal_pb2.Decimal
    tradable: bool
    status: str
    observe_time: _timestamp_pb2.Timestamp
    def __init__(self, product_id: _Optional[str] = ..., base_currency: _Optional[str] = ..., quote_currency: _Optional[str] = ..., base_increment: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., quote_increment: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., price_increment: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., base_min_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., quote_min_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., tradable: _Optional[bool] = ..., status: _Optional[str] = ..., observe_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Candle(_message.Message):
    __slots__ = ("product_id", "granularity", "start_time", "open", "high", "low", "close", "volume", "source", "sequence")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    granularity: _trade_pb2.Granularity
    start_time: _timestamp_pb2.Timestamp
    open: _decimal_pb2.Decimal
    high: _decimal_pb2.Decimal
    low: _decimal_pb2.Decimal
    close: _decimal_pb2.Decimal
    volume: _decimal_pb2.Decimal
    source: str
    sequence: int
    def __init__(self, product_id: _Optional[str] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., open: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., high: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., low: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., close: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., volume: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., source: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class ListProductsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProductsResponse(_message.Message):
    __slots__ = ("products", "next_page_token")
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[Product]
    next_page_token: str
    def __init__(self, products: _Optional[_Iterable[_Union[Product, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListCandlesRequest(_message.Message):
    __slots__ = ("product_id", "granularity", "start_time", "end_time", "page_size", "page_token")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    granularity: _trade_pb2.Granularity
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, product_id: _Optional[str] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCandlesResponse(_message.Message):
    __slots__ = ("candles", "next_page_token")
    CANDLES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    candles: _containers.RepeatedCompositeFieldContainer[Candle]
    next_page_token: str
    def __init__(self, candles: _Optional[_Iterable[_Union[Candle, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchCandlesRequest(_message.Message):
    __slots__ = ("product_ids", "granularity", "after_sequence", "watermarks_only")
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WATERMARKS_ONLY_FIELD_NUMBER: _ClassVar[int]
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    granularity: _trade_pb2.Granularity
    after_sequence: int
    watermarks_only: bool
    def __init__(self, product_ids: _Optional[_Iterable[str]] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., after_sequence: _Optional[int] = ..., watermarks_only: _Optional[bool] = ...) -> None: ...

class WatchCandlesResponse(_message.Message):
    __slots__ = ("batch", "watermark", "heartbeat", "draining")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    batch: CandleBatch
    watermark: _stream_pb2.Watermark
    heartbeat: _stream_pb2.Heartbeat
    draining: _stream_pb2.Draining
    def __init__(self, batch: _Optional[_Union[CandleBatch, _Mapping]] = ..., watermark: _Optional[_Union[_stream_pb2.Watermark, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[_stream_pb2.Draining, _Mapping]] = ...) -> None: ...

class CandleBatch(_message.Message):
    __slots__ = ("candles",)
    CANDLES_FIELD_NUMBER: _ClassVar[int]
    candles: _containers.RepeatedCompositeFieldContainer[Candle]
    def __init__(self, candles: _Optional[_Iterable[_Union[Candle, _Mapping]]] = ...) -> None: ...

class ImportCandlesRequest(_message.Message):
    __slots__ = ("open", "candles", "file_chunk")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CANDLES_FIELD_NUMBER: _ClassVar[int]
    FILE_CHUNK_FIELD_NUMBER: _ClassVar[int]
    open: ImportOpen
    candles: CandleBatch
    file_chunk: bytes
    def __init__(self, open: _Optional[_Union[ImportOpen, _Mapping]] = ..., candles: _Optional[_Union[CandleBatch, _Mapping]] = ..., file_chunk: _Optional[bytes] = ...) -> None: ...

class ImportOpen(_message.Message):
    __slots__ = ("request_id", "file_name", "product_id", "granularity", "only_product_ids", "start_time", "end_time", "into_simulated")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    ONLY_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    INTO_SIMULATED_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    file_name: str
    product_id: str
    granularity: _trade_pb2.Granularity
    only_product_ids: _containers.RepeatedScalarFieldContainer[str]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    into_simulated: bool
    def __init__(self, request_id: _Optional[str] = ..., file_name: _Optional[str] = ..., product_id: _Optional[str] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., only_product_ids: _Optional[_Iterable[str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., into_simulated: _Optional[bool] = ...) -> None: ...

class RefusalCount(_message.Message):
    __slots__ = ("code", "count", "example")
    CODE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_FIELD_NUMBER: _ClassVar[int]
    code: str
    count: int
    example: str
    def __init__(self, code: _Optional[str] = ..., count: _Optional[int] = ..., example: _Optional[str] = ...) -> None: ...

class ImportCandlesResponse(_message.Message):
    __slots__ = ("received", "stored", "unchanged", "skipped", "refused", "refusals", "format", "lines", "headers", "blanks")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BLANKS_FIELD_NUMBER: _ClassVar[int]
    received: int
    stored: int
    unchanged: int
    skipped: int
    refused: int
    refusals: _containers.RepeatedCompositeFieldContainer[RefusalCount]
    format: str
    lines: int
    headers: int
    blanks: int
    def __init__(self, received: _Optional[int] = ..., stored: _Optional[int] = ..., unchanged: _Optional[int] = ..., skipped: _Optional[int] = ..., refused: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[RefusalCount, _Mapping]]] = ..., format: _Optional[str] = ..., lines: _Optional[int] = ..., headers: _Optional[int] = ..., blanks: _Optional[int] = ...) -> None: ...

class BackfillCandlesRequest(_message.Message):
    __slots__ = ("request_id", "product_ids", "granularity", "start_time", "end_time")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    granularity: _trade_pb2.Granularity
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, request_id: _Optional[str] = ..., product_ids: _Optional[_Iterable[str]] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BackfillCandlesResponse(_message.Message):
    __slots__ = ("product_id", "bars_done", "bars_total", "stored", "unchanged", "refused", "done", "elapsed")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    BARS_DONE_FIELD_NUMBER: _ClassVar[int]
    BARS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    bars_done: int
    bars_total: int
    stored: int
    unchanged: int
    refused: int
    done: bool
    elapsed: _duration_pb2.Duration
    def __init__(self, product_id: _Optional[str] = ..., bars_done: _Optional[int] = ..., bars_total: _Optional[int] = ..., stored: _Optional[int] = ..., unchanged: _Optional[int] = ..., refused: _Optional[int] = ..., done: _Optional[bool] = ..., elapsed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DeleteCandlesRequest(_message.Message):
    __slots__ = ("request_id", "product_id", "granularity", "start_time", "end_time", "source", "note", "expected_count")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    product_id: str
    granularity: _trade_pb2.Granularity
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    source: str
    note: str
    expected_count: int
    def __init__(self, request_id: _Optional[str] = ..., product_id: _Optional[str] = ..., granularity: _Optional[_Union[_trade_pb2.Granularity, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ..., note: _Optional[str] = ..., expected_count: _Optional[int] = ...) -> None: ...

class DeleteCandlesResponse(_message.Message):
    __slots__ = ("count", "first_start_time", "last_start_time", "sources", "deleted")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_START_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_START_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    count: int
    first_start_time: _timestamp_pb2.Timestamp
    last_start_time: _timestamp_pb2.Timestamp
    sources: _containers.RepeatedScalarFieldContainer[str]
    deleted: bool
    def __init__(self, count: _Optional[int] = ..., first_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sources: _Optional[_Iterable[str]] = ..., deleted: _Optional[bool] = ...) -> None: ...
