"""Stored signals as messages.

What a signal shares with the others of its bar is made once and copied; of a bar of a thousand signals it is the larger part.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import RowMapping

from modelkit.features.definition import FEATURE_COUNT
from schema.signals import SIGNAL_NUMBERS
from tradekit import wire
from tradekit.reasons import reasons_from_json
from tradekit.states import Profile, SignalSide
from trading.signal.v1 import signal_service_pb2 as pb

Row: TypeAlias = Mapping[str, Any] | RowMapping
Shared: TypeAlias = tuple[Any, ...]

SHARED = ("granularity", "bar_start", "as_of", "side", "model_version", "feature_set_hash", "profile", "reasons")
"""Columns that signals of one bar with the same side and reasons have in common, in the order of `shared_part`."""


def signal_message(row: Row) -> pb.Signal:
    """One stored signal with its features."""
    return signal_messages([row], whole=True)[0]


def signal_messages(rows: Sequence[Row], whole: bool = False) -> Sequence[pb.Signal]:
    """Stored signals, without features unless `whole`."""
    return _batch(rows, [whole] * len(rows)).signals


def stored_frame(rows: Sequence[Row]) -> pb.WatchSignalsResponse:
    """Stored signals as a watcher gets them: BUY and SELL with their features, HOLD without."""
    hold = SignalSide.HOLD.value
    return pb.WatchSignalsResponse(batch=_batch(rows, [row["side"] != hold for row in rows]))


def shared_part(shared: Shared) -> pb.Signal:
    """A signal with the values of SHARED only: `reasons` as JSON text, times aware."""
    granularity, bar_start, as_of, side, model_version, feature_set_hash, profile, reasons = shared
    return pb.Signal(
        granularity=granularity,
        bar_start_time=wire.timestamp_message(bar_start),
        as_of=wire.timestamp_message(as_of),
        side=wire.enum_number("SIGNAL_SIDE", SignalSide(side), pb.SignalSide),
        model_version=model_version,
        feature_set_hash=feature_set_hash,
        profile=wire.profile_number(Profile(profile)),
        reasons=wire.reason_messages(reasons_from_json(json.loads(reasons))),
    )


def set_own(message: pb.Signal, signal_id: str, product: str, numbers: Sequence[float], price: str) -> None:
    """Sets what a signal shares with no other; `numbers` are those of SIGNAL_NUMBERS, `price` is plain decimal text."""
    message.signal_id, message.product_id = signal_id, product
    for name, number in zip(SIGNAL_NUMBERS, numbers, strict=True):
        setattr(message, name, number)
    message.reference_price.value = price


def _batch(rows: Sequence[Row], whole: Sequence[bool]) -> pb.SignalBatch:
    batch = pb.SignalBatch()
    shared: dict[Shared, pb.Signal] = {}
    for row, with_features in zip(rows, whole, strict=True):
        key = tuple(row[name] for name in SHARED)
        if key not in shared:
            shared[key] = shared_part(key)
        message = batch.signals.add()
        message.CopyFrom(shared[key])
        numbers = [row[name] for name in SIGNAL_NUMBERS]
        set_own(message, row["signal_id"], row["product_id"], numbers, row["reference_price"])
        message.sequence = row["sequence"]
        if with_features:
            message.features.extend(_features(row))
    return batch


def _features(row: Row) -> Sequence[float]:
    """A row of another width was stored by nobody who knows the contract."""
    found: Sequence[float] = row["features"]
    if len(found) not in (0, FEATURE_COUNT):
        raise ValueError(f"signal {row['signal_id']} has {len(found)} features, not {FEATURE_COUNT}")
    return found
