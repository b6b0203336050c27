"""The rows a bar stores: a signal for every product, and what a challenger would have said."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np

from modelkit.candles import FloatArray
from modelkit.decision import SignalReason
from schema.signals import SIGNAL_NUMBERS
from svc_signal.bars import binary_copy as copy
from svc_signal.bars.bar import BarDecisions
from svc_signal.bars.store import Close
from svc_signal.stored_signal import Shared
from svc_signal.wire_signals import set_own, shared_part
from tradekit import ids
from tradekit.reasons import Reason, reasons_to_json
from tradekit.states import Profile, SignalSide
from trading.signal.v1 import signal_service_pb2 as pb

SIGNAL_COLUMNS = (
    *("signal_id", "product_id", "sequence", *SIGNAL_NUMBERS),
    *("reference_price", "features", "side", "reasons"),
    *("run_id", "granularity", "bar_start", "as_of", "model_version", "feature_set_hash", "profile"),
)
SHADOW_COLUMNS = (
    *("product_id", "side", "p_down", "p_neutral", "p_up"),
    *("run_id", "model_version", "granularity", "bar_start"),
)


@dataclass(frozen=True, slots=True)
class BarHead:
    """What all rows of a bar share."""

    run_id: str
    granularity: int
    bar_start: datetime
    as_of: datetime
    model_version: str
    feature_set_hash: str
    profile: Profile


def _numbers(found: BarDecisions) -> FloatArray:
    """(n, 7) SIGNAL_NUMBERS as they are published: where there were no probabilities, NEUTRAL and no edge."""
    said = found.decisions
    known = np.isfinite(said.edge)
    p_down, p_neutral, p_up = np.where(known[:, None], said.probabilities, (0.0, 1.0, 0.0)).T
    values = {
        "confidence": said.confidence,
        "p_down": p_down,
        "p_neutral": p_neutral,
        "p_up": p_up,
        "edge": np.where(known, said.edge, 0.0),
        "expected_net": np.where(known, said.expected_net, 0.0),
        "sigma_horizon": found.sigma,
    }
    return np.stack([values[name] for name in SIGNAL_NUMBERS], axis=1)


def signal_ids(head: BarHead, products: Iterable[str]) -> dict[str, UUID]:
    """The ids of the bar's signals, by product. They hold nothing of its candles, so they can be made before it."""
    return {
        product: ids.signal_id(head.run_id, product, head.granularity, head.bar_start, head.model_version)
        for product in products
    }


def signal_rows(
    head: BarHead, found: BarDecisions, names: Sequence[UUID], closes: Mapping[str, Close], first_sequence: int
) -> Iterator[bytes]:
    """The bar's signals as COPY input for SIGNAL_COLUMNS; the price is the close as the table gave it."""
    said = found.decisions
    numbers = copy.doubles(_numbers(found))
    sequences = copy.int8s(range(first_sequence, first_sequence + len(names)))
    features = copy.double_arrays(found.features, found.ready.tolist())
    kinds = list(zip(said.side, said.reasons, strict=True))
    shared = _shared_fields(head)
    parts = {(side, reasons): _kind_fields(side, reasons) + shared for side, reasons in set(kinds)}
    columns = zip(names, found.products, sequences, numbers, features, kinds, strict=True)
    rows = (
        (
            *(copy.raw(name.bytes), copy.text(product), sequence, values),
            *(copy.raw(closes[product].exact), row, parts[kind]),
        )
        for name, product, sequence, values, row, kind in columns
    )
    return copy.content(len(SIGNAL_COLUMNS), rows)


def _shared_fields(head: BarHead) -> bytes:
    return b"".join(
        (
            copy.text(head.run_id),
            copy.int4(head.granularity),
            copy.time(head.bar_start),
            copy.time(head.as_of),
            copy.text(head.model_version),
            copy.text(head.feature_set_hash),
            copy.text(head.profile.value),
        )
    )


def _kind_fields(side: SignalSide, reasons: tuple[SignalReason, ...]) -> bytes:
    return copy.text(side.value) + copy.json(_reasons_text(reasons))


def signal_columns(
    head: BarHead, found: BarDecisions, names: Sequence[UUID], closes: Mapping[str, Close]
) -> tuple[Any, ...]:
    """The bar's signals as the columns that `bar_store.finish_bar_with` takes, in its order."""
    said = found.decisions
    return (
        *(names, list(found.products), [side.value for side in said.side]),
        *_numbers(found).T.tolist(),
        [Decimal(closes[product].text) for product in found.products],
        [_reasons_text(reasons) for reasons in said.reasons],
        found.ready.tolist(),
        np.where(found.ready[:, None], found.features, 0.0).ravel().tolist(),
        found.features.shape[1],
        *(head.run_id, head.granularity, head.bar_start, head.model_version),
        *(head.feature_set_hash, head.profile.value),
    )


def watched_frame(
    head: BarHead, found: BarDecisions, names: Sequence[UUID], closes: Mapping[str, Close]
) -> pb.WatchSignalsResponse:
    """The bar's signals as watchers get them from the table: BUY and SELL with their features, HOLD without. Their
    sequences are not set: see `number`."""
    said = found.decisions
    kinds = list(zip(said.side, said.reasons, strict=True))
    parts = {(side, reasons): shared_part(_shared(head, side, reasons)) for side, reasons in set(kinds)}
    shown = found.ready & np.asarray([side is not SignalSide.HOLD for side in said.side], dtype=np.bool_)
    features = iter(found.features[shown].tolist())
    frame = pb.WatchSignalsResponse(batch=pb.SignalBatch())
    rows = zip(names, found.products, _numbers(found).tolist(), kinds, shown.tolist(), strict=True)
    for name, product, numbers, kind, with_features in rows:
        message = frame.batch.signals.add()
        message.CopyFrom(parts[kind])
        set_own(message, str(name), product, numbers, closes[product].text)
        if with_features:
            message.features.extend(next(features))
    return frame


def number(frame: pb.WatchSignalsResponse, first_sequence: int) -> None:
    """Sets the sequences of the frame's signals."""
    for sequence, message in enumerate(frame.batch.signals, first_sequence):
        message.sequence = sequence


def _shared(head: BarHead, side: SignalSide, reasons: tuple[SignalReason, ...]) -> Shared:
    return Shared(
        granularity=head.granularity,
        bar_start=head.bar_start,
        as_of=head.as_of,
        side=side,
        model_version=head.model_version,
        feature_set_hash=head.feature_set_hash,
        profile=head.profile,
        reasons=_reasons_text(reasons),
    )


def shadow_records(head: BarHead, found: BarDecisions, challenger_version: str) -> Iterator[tuple[Any, ...]]:
    """The challenger's answers as records of SHADOW_COLUMNS; a row without probabilities is left out."""
    if found.shadow is None:
        raise ValueError("no challenger has been asked")
    said = found.shadow
    shared = (head.run_id, challenger_version, head.granularity, head.bar_start)
    for row in np.flatnonzero(np.isfinite(said.edge)).tolist():
        yield (found.products[row], said.side[row].value, *said.probabilities[row].tolist(), *shared)


@cache
def _reasons_text(told: tuple[SignalReason, ...]) -> str:
    """One of the few that there are, as the table holds it."""
    return json.dumps(reasons_to_json(Reason(reason.value, scope="model") for reason in told))
