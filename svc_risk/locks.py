"""Locks on entries: when a loss or a fall trips one, and how long it lasts. What a lock tells is its rule's.

All in market time and from stored rows alone, so a replay trips the same locks at the same bars.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from svc_risk.exposure import fall
from svc_risk.limits import DAILY_LOSS, DRAWDOWN
from svc_risk.parameters import Parameters
from svc_risk.rule import Rule
from svc_risk.snapshot import Lock
from tradekit.reasons import shown
from tradekit.units import ProductId, QuoteSize

_NAMESPACE = UUID("1d0c5a52-7f5c-5c0e-9b1a-71a3c0ffee51")


def lock_id(lock: Lock) -> UUID:
    """Derived, so that tripping a lock twice at the same market time is the same lock."""
    return uuid5(_NAMESPACE, f"{lock.code}|{lock.scope}|{lock.from_time.isoformat()}")


def day_start(moment: datetime) -> datetime:
    """00:00 UTC of the day that `moment` lies in; midnight itself opens its day."""
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def tripped(
    equity: QuoteSize, day_open: QuoteSize | None, high_water_mark: QuoteSize | None, as_of: datetime, p: Parameters
) -> tuple[Lock, ...]:
    """The locks that an equity trips. Reaching a breaker trips it."""
    found = []
    loss, drawdown = fall(day_open, equity), fall(high_water_mark, equity)
    if loss >= p.daily_loss_ratio:
        until = day_start(as_of) + timedelta(days=1)
        found.append(_breaker_lock(DAILY_LOSS, as_of, until, p.daily_loss_ratio, loss))
    if drawdown >= p.drawdown_ratio:
        found.append(_breaker_lock(DRAWDOWN, as_of, None, p.drawdown_ratio, drawdown))
    return tuple(found)


def _breaker_lock(
    rule: Rule[Decimal], start: datetime, until: datetime | None, limit: Decimal, observed: Decimal
) -> Lock:
    figure = shown(observed.quantize(Decimal("1e-6")))
    return Lock(rule.code, rule.scope, start, until, limit=shown(limit), observed=figure, unit=rule.unit)


def new_locks(found: Iterable[Lock], in_force: Iterable[Lock]) -> list[Lock]:
    """Those of `found` that do not repeat one in force."""
    have = {(lock.code, lock.scope) for lock in in_force}
    return [lock for lock in found if (lock.code, lock.scope) not in have]


def cooldown_lock(rule: Rule[int], product_id: ProductId, last: datetime, seconds: int) -> Lock:
    """A cooldown as a lock, for those who list what is in force."""
    scope, end = f"{rule.scope}:{product_id}", last + timedelta(seconds=seconds)
    return Lock(rule.code, scope, last, end, limit=shown(seconds), observed="", unit=rule.unit)
