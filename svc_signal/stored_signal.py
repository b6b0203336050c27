"""A stored signal, and what signals of one bar have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from tradekit.states import Profile, SignalSide


class Shared(NamedTuple):
    """What signals of one bar with the same side and reasons share. `granularity` in seconds, times aware UTC, `reasons` as
    JSON text."""

    granularity: int
    bar_start: datetime
    as_of: datetime
    side: SignalSide
    model_version: str
    feature_set_hash: str
    profile: Profile
    reasons: str


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """A row of trading_signals. `numbers` are those of SIGNAL_NUMBERS, `reference_price` is plain decimal text; `features` is
    empty where they were not stored, or not asked for."""

    signal_id: str
    product_id: str
    sequence: int
    numbers: tuple[float, ...]
    reference_price: str
    features: Sequence[float]
    shared: Shared
