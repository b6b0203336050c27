"""How much of a BUY is allowed: scaling by volatility, shock and score, then the headroom of every cap.

Risk management never enlarges a request: factors are at most 1 and the smallest headroom wins.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from svc_risk.case import Case
from svc_risk.exposure import decimal_of, exposure_of
from svc_risk.rule import Effect, Finding, Limit, Rule, Verdict, fixed
from tradekit.decimals import ONE, divide
from tradekit.reasons import shown
from tradekit.sizes import NO_QUOTE
from tradekit.units import QuoteSize

REJECT, SCALE, CAP, NONE = Effect.REJECT, Effect.SCALE, Effect.CAP, Effect.NONE
_SHARE_STEP = Decimal("1e-6")
_CENTS = Decimal("0.01")


# ---- scaling ---------------------------------------------------------------------------------------------------------


def volatility_factor(sigma: float, target: float) -> Decimal:
    """min(1, target / sigma)."""
    return decimal_of(min(1.0, target / sigma))


def score_factor(score: float, soft: float, hard: float) -> Decimal:
    """1 up to the soft line, then linear down to 0 at the hard line."""
    if score <= soft:
        return ONE
    return decimal_of(max(0.0, (hard - score) / (hard - soft)))


def _scaled(case: Case, factor: Decimal, observed: float) -> Finding:
    return Finding(factor == ONE, shown(observed), case.request.quote_size * factor)


VOL_TARGET = Rule(
    "VOL_TARGET",
    "wilder products get smaller positions",
    fixed(lambda p: p.sigma_target),
    unit="ratio",
    scope="product",
    on_buy=SCALE,
    on_sell=NONE,
    check=lambda case, limit: _scaled(case, volatility_factor(case.sigma, limit), case.sigma),
)


def _shocked(case: Case, limit: float) -> Finding:
    ratio = (case.snapshot.market.sigma_24h or 0.0) / case.sigma
    return _scaled(case, ONE if ratio <= limit else decimal_of(case.p.shock_factor), ratio)


VOL_SHOCK = Rule(
    "VOL_SHOCK",
    "the last day is far wilder than its fortnight",
    fixed(lambda p: p.shock_ratio),
    unit="ratio",
    scope="product",
    on_buy=SCALE,
    on_sell=NONE,
    check=_shocked,
)
SCORE_SCALED = Rule(
    "SCORE_SCALED",
    "the score is above the soft line: it shrinks the size before it refuses it",
    fixed(lambda p: p.score_soft),
    unit="ratio",
    scope="account",
    on_buy=SCALE,
    on_sell=NONE,
    check=lambda case, limit: _scaled(case, score_factor(case.score, limit, case.p.score_hard), case.score),
)

SCALES: tuple[Rule[Any], ...] = (VOL_TARGET, VOL_SHOCK, SCORE_SCALED)


# ---- caps ------------------------------------------------------------------------------------------------------------


def _capped(case: Case, headroom: QuoteSize, observed: Decimal) -> Finding:
    allows = max(headroom, NO_QUOTE)
    return Finding(case.request.quote_size <= allows, shown(observed), allows)


def _share(part: QuoteSize, whole: QuoteSize) -> Decimal:
    """part / whole, for a reason: six decimals, 1 where nothing is left to divide by."""
    return divide(part, whole).quantize(_SHARE_STEP) if whole > 0 else ONE


MAX_ORDER_NOTIONAL = Rule(
    "MAX_ORDER_NOTIONAL",
    "the order is larger than one may be",
    fixed(lambda p: p.max_order_notional),
    unit="usd",
    scope="request",
    on_buy=CAP,
    on_sell=NONE,
    check=lambda case, limit: _capped(case, limit, case.request.quote_size),
)


def _position(case: Case, limit: Decimal) -> Finding:
    have, equity = exposure_of(case.holding), case.account.equity
    return _capped(case, limit * equity - have, _share(have + case.request.quote_size, equity))


MAX_POSITION = Rule(
    "MAX_POSITION",
    "the product's share of equity, orders and reservations included",
    fixed(lambda p: p.max_position_ratio),
    unit="ratio",
    scope="product",
    on_buy=CAP,
    on_sell=NONE,
    check=_position,
)


def _exposed(case: Case, limit: Decimal) -> Finding:
    have, equity = case.account.exposure, case.account.equity
    return _capped(case, limit * equity - have, _share(have + case.request.quote_size, equity))


GROSS_EXPOSURE = Rule(
    "GROSS_EXPOSURE",
    "the account's share in positions, orders and reservations",
    fixed(lambda p: p.gross_exposure_ratio),
    unit="ratio",
    scope="account",
    on_buy=CAP,
    on_sell=NONE,
    check=_exposed,
)


def _cash_left(case: Case, limit: Decimal) -> Finding:
    free, equity, with_fee = case.account.free_cash, case.account.equity, ONE + case.p.taker_fee
    headroom = QuoteSize(divide(free - limit * equity, with_fee))
    return _capped(case, headroom, _share(free - case.request.quote_size * with_fee, equity))


CASH_RESERVE = Rule(
    "CASH_RESERVE",
    "the share of equity that stays free as cash after the order and its fee; less is not allowed",
    fixed(lambda p: p.cash_reserve_ratio),
    unit="ratio",
    scope="account",
    on_buy=CAP,
    on_sell=NONE,
    check=_cash_left,
)


def _heated(case: Case, limit: Decimal) -> Finding:
    have, equity = case.account.at_risk, case.account.equity
    headroom = QuoteSize(divide(limit * equity - have, case.stop))
    return _capped(case, headroom, _share(have + case.request.quote_size * case.stop, equity))


PORTFOLIO_HEAT = Rule(
    "PORTFOLIO_HEAT",
    "the share of equity that is lost if everything hits its stop",
    fixed(lambda p: p.heat_cap_ratio),
    unit="ratio",
    scope="account",
    on_buy=CAP,
    on_sell=NONE,
    check=_heated,
)


def _traded(case: Case, limit: Decimal) -> Finding:
    hour = case.snapshot.market.median_quote_volume
    return _capped(case, limit * hour, _share(case.request.quote_size, hour))


LIQUIDITY = Rule(
    "LIQUIDITY",
    "the order's share of what the market turns over in an hour",
    fixed(lambda p: p.liquidity_ratio),
    unit="ratio",
    scope="product",
    on_buy=CAP,
    on_sell=NONE,
    check=_traded,
)

CAPS: tuple[Rule[Any], ...] = (
    MAX_ORDER_NOTIONAL,
    MAX_POSITION,
    GROSS_EXPOSURE,
    CASH_RESERVE,
    PORTFOLIO_HEAT,
    LIQUIDITY,
)


# ---- the size --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sizing:
    """What is left of an entry after scaling and caps, not yet rounded.

    `binding` made it what it is, the tightest first; `failed` is every rule that the request as asked for breaks.
    """

    size: QuoteSize
    binding: tuple[Verdict, ...] = ()
    failed: tuple[Verdict, ...] = ()


def size_of(case: Case) -> Sizing:
    """Scales the request, then takes the smallest headroom."""
    scales = [rule.verdict(case) for rule in SCALES]
    raw = case.request.quote_size
    for scale in scales:
        raw = raw * divide(_room(scale), case.request.quote_size)
    caps = [rule.verdict(case) for rule in CAPS]
    biting = sorted((cap for cap in caps if _room(cap) < raw), key=_room)
    shrinking = sorted((scale for scale in scales if not scale.passed), key=_room)
    return Sizing(
        size=min([raw, *map(_room, caps)]),
        binding=(*biting, *shrinking),
        failed=tuple(verdict for verdict in (*scales, *caps) if not verdict.passed),
    )


def _room(verdict: Verdict) -> QuoteSize:
    return verdict.allows if verdict.allows is not None else NO_QUOTE


def _least(case: Case) -> QuoteSize:
    product = case.snapshot.product
    return max(case.p.min_notional, product.quote_min_size if product else NO_QUOTE)


# The larger of our own minimum and the exchange's; of a product that is not listed nothing but our own is known.
LEAST_NOTIONAL = Limit(_least, lambda p, _: f"max({shown(p.min_notional)}, quote_min_size)")
MIN_NOTIONAL = Rule(
    "MIN_NOTIONAL",
    "what is left is below the smallest order",
    LEAST_NOTIONAL,
    unit="usd",
    scope="request",
    on_buy=REJECT,
    on_sell=NONE,
    check=lambda case, limit: Finding(case.quote_size >= limit, shown(case.quote_size.quantize(_CENTS, ROUND_FLOOR))),
)
