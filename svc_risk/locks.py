"""Locks on entries: when a loss or a fall trips one, how long it lasts, and how many orders the rate still allows.

All in market time and from stored rows alone, so a replay trips the same locks at the same bars.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from svc_risk.exposure import fall
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Lock, PastOrder
from tradekit.decimals import plain

_NAMESPACE = UUID("1d0c5a52-7f5c-5c0e-9b1a-71a3c0ffee51")
ACCOUNT = "account"
# The bucket is taken to have been full this long ago: an account that trades at its very limit for longer gets one
# burst more than a bucket with an endless memory would give.
RATE_LOOKBACK = timedelta(hours=1)


def lock_id(lock: Lock) -> UUID:
    """Derived, so that tripping a lock twice at the same market time is the same lock."""
    return uuid5(_NAMESPACE, f"{lock.code}|{lock.scope}|{lock.from_time.isoformat()}")


def day_start(moment: datetime) -> datetime:
    """00:00 UTC of the day that `moment` lies in; midnight itself opens its day."""
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def tripped(
    equity: Decimal, day_open: Decimal | None, high_water_mark: Decimal | None, as_of: datetime, p: Parameters
) -> tuple[Lock, ...]:
    """The locks that an equity trips. Reaching a breaker trips it."""
    found = []
    loss, drawdown = fall(day_open, equity), fall(high_water_mark, equity)
    if loss >= p.daily_loss_ratio:
        until = day_start(as_of) + timedelta(days=1)
        found.append(_account_lock("DAILY_LOSS", as_of, until, p.daily_loss_ratio, loss))
    if drawdown >= p.drawdown_ratio:
        found.append(_account_lock("DRAWDOWN", as_of, None, p.drawdown_ratio, drawdown))
    return tuple(found)


def _account_lock(code: str, start: datetime, until: datetime | None, limit: Decimal, observed: Decimal) -> Lock:
    shown = plain(observed.quantize(Decimal("1e-6")))
    return Lock(code, ACCOUNT, start, until, limit=plain(limit), observed=shown, unit="ratio")


def new_locks(found: Iterable[Lock], in_force: Iterable[Lock]) -> list[Lock]:
    """Those of `found` that do not repeat one in force."""
    have = {(lock.code, lock.scope) for lock in in_force}
    return [lock for lock in found if (lock.code, lock.scope) not in have]


def cooldown_end(last: datetime | None, minutes: int) -> datetime | None:
    """End of the cooldown after `last`, None if there was nothing to cool down from."""
    return None if last is None else last + timedelta(minutes=minutes)


def cooldown_lock(code: str, product_id: str, last: datetime, minutes: int) -> Lock:
    """A cooldown as a lock, for those who list what is in force."""
    scope, end = f"product:{product_id}", last + timedelta(minutes=minutes)
    return Lock(code, scope, last, end, limit=str(minutes * 60), observed="", unit="seconds")


def tokens_left(orders: Iterable[PastOrder], now: datetime, per_minute: int) -> float:
    """Order tokens in a bucket of `per_minute` that refills evenly; before the first order it was full.

    An order with a later as_of than `now` is counted at `now`: it was spent, whatever order the requests come in.
    """
    level, last = float(per_minute), now - RATE_LOOKBACK
    for moment in sorted(min(order.as_of, now) for order in orders):
        if moment <= now - RATE_LOOKBACK:
            continue
        level = min(per_minute, level + (moment - last).total_seconds() * per_minute / 60) - 1
        last = moment
    return min(float(per_minute), level + (now - last).total_seconds() * per_minute / 60)
