"""How a batch goes on: what each item finds that the items before it in the same transaction changed.

An item that is decided leaves the account as if it had been stored and read again: its reservation is exposure, cash that
is spoken for, an order token and an entry; its locks are in force; its answer stands. `progress` holds these changes beside
what was read, and everything that a later item looks at is asked here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import localcontext
from uuid import UUID

from meshkit.errors import RequestIdReused
from schema.requests import RequestKey
from svc_risk.assessments import Attempt, Decision
from svc_risk.known import AccountAt
from svc_risk.locks import lock_id
from svc_risk.pacing import RATE_LOOKBACK
from svc_risk.snapshot import Lock, PastOrders
from tradekit.decimals import CONTEXT, to_stored_scale
from tradekit.sizes import NO_QUOTE
from tradekit.states import ReservationState, Side
from tradekit.units import ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class Progress:
    """What the items so far changed, beside what was read before the first of them.

    `newest` is the newest market time of a decision, None before the first; `reserved` are notionals by product.
    """

    decided: int = 0
    newest: datetime | None = None
    reserved: Mapping[ProductId, QuoteSize] = field(default_factory=dict)
    entries: Mapping[ProductId, datetime] = field(default_factory=dict)
    orders: tuple[PastOrders, ...] = ()
    locks: tuple[Lock, ...] = ()
    attempts: Mapping[UUID, Attempt] = field(default_factory=dict)
    claims: Mapping[tuple[str, UUID], str] = field(default_factory=dict)

    def attempt(self, recommendation_id: UUID, stored: Attempt | None) -> Attempt | None:
        """The newest attempt, where `stored` is the newest that was read."""
        return self.attempts.get(recommendation_id, stored)

    def last_entry(self, product_id: ProductId, stored: datetime | None) -> datetime | None:
        """Market time of the product's newest entry."""
        known = [time for time in (stored, self.entries.get(product_id)) if time is not None]
        return max(known, default=None)

    def past_orders(self, at: AccountAt, as_of: datetime) -> tuple[PastOrders, ...]:
        """Order tokens that were spent within the memory of the buckets, and any spent later."""
        spent = Counter[tuple[datetime, ProductId]]()
        for order in (*at.orders, *(order for order in self.orders if order.as_of > as_of - RATE_LOOKBACK)):
            spent[order.as_of, order.product_id] += order.count
        return tuple(PastOrders(product_id, time, count) for (time, product_id), count in sorted(spent.items()))

    def locks_in_force(self, at: AccountAt, as_of: datetime) -> tuple[Lock, ...]:
        """Locks in force at a market time."""
        since = (lock for lock in self.locks if lock.from_time <= as_of and _lasts(lock, as_of))
        stored = (lock for _, lock in at.locks)
        return tuple(sorted((*stored, *since), key=lambda lock: (lock.from_time, lock.code)))

    def require_unused(self, key: RequestKey, stored: str | None) -> None:
        """RequestIdReused where the request_id stands for another body; `stored` is the one that was read."""
        body = self.claims.get((key.caller, key.request_id), stored)
        if body is not None and body != key.body:
            raise RequestIdReused(key.request_id)

    def is_claimed(self, key: RequestKey, stored: str | None) -> bool:
        """Whether it is known already what the request_id stands for."""
        return stored is not None or (key.caller, key.request_id) in self.claims


def _lasts(lock: Lock, as_of: datetime) -> bool:
    return lock.until_time is None or lock.until_time > as_of


def stored_anew(found: Iterable[Lock], at: AccountAt) -> tuple[Lock, ...]:
    """Those of the tripped locks that come into force: one that an operator released at this very time stays released."""
    return tuple(lock for lock in found if lock_id(lock) not in at.ended)


def after_answer(progress: Progress, key: RequestKey) -> Progress:
    """After an item was answered, by a decision or from what is stored: its request_id stands for its body."""
    return replace(progress, claims={**progress.claims, (key.caller, key.request_id): key.body})


def after_decision(progress: Progress, made: Decision) -> Progress:
    """After a decision: what it reserved and tripped is there for the next."""
    assessment, held = made.assessment, made.reservation
    product_id, as_of = assessment.product_id, assessment.as_of
    state, expires_at = (ReservationState.HELD, held.expires_at) if held is not None else (None, None)
    progress = replace(
        progress,
        decided=progress.decided + 1,
        newest=as_of if progress.newest is None else max(progress.newest, as_of),
        locks=(*progress.locks, *made.locks),
        attempts={**progress.attempts, assessment.recommendation_id: Attempt(assessment, state, expires_at)},
    )
    if held is None:
        return progress
    progress = replace(progress, orders=(*progress.orders, PastOrders(product_id, as_of)))
    if assessment.side is not Side.BUY:
        return progress
    last = progress.entries.get(product_id, as_of)
    with localcontext(CONTEXT):
        reserved = progress.reserved.get(product_id, NO_QUOTE) + to_stored_scale(held.quote_amount)
    return replace(
        progress,
        reserved={**progress.reserved, product_id: reserved},
        entries={**progress.entries, product_id: max(last, as_of)},
    )
