"""The way out of what a signal buys: the barriers and the horizon that its model's labels were made with.

Pure. A model learned that the upper barrier is touched before the lower one within the horizon; who trades by it leaves where
the label ends. Both barriers lie at the same distance of the log price from the close that the signal was decided at.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from tradekit.decimals import CONTEXT, to_stored_scale
from tradekit.exit_plan import ExitPlan
from tradekit.units import Price

# Beyond this a barrier is no price that anybody would wait for; below it is within what a float tells apart.
_FARTHEST, _NEAREST = 2.0, 1e-6
# The digits of a ratio of prices: the same on every machine, whatever its last bit of an exponential.
_RATIO = "{:.9f}"


@dataclass(frozen=True, slots=True)
class LabelTerms:
    """What a model's labels mean: barriers at `barrier_width` deviations over a horizon of so many bars."""

    barrier_width: float
    horizon_bars: int


def exit_plan(
    price: Price, as_of: datetime, sigma_horizon: float, label: LabelTerms, bar: timedelta, *, with_time: bool
) -> ExitPlan | None:
    """The plan of a BUY decided at a price; None where the barriers are none that could be traded."""
    barrier = label.barrier_width * sigma_horizon
    if not _NEAREST < barrier < _FARTHEST:
        return None
    with localcontext(CONTEXT):
        stop, target = (Price(price * Decimal(_RATIO.format(math.exp(one)))) for one in (-barrier, barrier))
    ends = as_of + label.horizon_bars * bar if with_time else None
    return ExitPlan(to_stored_scale(stop), to_stored_scale(target), ends)
