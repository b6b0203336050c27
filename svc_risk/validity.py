"""The rules that ask whether a request can be decided at all: the switch, the product, its life, the freshness of what is
known, and its price. Each is a check and its declaration, in the order of the reasons; none stops the others.

What a rule does to an exit is declared with it: getting out must stay possible, so freshness only leaves a flag there.
"""

import math
from typing import Any

from svc_risk.case import Case
from svc_risk.parameters import Parameters
from svc_risk.rule import NO_LIMIT, Effect, Finding, Limit, Rule, fixed
from svc_risk.volatility import HOURS_PER_YEAR
from tradekit.decimals import divide
from tradekit.reasons import shown
from tradekit.states import TradingState

REJECT, FLAG, NONE = Effect.REJECT, Effect.FLAG, Effect.NONE


def _state_allows(case: Case, _: str) -> Finding:
    """REDUCING lets only exits through, HALTED nothing."""
    state = case.snapshot.trading_state
    return Finding(state.allows(case.request.side), state.value)


KILL_SWITCH = Rule(
    "KILL_SWITCH",
    "trading is REDUCING (entries) or HALTED (everything)",
    fixed(lambda p: TradingState.ACTIVE.value),
    unit="",
    scope="account",
    on_buy=REJECT,
    on_sell=REJECT,
    check=_state_allows,
    final=True,
)


def _inputs_finite(case: Case, _: str) -> Finding:
    market, confidence = case.snapshot.market, case.request.confidence
    held = (h.sigma_14d for h in case.snapshot.holdings)
    numbers = [market.sigma_14d, market.sigma_24h, confidence, case.score, *held]
    return Finding(all(number is None or math.isfinite(number) for number in numbers))


INTERNAL = Rule(
    "INTERNAL",
    "a statistic is not finite; a broken number never passes a check",
    NO_LIMIT,
    unit="",
    scope="request",
    on_buy=REJECT,
    on_sell=NONE,
    check=_inputs_finite,
)


def _product_known(case: Case, _: str) -> Finding:
    return Finding(case.snapshot.product is not None)


UNKNOWN_PRODUCT = Rule(
    "UNKNOWN_PRODUCT",
    "the exchange does not list the product",
    NO_LIMIT,
    unit="",
    scope="product",
    on_buy=REJECT,
    on_sell=REJECT,
    check=_product_known,
    final=True,
)


def _product_tradable(case: Case, _: str) -> Finding:
    product = case.snapshot.product
    return Finding(product is None or product.tradable, "" if product is None else product.status)


TRADING_DISABLED = Rule(
    "TRADING_DISABLED",
    "the exchange does not trade the product now",
    fixed(lambda p: "tradable"),
    unit="",
    scope="product",
    on_buy=REJECT,
    on_sell=REJECT,
    check=_product_tradable,
    final=True,
)


def _request_alive(case: Case, _: str) -> Finding:
    return Finding(not case.snapshot.expired)


EXPIRED_REQUEST = Rule(
    "EXPIRED_REQUEST",
    "the recommendation's life, by its own clock, is over",
    NO_LIMIT,
    unit="",
    scope="request",
    on_buy=REJECT,
    on_sell=FLAG,
    check=_request_alive,
    final=True,
)


def _candle_fresh(case: Case, limit: int) -> Finding:
    newest = case.snapshot.market.last_close_time
    if newest is None:
        return Finding(False)
    age = int((case.request.as_of - newest).total_seconds())
    return Finding(age <= limit, shown(age))


STALE_CANDLE = Rule(
    "STALE_DATA",
    "the product's newest candle is too old at the request's as_of, or there is none",
    Limit(lambda case: case.snapshot.stale_seconds, lambda p, granularity: shown(p.stale_seconds(granularity))),
    unit="seconds",
    scope="product",
    on_buy=REJECT,
    on_sell=FLAG,
    check=_candle_fresh,
)


def _holdings_priced(case: Case, limit: int) -> Finding:
    missing = [h.product_id for h in case.snapshot.holdings if h.occupied and h.mark is None]
    return Finding(len(missing) <= limit, shown(len(missing)), product_id=missing[0] if missing else "")


HOLDING_WITHOUT_PRICE = Rule(
    "STALE_DATA",
    "something held has no price, or none that can be read, so equity is not known",
    fixed(lambda p: 0),
    unit="count",
    scope="product",
    on_buy=REJECT,
    on_sell=FLAG,
    check=_holdings_priced,
)


def _history_long(case: Case, limit: int) -> Finding:
    market = case.snapshot.market
    return Finding(market.real_bars >= limit and market.sigma_14d is not None, shown(market.real_bars))


INSUFFICIENT_HISTORY = Rule(
    "INSUFFICIENT_HISTORY",
    "too few real candles to speak of a volatility, or one among them that cannot be read",
    fixed(lambda p: p.min_real_bars),
    unit="bars",
    scope="product",
    on_buy=REJECT,
    on_sell=NONE,
    check=_history_long,
)


def _account_fresh(case: Case, _: int) -> Finding:
    return Finding(case.snapshot.account_fresh)


STALE_ACCOUNT = Rule(
    "STALE_ACCOUNT",
    "the ledger was not reconciled lately, or did not agree",
    fixed(lambda p: p.account_stale_seconds),
    unit="seconds",
    scope="account",
    on_buy=REJECT,
    on_sell=FLAG,
    check=_account_fresh,
)


def _orders_known(case: Case, _: str) -> Finding:
    return Finding(not case.holding.order_unknown)


ORDER_UNKNOWN = Rule(
    "ORDER_UNKNOWN",
    "an earlier order of the product is UNKNOWN",
    NO_LIMIT,
    unit="",
    scope="product",
    on_buy=REJECT,
    on_sell=NONE,
    check=_orders_known,
    final=True,
)


def _collar(case: Case) -> float:
    return max(case.p.price_collar_ratio, case.p.collar_sigmas * case.sigma / math.sqrt(HOURS_PER_YEAR))


def _collar_told(p: Parameters, _: int) -> str:
    return f"max({shown(p.price_collar_ratio)}, {shown(p.collar_sigmas)}*sigma_14d/sqrt({HOURS_PER_YEAR}))"


def _price_near(case: Case, limit: float) -> Finding:
    close = case.snapshot.market.last_close
    if close is None:
        return Finding(False)
    away = abs(float(divide(case.request.reference_price, close)) - 1)
    return Finding(away <= limit, shown(away))


PRICE_COLLAR = Rule(
    "PRICE_COLLAR",
    "the recommendation's price is too far from the newest close",
    Limit(_collar, _collar_told),
    unit="ratio",
    scope="product",
    on_buy=REJECT,
    on_sell=FLAG,
    check=_price_near,
)

VALIDITY_RULES: tuple[Rule[Any], ...] = (
    KILL_SWITCH,
    INTERNAL,
    UNKNOWN_PRODUCT,
    TRADING_DISABLED,
    EXPIRED_REQUEST,
    STALE_CANDLE,
    HOLDING_WITHOUT_PRICE,
    INSUFFICIENT_HISTORY,
    STALE_ACCOUNT,
    ORDER_UNKNOWN,
    PRICE_COLLAR,
)
