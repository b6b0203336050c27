"""Stored signals as messages, laid out as bytes for a bar of a thousand of them at a time.

Most of what a signal says it shares with the others of its bar, so that part is made once; its numbers are laid out by
numpy in the wire's own form. As objects, the 51 named features of a row cost more than everything else in its message.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.message import Message
from sqlalchemy import RowMapping

from modelkit.candles import FloatArray
from modelkit.features.definition import NAMES
from tradekit import wire
from tradekit.reasons import reasons_from_json
from tradekit.states import Profile, SignalSide
from trading.common.v1 import decimal_pb2, trade_pb2
from trading.signal.v1 import signal_service_pb2 as pb

Row: TypeAlias = Mapping[str, Any] | RowMapping

NUMBERS = ("confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon")
"""Of a signal, in the order of `SignalColumns.numbers`."""
_SHARED = ("granularity", "bar_start", "as_of", "side", "model_version", "feature_set_hash", "profile", "reasons")

# Protocol Buffers encoding: a field begins with (number << 3 | type) as a varint.
_VARINT, _DOUBLE, _LENGTH = 0, 1, 2


@dataclass(frozen=True, slots=True)
class SignalColumns:
    """Signals as columns. `shared` and `names` are what `shared_part` and `name_part` gave for each; `numbers` is
    (n, 7); `features` (k, 51) are those of the k signals that are `shown` with them."""

    shared: Sequence[bytes]
    names: Sequence[bytes]
    numbers: FloatArray
    prices: Sequence[str]
    sequences: Sequence[int]
    shown: Sequence[bool]
    features: FloatArray


def signal_message(row: Row) -> pb.Signal:
    """One stored signal with its features."""
    return signal_messages([row], whole=True)[0]


def signal_messages(rows: Sequence[Row], whole: bool = False) -> Sequence[pb.Signal]:
    """Stored signals, without features unless `whole`."""
    columns = _columns(rows, [whole and bool(row["features"]) for row in rows])
    return pb.SignalBatch.FromString(b"".join(entries(columns))).signals


def stored_frame(rows: Sequence[Row]) -> bytes:
    """Stored signals as a watcher gets them: BUY and SELL with their features, HOLD without."""
    hold = SignalSide.HOLD.value
    return frame(entries(_columns(rows, [row["side"] != hold and bool(row["features"]) for row in rows])))


def frame(signals: Iterable[bytes]) -> bytes:
    """Entries as one WatchSignalsResponse."""
    return _sized(_BATCH, b"".join(signals))


def entries(columns: SignalColumns) -> Iterator[bytes]:
    """The signals one by one, as they stand in a batch."""
    features = iter(_FEATURES.lines(columns.features))
    rows = zip(
        *(columns.shared, columns.names, _NUMBERS.lines(columns.numbers)),
        *(columns.prices, columns.sequences, columns.shown),
        strict=True,
    )
    for shared, name, numbers, price, sequence, shown in rows:
        exact = _sized(_PRICE, _sized(_PRICE_VALUE, price.encode()))
        told = next(features) if shown else b""
        yield _sized(_ENTRY, b"".join((shared, name, numbers, exact, _SEQUENCE, _varint(sequence), told)))


def name_part(signal_id: str, product: str) -> bytes:
    """What names a signal."""
    return _sized(_ID, signal_id.encode()) + _sized(_PRODUCT, product.encode())


def shared_part(row: Row) -> bytes:
    """What the signals of a bar with the same side and reasons have in common."""
    message = pb.Signal(
        granularity=row["granularity"],
        bar_start_time=wire.timestamp_message(row["bar_start"]),
        as_of=wire.timestamp_message(row["as_of"]),
        side=wire.enum_number("SIGNAL_SIDE", SignalSide(row["side"]), pb.SignalSide),
        model_version=row["model_version"],
        feature_set_hash=row["feature_set_hash"],
        profile=wire.profile_number(Profile(row["profile"])),
        reasons=wire.reason_messages(reasons_from_json(json.loads(row["reasons"]))),
    )
    return message.SerializeToString()


def _columns(rows: Sequence[Row], shown: Sequence[bool]) -> SignalColumns:
    keys = [tuple(row[name] for name in _SHARED) for row in rows]
    shared = {key: shared_part(row) for key, row in dict(zip(keys, rows, strict=True)).items()}
    told = [row["features"] for row, here in zip(rows, shown, strict=True) if here]
    return SignalColumns(
        shared=[shared[key] for key in keys],
        names=[name_part(row["signal_id"], row["product_id"]) for row in rows],
        numbers=np.asarray([[row[name] for name in NUMBERS] for row in rows], dtype=np.float64),
        prices=[row["reference_price"] for row in rows],
        sequences=[row["sequence"] for row in rows],
        shown=shown,
        features=np.asarray(told, dtype=np.float64),
    )


class _Doubles:
    """Doubles of a row side by side, each behind a head of its own; written over a pattern of such a row."""

    def __init__(self, heads: Sequence[bytes]) -> None:
        ends = np.cumsum([len(head) + 8 for head in heads])
        self._places = (ends[:, None] + np.arange(-8, 0)).ravel()
        self._pattern = np.frombuffer(b"".join(head + bytes(8) for head in heads), np.uint8)

    def lines(self, rows: FloatArray) -> list[bytes]:
        """(n, heads) as n pieces."""
        if not len(rows):
            return []
        table = np.tile(self._pattern, (len(rows), 1))
        table[:, self._places] = np.ascontiguousarray(rows, dtype="<f8").view(np.uint8)
        content, width = table.tobytes(), len(self._pattern)
        return [content[at : at + width] for at in range(0, len(content), width)]


def _tag(message: type[Message], field: str, kind: int) -> bytes:
    return _varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | kind)


def _varint(value: int) -> bytes:
    if value < 128:
        return _ONE_BYTE[value]
    if value < 16_384:
        return _ONE_BYTE[value & 127 | 128] + _ONE_BYTE[value >> 7]
    return _ONE_BYTE[value & 127 | 128] + _varint(value >> 7)


def _sized(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _feature_head(name: str) -> bytes:
    """Everything of a feature's entry in Signal.features but its value, which ends it."""
    value = _tag(trade_pb2.FeatureValue, "value", _DOUBLE)
    inner = trade_pb2.FeatureValue(name=name).SerializeToString() + value
    return _tag(pb.Signal, "features", _LENGTH) + _varint(len(inner) + 8) + inner


_ONE_BYTE = tuple(bytes((value,)) for value in range(256))
_BATCH = _tag(pb.WatchSignalsResponse, "batch", _LENGTH)
_ENTRY = _tag(pb.SignalBatch, "signals", _LENGTH)
_ID = _tag(pb.Signal, "signal_id", _LENGTH)
_PRODUCT = _tag(pb.Signal, "product_id", _LENGTH)
_PRICE = _tag(pb.Signal, "reference_price", _LENGTH)
_PRICE_VALUE = _tag(decimal_pb2.Decimal, "value", _LENGTH)
_SEQUENCE = _tag(pb.Signal, "sequence", _VARINT)
_NUMBERS = _Doubles([_tag(pb.Signal, name, _DOUBLE) for name in NUMBERS])
_FEATURES = _Doubles([_feature_head(name) for name in NAMES])
