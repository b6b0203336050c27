"""Stored signals as messages.

What a signal shares with the others of its bar is made once and copied; of a bar of a thousand signals it is the larger part.
"""

import json
from collections.abc import Sequence

from modelkit.features.definition import FEATURE_COUNT
from schema.signals import SIGNAL_NUMBERS
from svc_signal.stored_signal import Shared, StoredSignal
from tradekit import wire
from tradekit.reasons import reasons_from_json
from tradekit.states import SignalSide
from trading.signal.v1 import signal_service_pb2 as pb


def signal_message(signal: StoredSignal) -> pb.Signal:
    """One stored signal with its features."""
    return signal_messages([signal], whole=True)[0]


def signal_messages(signals: Sequence[StoredSignal], whole: bool = False) -> Sequence[pb.Signal]:
    """Stored signals, without features unless `whole`."""
    return _batch(signals, [whole] * len(signals)).signals


def stored_frame(signals: Sequence[StoredSignal]) -> pb.WatchSignalsResponse:
    """Stored signals as a watcher gets them: BUY and SELL with their features, HOLD without."""
    with_features = [signal.shared.side is not SignalSide.HOLD for signal in signals]
    return pb.WatchSignalsResponse(batch=_batch(signals, with_features))


def shared_part(shared: Shared) -> pb.Signal:
    """A signal with the shared values only."""
    return pb.Signal(
        granularity=shared.granularity,  # type: ignore[arg-type]  # the numbers of the enum are seconds
        bar_start_time=wire.timestamp_message(shared.bar_start),
        as_of=wire.timestamp_message(shared.as_of),
        side=wire.enum_number("SIGNAL_SIDE", shared.side, pb.SignalSide),
        model_version=shared.model_version,
        feature_set_hash=shared.feature_set_hash,
        profile=wire.profile_number(shared.profile),
        reasons=wire.reason_messages(reasons_from_json(json.loads(shared.reasons))),
    )


def set_own(message: pb.Signal, signal_id: str, product: str, numbers: Sequence[float], price: str) -> None:
    """Sets what a signal shares with no other; `numbers` are those of SIGNAL_NUMBERS, `price` is plain decimal text."""
    message.signal_id, message.product_id = signal_id, product
    for name, number in zip(SIGNAL_NUMBERS, numbers, strict=True):
        setattr(message, name, number)
    message.reference_price.value = price


def _batch(signals: Sequence[StoredSignal], whole: Sequence[bool]) -> pb.SignalBatch:
    batch = pb.SignalBatch()
    parts: dict[Shared, pb.Signal] = {}
    for signal, with_features in zip(signals, whole, strict=True):
        if signal.shared not in parts:
            parts[signal.shared] = shared_part(signal.shared)
        message = batch.signals.add()
        message.CopyFrom(parts[signal.shared])
        set_own(message, signal.signal_id, signal.product_id, signal.numbers, signal.reference_price)
        message.sequence = signal.sequence
        if with_features:
            message.features.extend(_features(signal))
    return batch


def _features(signal: StoredSignal) -> Sequence[float]:
    """A row of another width was stored by nobody who knows the contract."""
    if len(signal.features) not in (0, FEATURE_COUNT):
        raise ValueError(f"signal {signal.signal_id} has {len(signal.features)} features, not {FEATURE_COUNT}")
    return signal.features
