"""How fast orders may follow each other: the end of a cooldown, and the tokens that an order rate has left.

All in market time and from stored rows alone, so a replay is slowed down at the same bars.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from svc_risk.snapshot import PastOrders

# The bucket is taken to have been full this long ago: an account that trades at its very limit for longer gets one
# burst more than a bucket with an endless memory would give.
RATE_LOOKBACK = timedelta(hours=1)


def cooldown_end(last: datetime | None, seconds: int) -> datetime | None:
    """End of the cooldown after `last`, None if there was nothing to cool down from."""
    return None if last is None else last + timedelta(seconds=seconds)


def tokens_left(orders: Iterable[PastOrders], now: datetime, per_minute: int) -> float:
    """Order tokens in a bucket of `per_minute` that refills evenly; before the first order it was full.

    An order with a later as_of than `now` is counted at `now`: it was spent, whatever order the requests come in.
    """
    level, last = float(per_minute), now - RATE_LOOKBACK
    spent = Counter[datetime]()
    for order in orders:
        spent[min(order.as_of, now)] += order.count
    for moment in sorted(spent):
        if moment <= now - RATE_LOOKBACK:
            continue
        level = min(per_minute, level + (moment - last).total_seconds() * per_minute / 60) - spent[moment]
        last = moment
    return min(float(per_minute), level + (now - last).total_seconds() * per_minute / 60)
