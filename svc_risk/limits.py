"""The hard limits of entries: confidence, breakers, cooldowns, order rates, volatility, score and slots.

Each is a check and its declaration, in the order of the reasons; none stops the others. Getting out must stay
possible, so none of them looks at a SELL but the order rates, which leave a flag.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from svc_risk.case import Case
from svc_risk.exposure import Account
from svc_risk.pacing import cooldown_end, tokens_left
from svc_risk.rule import Effect, Finding, Limit, Rule, fixed
from svc_risk.snapshot import PastOrders
from tradekit.reasons import shown

REJECT, FLAG, NONE = Effect.REJECT, Effect.FLAG, Effect.NONE


def _confident(case: Case, limit: float) -> Finding:
    """An operator's recommendation has no confidence and is not measured by one."""
    confidence = case.request.confidence
    return Finding(confidence is None or confidence >= limit, "" if confidence is None else shown(confidence))


LOW_CONFIDENCE = Rule(
    "LOW_CONFIDENCE",
    "the model's confidence is below its limit",
    fixed(lambda p: p.min_confidence),
    unit="ratio",
    scope="model",
    on_buy=REJECT,
    on_sell=NONE,
    check=_confident,
)


def _breaker(code: str, words: str, limit: Limit[Decimal], fell: Callable[[Account], Decimal]) -> Rule[Decimal]:
    """A breaker holds while its lock is in force, however kind the account looks by then."""

    def check(case: Case, limit: Decimal) -> Finding:
        observed = fell(case.account)
        locked = any(lock.code == code for lock in case.snapshot.locks)
        return Finding(not locked and observed < limit, shown(observed.quantize(Decimal("1e-6"))))

    return Rule(code, words, limit, unit="ratio", scope="account", on_buy=REJECT, on_sell=NONE, check=check)


DAILY_LOSS = _breaker(
    "DAILY_LOSS",
    "the day's loss reached the breaker; locked until the next day",
    fixed(lambda p: p.daily_loss_ratio),
    lambda account: account.daily_loss,
)
DRAWDOWN = _breaker(
    "DRAWDOWN",
    "the fall from the high-water mark reached the breaker; an operator releases it",
    fixed(lambda p: p.drawdown_ratio),
    lambda account: account.drawdown,
)


def _cooled_down(case: Case, last: datetime | None, seconds: int) -> Finding:
    end, now = cooldown_end(last, seconds), case.request.as_of
    since = "" if last is None else shown(int((now - last).total_seconds()))
    return Finding(end is None or now >= end, since)


COOLDOWN_LOSS = Rule(
    "COOLDOWN_LOSS",
    "too soon after a losing exit of the product",
    fixed(lambda p: p.cooldown_loss_seconds),
    unit="seconds",
    scope="product",
    on_buy=REJECT,
    on_sell=NONE,
    check=lambda case, limit: _cooled_down(case, case.snapshot.last_losing_exit, limit),
)
COOLDOWN_ENTRY = Rule(
    "COOLDOWN_ENTRY",
    "too soon after the last entry of the product",
    fixed(lambda p: p.cooldown_entry_seconds),
    unit="seconds",
    scope="product",
    on_buy=REJECT,
    on_sell=NONE,
    check=lambda case, limit: _cooled_down(case, case.snapshot.last_entry, limit),
)


def _token_left(case: Case, orders: Iterable[PastOrders], limit: int) -> Finding:
    left = tokens_left(orders, case.request.as_of, limit)
    return Finding(left >= 1, shown(left))


def _product_token_left(case: Case, limit: int) -> Finding:
    product_id = case.request.product_id
    return _token_left(case, [order for order in case.snapshot.past_orders if order.product_id == product_id], limit)


ORDER_RATE = Rule(
    "ORDER_RATE",
    "too many orders of the account in a minute",
    fixed(lambda p: p.orders_per_minute),
    unit="count",
    scope="account",
    on_buy=REJECT,
    on_sell=FLAG,
    check=lambda case, limit: _token_left(case, case.snapshot.past_orders, limit),
)
PRODUCT_ORDER_RATE = Rule(
    "ORDER_RATE",
    "too many orders of the product in a minute",
    fixed(lambda p: p.product_orders_per_minute),
    unit="count",
    scope="product",
    on_buy=REJECT,
    on_sell=FLAG,
    check=_product_token_left,
)
VOL_LIMIT = Rule(
    "VOL_LIMIT",
    "the product is too wild to touch",
    fixed(lambda p: p.vol_limit),
    unit="ratio",
    scope="product",
    on_buy=REJECT,
    on_sell=NONE,
    check=lambda case, limit: Finding(case.sigma <= limit, shown(case.sigma)),
)
RISK_SCORE = Rule(
    "RISK_SCORE",
    "the score is at or above the hard line",
    fixed(lambda p: p.score_hard),
    unit="ratio",
    scope="account",
    on_buy=REJECT,
    on_sell=NONE,
    check=lambda case, limit: Finding(case.score < limit, shown(case.score)),
)


def _slot_free(case: Case, limit: int) -> Finding:
    """A product that has a slot already takes no other."""
    taken = {h.product_id for h in case.snapshot.holdings if h.occupied}
    after = len(taken | {case.request.product_id})
    return Finding(after <= limit or case.request.product_id in taken, shown(after))


MAX_OPEN_POSITIONS = Rule(
    "MAX_OPEN_POSITIONS",
    "every slot for positions is taken",
    fixed(lambda p: p.max_open_positions),
    unit="count",
    scope="account",
    on_buy=REJECT,
    on_sell=NONE,
    check=_slot_free,
)

LIMIT_RULES: tuple[Rule[Any], ...] = (
    LOW_CONFIDENCE,
    DAILY_LOSS,
    DRAWDOWN,
    COOLDOWN_LOSS,
    COOLDOWN_ENTRY,
    ORDER_RATE,
    PRODUCT_ORDER_RATE,
    VOL_LIMIT,
    RISK_SCORE,
    MAX_OPEN_POSITIONS,
)
