"""The hard rules, one function each, in the order in which failures are told. None stops the others.

Equal to a cap is allowed, equal to a breaker trips it. What a rule does to an exit stands beside it: getting out must
stay possible, so most rules do not look at a SELL at all and freshness and rate only leave a flag.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from svc_risk.exposure import Account
from svc_risk.locks import cooldown_end, tokens_left
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding, Request, Snapshot
from svc_risk.verdict import Kind, Verdict
from svc_risk.volatility import HOURS_PER_YEAR
from tradekit.decimals import divide
from tradekit.reasons import shown


@dataclass(frozen=True, slots=True)
class Case:
    """A request with everything the rules look at; `sigma` is the floored 14-day volatility, sigma_ref if unknown."""

    request: Request
    snapshot: Snapshot
    p: Parameters
    account: Account
    holding: Holding
    sigma: float
    stop: Decimal
    score: float

    @property
    def product_scope(self) -> str:
        return f"product:{self.request.product_id}"


def kill_switch(case: Case) -> Verdict:
    """The operator's switch: REDUCING lets only exits through, HALTED nothing."""
    state = case.snapshot.trading_state
    return Verdict("KILL_SWITCH", Kind.REJECT, state.allows(case.request.side), "ACTIVE", state.value)


def unknown_product(case: Case) -> Verdict:
    """The exchange's list has the product."""
    known = case.snapshot.product is not None
    return Verdict("UNKNOWN_PRODUCT", Kind.REJECT, known, scope=case.product_scope)


def trading_disabled(case: Case) -> Verdict:
    """The exchange trades the product."""
    product = case.snapshot.product
    good = product is None or product.tradable
    status = "" if product is None else product.status
    return Verdict("TRADING_DISABLED", Kind.REJECT, good, "tradable", status, scope=case.product_scope)


def expired_request(case: Case) -> Verdict:
    """The recommendation's life, by its own clock, is not over."""
    return Verdict("EXPIRED_REQUEST", Kind.REJECT, not case.snapshot.expired, scope="request")


def stale_data(case: Case) -> Verdict:
    """The product's newest candle is fresh at the request's as_of."""
    limit, newest = case.snapshot.stale_seconds, case.snapshot.market.last_close_time
    age = None if newest is None else int((case.request.as_of - newest).total_seconds())
    good = age is not None and age <= limit
    return Verdict(
        "STALE_DATA", Kind.REJECT, good, str(limit), "" if age is None else str(age), "seconds", case.product_scope
    )


def unmarked_holdings(case: Case) -> Verdict:
    """Everything that is held has a price; without it equity is not known."""
    missing = [h.product_id for h in case.snapshot.holdings if h.occupied and h.mark is None]
    scope = f"product:{missing[0]}" if missing else "account"
    return Verdict("STALE_DATA", Kind.REJECT, not missing, "0", str(len(missing)), "count", scope)


def stale_account(case: Case) -> Verdict:
    """The books were reconciled a short time ago and agreed."""
    limit = str(case.p.account_stale_seconds)
    return Verdict("STALE_ACCOUNT", Kind.REJECT, case.snapshot.account_fresh, limit, unit="seconds")


def insufficient_history(case: Case) -> Verdict:
    """Enough real candles to speak of a volatility."""
    market, limit = case.snapshot.market, case.p.min_real_bars
    good = market.real_bars >= limit and market.sigma_14d is not None
    return Verdict(
        "INSUFFICIENT_HISTORY", Kind.REJECT, good, str(limit), str(market.real_bars), "bars", case.product_scope
    )


def order_unknown(case: Case) -> Verdict:
    """No earlier order of the product has an unknown fate."""
    return Verdict("ORDER_UNKNOWN", Kind.REJECT, not case.holding.order_unknown, scope=case.product_scope)


def price_collar(case: Case) -> Verdict:
    """The price that the idea was made at is near the newest close."""
    close = case.snapshot.market.last_close
    limit = max(case.p.price_collar_ratio, case.p.collar_sigmas * case.sigma / math.sqrt(HOURS_PER_YEAR))
    if close is None:
        return Verdict("PRICE_COLLAR", Kind.REJECT, False, shown(limit), "", "ratio", case.product_scope)
    away = abs(float(divide(case.request.reference_price, close)) - 1)
    return Verdict("PRICE_COLLAR", Kind.REJECT, away <= limit, shown(limit), shown(away), "ratio", case.product_scope)


def low_confidence(case: Case) -> Verdict:
    """The model believes in its own idea; an operator's idea has no confidence and is not measured by one."""
    confidence, limit = case.request.confidence, case.p.min_confidence
    good = confidence is None or confidence >= limit
    observed = "" if confidence is None else shown(confidence)
    return Verdict("LOW_CONFIDENCE", Kind.REJECT, good, shown(limit), observed, "ratio", "model")


def _breaker(case: Case, code: str, observed: Decimal, limit: Decimal) -> Verdict:
    locked = any(lock.code == code for lock in case.snapshot.locks)
    figure = shown(observed.quantize(Decimal("1e-6")))
    return Verdict(code, Kind.REJECT, not locked and observed < limit, shown(limit), figure, "ratio")


def daily_loss(case: Case) -> Verdict:
    """The day's loss is below the breaker, and no lock of today is in force."""
    return _breaker(case, "DAILY_LOSS", case.account.daily_loss, case.p.daily_loss_ratio)


def drawdown(case: Case) -> Verdict:
    """The fall from the high-water mark is below the breaker, and no lock waits for an operator."""
    return _breaker(case, "DRAWDOWN", case.account.drawdown, case.p.drawdown_ratio)


def _cooldown(case: Case, code: str, last: datetime | None, minutes: int) -> Verdict:
    end, now = cooldown_end(last, minutes), case.request.as_of
    since = "" if last is None else str(int((now - last).total_seconds()))
    good = end is None or now >= end
    return Verdict(code, Kind.REJECT, good, str(minutes * 60), since, "seconds", case.product_scope)


def cooldown_loss(case: Case) -> Verdict:
    """The product's last losing exit is long enough ago."""
    return _cooldown(case, "COOLDOWN_LOSS", case.snapshot.last_losing_exit, case.p.cooldown_loss_minutes)


def cooldown_entry(case: Case) -> Verdict:
    """The product's last entry is long enough ago."""
    return _cooldown(case, "COOLDOWN_ENTRY", case.snapshot.last_entry, case.p.cooldown_entry_minutes)


def order_rate(case: Case) -> Verdict:
    """The account's bucket has a token."""
    left = tokens_left(case.snapshot.past_orders, case.request.as_of, case.p.orders_per_minute)
    return Verdict("ORDER_RATE", Kind.REJECT, left >= 1, str(case.p.orders_per_minute), shown(left), "count")


def product_order_rate(case: Case) -> Verdict:
    """The product's bucket has a token."""
    own = [order for order in case.snapshot.past_orders if order.product_id == case.request.product_id]
    left = tokens_left(own, case.request.as_of, case.p.product_orders_per_minute)
    limit = str(case.p.product_orders_per_minute)
    return Verdict("ORDER_RATE", Kind.REJECT, left >= 1, limit, shown(left), "count", case.product_scope)


def vol_limit(case: Case) -> Verdict:
    """The product is not too wild to touch."""
    limit = case.p.vol_limit
    return Verdict(
        "VOL_LIMIT", Kind.REJECT, case.sigma <= limit, shown(limit), shown(case.sigma), "ratio", case.product_scope
    )


def risk_score(case: Case) -> Verdict:
    """The score is below the hard line."""
    limit = case.p.score_hard
    return Verdict("RISK_SCORE", Kind.REJECT, case.score < limit, shown(limit), shown(case.score), "ratio")


def max_open_positions(case: Case) -> Verdict:
    """A slot is free, or the product has one already."""
    taken = {h.product_id for h in case.snapshot.holdings if h.occupied}
    after, limit = len(taken | {case.request.product_id}), case.p.max_open_positions
    good = after <= limit or case.request.product_id in taken
    return Verdict("MAX_OPEN_POSITIONS", Kind.REJECT, good, str(limit), str(after), "count")


def finite_inputs(case: Case) -> Verdict:
    """No statistic is NaN or infinite: a broken number never counts as a passed check."""
    market, confidence = case.snapshot.market, case.request.confidence
    numbers = [
        market.sigma_14d,
        market.sigma_24h,
        confidence,
        case.score,
        *(h.sigma_14d for h in case.snapshot.holdings),
    ]
    good = all(number is None or math.isfinite(number) for number in numbers)
    return Verdict("INTERNAL", Kind.REJECT, good, scope="request")


class OnSell(StrEnum):
    """What a failed rule does to an exit."""

    REJECT = "REJECT"
    FLAG = "FLAG"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, what it does to an exit, and whether its finding holds however fresh the data is."""

    check: Callable[[Case], Verdict]
    on_sell: OnSell
    final: bool = False


HARD_RULES = (
    Rule(kill_switch, OnSell.REJECT, final=True),
    Rule(finite_inputs, OnSell.SKIP),
    Rule(unknown_product, OnSell.REJECT, final=True),
    Rule(trading_disabled, OnSell.REJECT, final=True),
    Rule(expired_request, OnSell.FLAG, final=True),
    Rule(stale_data, OnSell.FLAG),
    Rule(unmarked_holdings, OnSell.FLAG),
    Rule(insufficient_history, OnSell.SKIP),
    Rule(stale_account, OnSell.FLAG),
    Rule(order_unknown, OnSell.SKIP, final=True),
    Rule(price_collar, OnSell.FLAG),
    Rule(low_confidence, OnSell.SKIP),
    Rule(daily_loss, OnSell.SKIP),
    Rule(drawdown, OnSell.SKIP),
    Rule(cooldown_loss, OnSell.SKIP),
    Rule(cooldown_entry, OnSell.SKIP),
    Rule(order_rate, OnSell.FLAG),
    Rule(product_order_rate, OnSell.FLAG),
    Rule(vol_limit, OnSell.SKIP),
    Rule(risk_score, OnSell.SKIP),
    Rule(max_open_positions, OnSell.SKIP),
)
