from trading.common.v1 import decimal_pb2 as _decimal_pb2
from trading.common.v1 import recommendation_pb2 as _recommendation_pb2
from trading.common.v1 import stream_pb2 as _stream_pb2
from trading.common.v1 import trade_pb2 as _trade_pb2
from trading.options.v1 import policy_pb2 as _policy_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateRecommendationRequest(_message.Message):
    __slots__ = ("request_id", "product_id", "side", "quote_size", "base_size", "note", "exit_plan")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_SIZE_FIELD_NUMBER: _ClassVar[int]
    BASE_SIZE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EXIT_PLAN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    product_id: str
    side: _trade_pb2.Side
    quote_size: _decimal_pb2.Decimal
    base_size: _decimal_pb2.Decimal
    note: str
    exit_plan: _recommendation_pb2.ExitPlan
    def __init__(self, request_id: _Optional[str] = ..., product_id: _Optional[str] = ..., side: _Optional[_Union[_trade_pb2.Side, str]] = ..., quote_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., base_size: _Optional[_Union[_decimal_pb2.Decimal, _Mapping]] = ..., note: _Optional[str] = ..., exit_plan: _Optional[_Union[_recommendation_pb2.ExitPlan, _Mapping]] = ...) -> None: ...

class CreateRecommendationResponse(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: _recommendation_pb2.RecommendationRecord
    def __init__(self, record: _Optional[_Union[_recommendation_pb2.RecommendationRecord, _Mapping]] = ...) -> None: ...

class GetRecommendationRequest(_message.Message):
    __slots__ = ("recommendation_id",)
    RECOMMENDATION_ID_FIELD_NUMBER: _ClassVar[int]
    recommendation_id: str
    def __init__(self, recommendation_id: _Optional[str] = ...) -> None: ...

class GetRecommendationResponse(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: _recommendation_pb2.RecommendationRecord
    def __init__(self, record: _Optional[_Union[_recommendation_pb2.RecommendationRecord, _Mapping]] = ...) -> None: ...

class ListRecommendationsRequest(_message.Message):
    __slots__ = ("product_id", "state", "page_size", "page_token")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    state: _recommendation_pb2.RecommendationState
    page_size: int
    page_token: str
    def __init__(self, product_id: _Optional[str] = ..., state: _Optional[_Union[_recommendation_pb2.RecommendationState, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRecommendationsResponse(_message.Message):
    __slots__ = ("records", "next_page_token")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[_recommendation_pb2.RecommendationRecord]
    next_page_token: str
    def __init__(self, records: _Optional[_Iterable[_Union[_recommendation_pb2.RecommendationRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchRecommendationsRequest(_message.Message):
    __slots__ = ("after_sequence",)
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    def __init__(self, after_sequence: _Optional[int] = ...) -> None: ...

class WatchRecommendationsResponse(_message.Message):
    __slots__ = ("batch", "watermark", "heartbeat", "draining")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    batch: RecommendationBatch
    watermark: _stream_pb2.Watermark
    heartbeat: _stream_pb2.Heartbeat
    draining: _stream_pb2.Draining
    def __init__(self, batch: _Optional[_Union[RecommendationBatch, _Mapping]] = ..., watermark: _Optional[_Union[_stream_pb2.Watermark, _Mapping]] = ..., heartbeat: _Optional[_Union[_stream_pb2.Heartbeat, _Mapping]] = ..., draining: _Optional[_Union[_stream_pb2.Draining, _Mapping]] = ...) -> None: ...

class RecommendationBatch(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[_recommendation_pb2.RecommendationRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[_recommendation_pb2.RecommendationRecord, _Mapping]]] = ...) -> None: ...
