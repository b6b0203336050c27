"""Stored signals as messages, made for a bar of a thousand of them at a time.

Most of what a signal says it shares with the others of its bar, so that part is made once and copied. Named feature
values are laid out in the wire's own form: as objects, the 51 of a row cost more than everything else in its message.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import RowMapping

from svc_signal.features.definition import NAMES
from tradekit import wire
from tradekit.reasons import reasons_from_json
from tradekit.states import Profile, SignalSide
from trading.common.v1 import trade_pb2
from trading.signal.v1 import signal_service_pb2 as pb

Row: TypeAlias = Mapping[str, Any] | RowMapping

# Protocol Buffers encoding: a field begins with (number << 3 | type); 1 is a double of 8 bytes, 2 a length and content.
_LENGTH, _DOUBLE = 2, 1


class SignalsFrame:
    """Signals as a watcher gets them, added as they are made: BUY and SELL with their features, HOLD without."""

    def __init__(self) -> None:
        self.message = pb.WatchSignalsResponse()
        self._shared: dict[tuple[Any, ...], pb.Signal] = {}

    def add(self, rows: Iterable[Row]) -> None:
        hold = SignalSide.HOLD.value
        signals = self.message.batch.signals
        for row in rows:
            _write(signals.add(), row, row["side"] != hold, self._shared)


def signals_frame(rows: Iterable[Row]) -> pb.WatchSignalsResponse:
    """These signals as one frame."""
    frame = SignalsFrame()
    frame.add(rows)
    return frame.message


def signal_message(row: Row, with_features: bool) -> pb.Signal:
    """One stored signal."""
    message = pb.Signal()
    _write(message, row, with_features, {})
    return message


def _write(message: pb.Signal, row: Row, with_features: bool, shared: dict[tuple[Any, ...], pb.Signal]) -> None:
    key = (row["as_of"], row["side"], row["reasons"], row["model_version"], row["granularity"], row["profile"])
    same = shared.get(key)
    if same is None or same.feature_set_hash != row["feature_set_hash"]:
        same = shared[key] = _shared(row)
    message.CopyFrom(same)
    message.signal_id = row["signal_id"]
    message.product_id = row["product_id"]
    message.confidence = row["confidence"]
    message.p_down = row["p_down"]
    message.p_neutral = row["p_neutral"]
    message.p_up = row["p_up"]
    message.edge = row["edge"]
    message.expected_net = row["expected_net"]
    message.sigma_horizon = row["sigma_horizon"]
    message.reference_price.value = row["reference_price"]
    message.sequence = row["sequence"]
    if with_features and row["features"]:
        message.MergeFromString(_FEATURES.pack(*chain.from_iterable(zip(_HEADS, row["features"], strict=True))))


def _shared(row: Row) -> pb.Signal:
    """What the signals of a bar with the same side and reasons have in common."""
    return pb.Signal(
        granularity=row["granularity"],
        bar_start_time=wire.timestamp_message(row["bar_start"]),
        as_of=wire.timestamp_message(row["as_of"]),
        side=wire.enum_number("SIGNAL_SIDE", SignalSide(row["side"]), pb.SignalSide),
        model_version=row["model_version"],
        feature_set_hash=row["feature_set_hash"],
        profile=wire.profile_number(Profile(row["profile"])),
        reasons=wire.reason_messages(reasons_from_json(json.loads(row["reasons"]))),
    )


def _head(name: str) -> bytes:
    """Everything of a feature's entry in Signal.features but its value, which ends it."""
    value = trade_pb2.FeatureValue.DESCRIPTOR.fields_by_name["value"].number << 3 | _DOUBLE
    inner = trade_pb2.FeatureValue(name=name).SerializeToString() + bytes((value,))
    number = pb.Signal.DESCRIPTOR.fields_by_name["features"].number << 3 | _LENGTH
    tag = bytes((number,)) if number < 128 else bytes((number & 127 | 128, number >> 7))
    return tag + bytes((len(inner) + 8,)) + inner


_HEADS = tuple(_head(name) for name in NAMES)
_FEATURES = struct.Struct("<" + "".join(f"{len(head)}sd" for head in _HEADS))
