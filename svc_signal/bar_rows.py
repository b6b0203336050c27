"""The rows a bar stores: a signal for every product, and what a challenger would have said."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from svc_signal import binary_copy as copy
from svc_signal.bar import BarDecisions
from svc_signal.bar_store import Close
from svc_signal.candles import FloatArray
from svc_signal.decision import SignalReason
from svc_signal.features.definition import feature_set_hash
from svc_signal.wire_signals import SignalColumns, entries, shared_part
from tradekit import ids
from tradekit.reasons import Reason, reasons_to_json
from tradekit.states import Profile, SignalSide

SIGNAL_COLUMNS = (
    *("signal_id", "product_id", "sequence", "side"),
    *("confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon"),
    *("reference_price", "reasons", "features"),
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
    profile: Profile


@dataclass(frozen=True, slots=True)
class _Told:
    """What a signal says where there were no probabilities: NEUTRAL, and no edge."""

    down: FloatArray
    neutral: FloatArray
    up: FloatArray
    edge: FloatArray
    net: FloatArray

    @classmethod
    def of(cls, found: BarDecisions) -> "_Told":
        said = found.decisions
        known = np.isfinite(said.edge)
        down, neutral, up = (np.where(known, said.probabilities[:, k], float(k == 1)) for k in range(3))
        return cls(down, neutral, up, np.where(known, said.edge, 0.0), np.where(known, said.expected_net, 0.0))


def signal_ids(head: BarHead, found: BarDecisions) -> list[UUID]:
    """The ids of the bar's signals."""
    return [
        ids.signal_id(head.run_id, product, head.granularity, head.bar_start, head.model_version)
        for product in found.products
    ]


def signal_rows(
    head: BarHead, found: BarDecisions, names: Sequence[UUID], closes: Mapping[str, Close], first_sequence: int
) -> Iterator[bytes]:
    """The bar's signals as COPY input for SIGNAL_COLUMNS; the price is the close as the table gave it."""
    said, told = found.decisions, _Told.of(found)
    numbers = copy.doubles((said.confidence, told.down, told.neutral, told.up, told.edge, told.net, found.sigma))
    features = copy.double_arrays(found.features, found.ready.tolist())
    reasons = {codes: copy.json(_reasons_text(codes)) for codes in set(said.reasons)}
    sides = {side: copy.text(side.value) for side in set(said.side)}
    shared = b"".join(
        (
            copy.text(head.run_id),
            copy.int4(head.granularity),
            copy.time(head.bar_start),
            copy.time(head.as_of),
            copy.text(head.model_version),
            copy.text(feature_set_hash(head.granularity)),
            copy.text(head.profile.value),
        )
    )
    rows = (
        (
            copy.raw(names[row].bytes),
            copy.text(product),
            copy.int8(first_sequence + row),
            sides[said.side[row]],
            numbers[row],
            copy.raw(closes[product].exact),
            reasons[said.reasons[row]],
            features[row],
            shared,
        )
        for row, product in enumerate(found.products)
    )
    return copy.content(len(SIGNAL_COLUMNS), rows)


def signal_columns(
    head: BarHead, found: BarDecisions, names: Sequence[UUID], closes: Mapping[str, Close]
) -> tuple[Any, ...]:
    """The bar's signals as the columns that `bar_store.finish_bar_with` takes, in its order."""
    said, told = found.decisions, _Told.of(found)
    numbers = (said.confidence, told.down, told.neutral, told.up, told.edge, told.net, found.sigma)
    return (
        *(list(names), list(found.products), [side.value for side in said.side]),
        *(column.tolist() for column in numbers),
        [Decimal(closes[product].text) for product in found.products],
        [_reasons_text(reasons) for reasons in said.reasons],
        found.ready.tolist(),
        np.where(found.ready[:, None], found.features, 0.0).ravel().tolist(),
        found.features.shape[1],
        *(head.run_id, head.granularity, head.bar_start, head.model_version),
        *(feature_set_hash(head.granularity), head.profile.value),
    )


def watched_entries(
    head: BarHead, found: BarDecisions, names: Sequence[UUID], closes: Mapping[str, Close], first_sequence: int
) -> Iterator[bytes]:
    """The bar's signals as watchers get them from the table: BUY and SELL with their features, HOLD without."""
    said, told = found.decisions, _Told.of(found)
    shared = {
        "granularity": head.granularity,
        "bar_start": head.bar_start,
        "as_of": head.as_of,
        "model_version": head.model_version,
        "feature_set_hash": feature_set_hash(head.granularity),
        "profile": head.profile.value,
    }
    kinds = list(zip(said.side, said.reasons, strict=True))
    parts = {
        (side, reasons): shared_part({**shared, "side": side.value, "reasons": _reasons_text(reasons)})
        for side, reasons in set(kinds)
    }
    shown = found.ready & np.asarray([side is not SignalSide.HOLD for side in said.side], dtype=np.bool_)
    return entries(
        SignalColumns(
            shared=[parts[kind] for kind in kinds],
            ids=[str(name) for name in names],
            products=found.products,
            numbers=np.stack(
                (said.confidence, told.down, told.neutral, told.up, told.edge, told.net, found.sigma), axis=1
            ),
            prices=[closes[product].text for product in found.products],
            sequences=range(first_sequence, first_sequence + len(names)),
            shown=shown.tolist(),
            features=found.features[shown],
        )
    )


def shadow_rows(head: BarHead, found: BarDecisions, challenger_version: str) -> Iterator[bytes]:
    """The challenger's answers as COPY input for SHADOW_COLUMNS; a row without probabilities is left out."""
    if found.shadow is None:
        raise ValueError("no challenger has been asked")
    said = found.shadow
    numbers = copy.doubles([said.probabilities[:, column] for column in range(3)])
    shared = b"".join(
        (
            copy.text(head.run_id),
            copy.text(challenger_version),
            copy.int4(head.granularity),
            copy.time(head.bar_start),
        )
    )
    rows = (
        (copy.text(found.products[row]), copy.text(said.side[row].value), numbers[row], shared)
        for row in np.flatnonzero(np.isfinite(said.edge)).tolist()
    )
    return copy.content(len(SHADOW_COLUMNS), rows)


def _reasons_text(told: Sequence[SignalReason]) -> str:
    return json.dumps(reasons_to_json(Reason(reason.value, scope="model") for reason in told))
