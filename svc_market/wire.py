"""Messages of MarketService ⇄ typed values; a refusal names every broken rule at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from candle_files.checks import OFF_GRID
from candle_files.rows import ROW_TEXT_LENGTH, Candle, Hints, Refusal
from meshkit.fields import Fields
from svc_market.feed import Progress
from svc_market.store import ProductRow, StoredCandle
from tradekit import wire
from tradekit.bars import EARLIEST, LATEST
from tradekit.decimals import plain
from tradekit.products import base_currency, is_product_id, quote_currency
from trading.common.v1 import decimal_pb2, trade_pb2
from trading.market.v1 import market_service_pb2 as pb

MOST_PRODUCTS_WATCHED = 1000
MOST_PRODUCTS_FETCHED = 100
MOST_CANDLES_A_FRAME = 5000
MOST_CHUNK_BYTES = 1024 * 1024
PRODUCTS_SCOPE = "products"
_NAME_LENGTH = 120
_NOTE_LENGTH = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Position = dict[str, str | int] | None


@dataclass(frozen=True, slots=True)
class ProductQuery:
    """A page of products; `after` is the last one shown, empty on the first page."""

    size: int
    after: str


@dataclass(frozen=True, slots=True)
class CandleQuery:
    """A page of candles of one product; `after` is the open time of the last one shown."""

    product_id: str
    granularity: int
    start: datetime | None
    end: datetime | None
    size: int
    after: datetime | None
    scope: str


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """What a watcher wants; no product ids means all. `candles` False: watermarks only."""

    product_ids: tuple[str, ...]
    granularity: int
    candles: bool


@dataclass(frozen=True, slots=True)
class BackfillQuery:
    """A period to take from the exchange; no product ids means those that are followed."""

    request_id: UUID
    product_ids: tuple[str, ...]
    granularity: int
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class DeleteQuery:
    """Stored candles to remove: one product, one period, one source or all (empty). `expected_count` None previews."""

    request_id: UUID
    product_id: str
    granularity: int
    start: datetime
    end: datetime
    source: str
    note: str
    expected_count: int | None


@dataclass(frozen=True, slots=True)
class ImportQuery:
    """How an import was opened: which of its rows are wanted, and what its file does not say itself."""

    request_id: UUID
    hints: Hints
    start: datetime | None
    end: datetime | None
    into_simulated: bool

    @property
    def source(self) -> str:
        return f"file:{PurePath(self.hints.file_name).name}"

    def wants(self, candle: Candle) -> bool:
        """Whether the candle lies within the products and the period."""
        if not self.hints.wants(candle.product_id):
            return False
        if self.start is not None and candle.start < self.start:
            return False
        return self.end is None or candle.start < self.end


# ---- from messages ---------------------------------------------------------------------------------------------------


def read_list_products(request: pb.ListProductsRequest) -> ProductQuery:
    fields = Fields()
    page = fields.page(request.page_size, request.page_token, 100, 500, PRODUCTS_SCOPE)
    after = fields.parse("page_token", page.position, _product_position, "", rule="INVALID_POSITION")
    fields.done()
    return ProductQuery(page.size, after)


def read_list_candles(request: pb.ListCandlesRequest, granularity: int) -> CandleQuery:
    fields = Fields()
    product_id = wire.read_product_id(fields, "product_id", request.product_id)
    seconds = wire.read_granularity(fields, "granularity", request.granularity, granularity)
    start, end = _read_period(fields, request)
    scope = f"candles|{product_id}|{seconds}|{start}|{end}"
    page = fields.page(request.page_size, request.page_token, 500, 5000, scope)
    after = fields.parse("page_token", page.position, _candle_position, None, rule="INVALID_POSITION")
    fields.done()
    return CandleQuery(product_id, seconds, start, end, page.size, after, scope)


def read_watch(request: pb.WatchCandlesRequest, granularity: int) -> WatchQuery:
    fields = Fields()
    product_ids = _read_product_ids(fields, "product_ids", request.product_ids, MOST_PRODUCTS_WATCHED)
    seconds = wire.read_granularity(fields, "granularity", request.granularity, granularity)
    if request.watermarks_only:
        positioned = request.HasField("after_sequence")
        fields.check("after_sequence", not positioned, "NOT_ALLOWED", "is set; watermarks have no position")
        fields.check("product_ids", not product_ids, "NOT_ALLOWED", "is set; a watermark speaks of all products")
    fields.done()
    return WatchQuery(product_ids, seconds, candles=not request.watermarks_only)


def read_backfill(request: pb.BackfillCandlesRequest, granularity: int) -> BackfillQuery:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    product_ids = _read_product_ids(fields, "product_ids", request.product_ids, MOST_PRODUCTS_FETCHED)
    seconds = wire.read_granularity(fields, "granularity", request.granularity, granularity)
    start, end = _read_period(fields, request, start_required=True)
    fields.done()
    return BackfillQuery(request_id, product_ids, seconds, start or EARLIEST, end)


def read_delete(request: pb.DeleteCandlesRequest, granularity: int) -> DeleteQuery:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    product_id = wire.read_product_id(fields, "product_id", request.product_id)
    seconds = wire.read_granularity(fields, "granularity", request.granularity, granularity)
    start, end = _read_period(fields, request, start_required=True, end_required=True)
    source = fields.text("source", request.source, min_length=0, max_length=_NAME_LENGTH + len("file:"))
    note = fields.text("note", request.note, max_length=_NOTE_LENGTH)
    fields.done()
    expected = request.expected_count if request.HasField("expected_count") else None
    return DeleteQuery(request_id, product_id, seconds, start or EARLIEST, end or LATEST, source, note, expected)


def read_import_open(message: pb.ImportOpen) -> ImportQuery:
    fields = Fields().inside("open")
    request_id = fields.uuid("request_id", message.request_id)
    file_name = fields.text("file_name", message.file_name, max_length=_NAME_LENGTH)
    if message.product_id:
        wire.read_product_id(fields, "product_id", message.product_id)
    seconds = wire.read_granularity(fields, "granularity", message.granularity, 0)
    only = _read_product_ids(fields, "only_product_ids", message.only_product_ids, MOST_PRODUCTS_WATCHED)
    start, end = _read_period(fields, message)
    fields.done()
    hints = Hints(file_name, message.product_id or None, seconds or None, frozenset(only))
    return ImportQuery(request_id, hints, start, end, message.into_simulated)


def read_import_candles(message: pb.CandleBatch, hints: Hints) -> list[Candle | Refusal]:
    """The candles of a frame. What breaks the contract is a violation; whether a candle is good is decided later, but
    for times finer than a microsecond, which later nobody could see."""
    fields = Fields()
    fields.check(
        "candles.candles",
        1 <= len(message.candles) <= MOST_CANDLES_A_FRAME,
        "COUNT",
        f"has {len(message.candles)} entries; send 1 to {MOST_CANDLES_A_FRAME} a frame",
    )
    shown = message.candles[:MOST_CANDLES_A_FRAME]
    candles = [_read_candle(fields, f"candles.candles[{index}]", one, hints) for index, one in enumerate(shown)]
    fields.done()
    return candles


def _read_candle(fields: Fields, name: str, message: pb.Candle, hints: Hints) -> Candle | Refusal:
    product_id = message.product_id or hints.product_id or ""
    if not is_product_id(product_id):
        wire.read_product_id(fields, f"{name}.product_id", product_id)
    seconds = wire.read_granularity(fields, f"{name}.granularity", message.granularity, hints.granularity or 0)
    if seconds == 0:
        fields.violation(f"{name}.granularity", "REQUIRED", "is missing here and in the opening frame")
    start = wire.read_time(fields, f"{name}.start_time", message.start_time, present=message.HasField("start_time"))
    values = [
        wire.read_decimal(fields, f"{name}.{value}", getattr(message, value), present=message.HasField(value))
        for value in ("open", "high", "low", "close", "volume")
    ]
    candle = Candle(product_id, seconds, start, values[0], values[1], values[2], values[3], values[4])
    if message.start_time.nanos % 1000:
        cut = f"{message.start_time.nanos} ns after the second: {candle.text()}"
        return Refusal(OFF_GRID, product_id, cut[:ROW_TEXT_LENGTH])
    return candle


def check_chunk(size: int) -> None:
    """A chunk of a file within its bound."""
    fields = Fields()
    fields.check(
        "file_chunk", 0 < size <= MOST_CHUNK_BYTES, "LENGTH", f"has {size} bytes; send 1 to {MOST_CHUNK_BYTES} a frame"
    )
    fields.done()


def _read_period(
    fields: Fields, request: Any, *, start_required: bool = False, end_required: bool = False
) -> tuple[datetime | None, datetime | None]:
    start = wire.read_time(
        fields, "start_time", request.start_time, present=request.HasField("start_time"), required=start_required
    )
    end = wire.read_time(
        fields, "end_time", request.end_time, present=request.HasField("end_time"), required=end_required
    )
    if start is not None and end is not None:
        fields.check("end_time", start < end, "ORDER", f"is {end}; must be after start_time {start}")
    return start, end


def _read_product_ids(fields: Fields, name: str, values: Sequence[str], most: int) -> tuple[str, ...]:
    chosen = fields.repeated(name, values, high=most)
    for index, product_id in enumerate(chosen):
        wire.read_product_id(fields, f"{name}[{index}]", product_id)
    fields.check(name, len(set(chosen)) == len(chosen), "REPEATED", "names a product twice")
    return tuple(chosen)


def _product_position(position: Position) -> str:
    product_id = "" if position is None else str(position.get("product_id"))
    if product_id and not is_product_id(product_id):
        raise ValueError("is no position in this list; begin without one")
    return product_id


def _candle_position(position: Position) -> datetime | None:
    """The open time of the last candle shown. A token is the caller's to write, so its position is checked like a field."""
    if position is None:
        return None
    seconds = position.get("start")
    if not isinstance(seconds, int) or not EARLIEST.timestamp() <= seconds <= LATEST.timestamp():
        raise ValueError("is no position in this list; begin without one")
    return _EPOCH + timedelta(seconds=seconds)


# ---- to messages -----------------------------------------------------------------------------------------------------


def product_message(row: ProductRow) -> pb.Product:
    product = row.product
    return pb.Product(
        product_id=product.product_id,
        base_currency=base_currency(product.product_id),
        quote_currency=quote_currency(product.product_id),
        base_increment=wire.amount_message(product.base_increment),
        quote_increment=wire.amount_message(product.quote_increment),
        price_increment=wire.amount_message(product.price_increment),
        base_min_size=wire.amount_message(product.base_min_size),
        quote_min_size=wire.amount_message(product.quote_min_size),
        tradable=product.tradable,
        status=product.status,
        observe_time=wire.timestamp_message(row.observed_at),
    )


def candle_message(stored: StoredCandle) -> pb.Candle:
    """The candle; numbers in their shortest exact text."""
    candle = stored.candle
    return pb.Candle(
        product_id=candle.product_id,
        granularity=_granularity(candle.granularity),
        start_time=wire.timestamp_message(candle.start),
        open=decimal_pb2.Decimal(value=plain(candle.open)),
        high=decimal_pb2.Decimal(value=plain(candle.high)),
        low=decimal_pb2.Decimal(value=plain(candle.low)),
        close=decimal_pb2.Decimal(value=plain(candle.close)),
        volume=decimal_pb2.Decimal(value=plain(candle.volume)),
        source=stored.source,
        sequence=stored.sequence,
    )


def batch_frame(rows: Sequence[StoredCandle]) -> pb.WatchCandlesResponse:
    return pb.WatchCandlesResponse(batch=pb.CandleBatch(candles=[candle_message(row) for row in rows]))


def progress_message(progress: Progress, elapsed_seconds: float, *, done: bool) -> pb.BackfillCandlesResponse:
    elapsed = Duration()
    elapsed.FromMicroseconds(int(elapsed_seconds * 1_000_000))
    return pb.BackfillCandlesResponse(
        product_id=progress.product_id,
        bars_done=progress.bars_done,
        bars_total=progress.bars_total,
        stored=progress.stored,
        unchanged=progress.unchanged,
        refused=progress.refused,
        done=done,
        elapsed=elapsed,
    )


def _granularity(seconds: int) -> Any:
    """The contract's enum numbers a granularity by its seconds."""
    return trade_pb2.Granularity.Name(seconds)


def deletion_message(
    count: int, first: datetime | None, last: datetime | None, sources: Sequence[str], *, deleted: bool
) -> pb.DeleteCandlesResponse:
    return pb.DeleteCandlesResponse(
        count=count,
        first_start_time=wire.timestamp_message(first) if first else None,
        last_start_time=wire.timestamp_message(last) if last else None,
        sources=sorted(sources),
        deleted=deleted,
    )
