"""What a venue does that is no fault and still surprises its clients: it shows, settles, cancels and fills late, or in part.

All times are wall seconds, 0 by default; set by the operator while it runs, and gone with a restart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from hashlib import sha256

from exchange_sim.numbers import ONE

_LONGEST_SECONDS = 3600.0


@dataclass(slots=True)
class Habits:
    """For so many seconds a new order is not found, is PENDING, a balance stays as it was, a cancel is only queued, a market
    order is not filled, a fill is not settled. The clock is ahead of the true one by the skew, behind it below zero. Of what
    an order takes from the book at once it gets `fill_share`; the rest ends or rests as if there had been no more.

    Shares of things, each chosen by its own name, so that it is the same whenever it is asked for: orders that are accepted and
    then fail, candles without a trade, which are left out, and orders that are filled off the grid, a part of a step better.
    """

    hide_new_seconds: float = 0.0
    pending_seconds: float = 0.0
    stale_balance_seconds: float = 0.0
    settle_seconds: float = 0.0
    cancel_seconds: float = 0.0
    fill_seconds: float = 0.0
    clock_skew_seconds: float = 0.0
    fill_share: Decimal = ONE
    fail_share: float = 0.0
    quiet_share: float = 0.0
    off_grid_share: float = 0.0

    def change(self, given: Mapping[str, object]) -> None:
        """Sets what is given, or nothing of it; ValueError, which names it, for what is none."""
        known = {field.name for field in fields(self)}
        read: dict[str, float] = {}
        for name, value in given.items():
            if name not in known:
                raise ValueError(f"{name} is unknown; there are {', '.join(sorted(known))}")
            least, most = _BOUNDS.get(name, (0.0, _LONGEST_SECONDS))
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} must be a number from {least:g} to {most:g}")
            read[name] = value
        for name, number in read.items():
            setattr(self, name, Decimal(str(number)) if name == "fill_share" else float(number))

    def as_json(self) -> dict[str, float]:
        return {field.name: float(getattr(self, field.name)) for field in fields(self)}


_BOUNDS = {
    "fill_share": (0.01, 1.0),
    "clock_skew_seconds": (-_LONGEST_SECONDS, _LONGEST_SECONDS),
    **dict.fromkeys(("fail_share", "quiet_share", "off_grid_share"), (0.0, 1.0)),
}


def is_chosen(share: float, name: str) -> bool:
    """Whether the thing of this name is among a share of all of its kind."""
    return share > 0 and int.from_bytes(sha256(name.encode()).digest()[:4]) < share * 2**32
