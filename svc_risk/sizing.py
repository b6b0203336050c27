"""How much of a BUY is allowed: scaling by volatility, shock and score, then the headroom of every cap.

Risk management never enlarges a request: factors are at most 1 and the smallest headroom wins.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from svc_risk.exposure import decimal_of, exposure_of
from svc_risk.limits import Case
from svc_risk.parameters import Parameters
from svc_risk.verdict import Kind, Verdict
from tradekit.decimals import ONE, ZERO, divide
from tradekit.reasons import shown

_CENTS = Decimal("0.01")


def volatility_factor(sigma: float, p: Parameters) -> Decimal:
    """min(1, sigma_target / sigma)."""
    return decimal_of(min(1.0, p.sigma_target / sigma))


def score_factor(score: float, p: Parameters) -> Decimal:
    """1 up to the soft line, then linear down to 0 at the hard line."""
    if score <= p.score_soft:
        return ONE
    return decimal_of(max(0.0, (p.score_hard - score) / (p.score_hard - p.score_soft)))


def _scale(code: str, case: Case, factor: Decimal, limit: float, observed: float, scope: str) -> Verdict:
    allows = case.request.size * factor
    return Verdict(code, Kind.SCALE, factor == ONE, shown(limit), shown(observed), "ratio", scope, allows)


def vol_target(case: Case) -> Verdict:
    """Wilder products get smaller positions."""
    factor = volatility_factor(case.sigma, case.p)
    return _scale("VOL_TARGET", case, factor, case.p.sigma_target, case.sigma, case.product_scope)


def vol_shock(case: Case) -> Verdict:
    """A day far wilder than its fortnight halves the size."""
    day = case.snapshot.market.sigma_24h or 0.0
    ratio = day / case.sigma
    factor = ONE if ratio <= case.p.shock_ratio else decimal_of(case.p.shock_factor)
    return _scale("VOL_SHOCK", case, factor, case.p.shock_ratio, ratio, case.product_scope)


def score_scaled(case: Case) -> Verdict:
    """A high score shrinks the size before it refuses it."""
    return _scale("SCORE_SCALED", case, score_factor(case.score, case.p), case.p.score_soft, case.score, "account")


def _cap(code: str, headroom: Decimal, case: Case, limit: Decimal, observed: Decimal, unit: str, scope: str) -> Verdict:
    allows = max(headroom, ZERO)
    figures = limit if unit == "ratio" else limit.quantize(_CENTS), observed
    return Verdict(
        code, Kind.CAP, case.request.size <= allows, shown(figures[0]), shown(figures[1]), unit, scope, allows
    )


def _share(part: Decimal, case: Case) -> Decimal:
    """part / equity, for a reason: six decimals, 1 where nothing is left to divide by."""
    if case.account.equity <= 0:
        return ONE
    return divide(part, case.account.equity).quantize(Decimal("1e-6"))


def max_order_notional(case: Case) -> Verdict:
    """One order."""
    limit = case.p.max_order_notional
    return _cap("MAX_ORDER_NOTIONAL", limit, case, limit, case.request.size, "usd", "request")


def max_position(case: Case) -> Verdict:
    """One product, orders and reservations included."""
    limit, have = case.p.max_position_ratio, exposure_of(case.holding)
    headroom = limit * case.account.equity - have
    observed = _share(have + case.request.size, case)
    return _cap("MAX_POSITION", headroom, case, limit, observed, "ratio", case.product_scope)


def gross_exposure(case: Case) -> Verdict:
    """The whole account."""
    limit, have = case.p.gross_exposure_ratio, case.account.exposure
    headroom = limit * case.account.equity - have
    return _cap("GROSS_EXPOSURE", headroom, case, limit, _share(have + case.request.size, case), "ratio", "account")


def cash_reserve(case: Case) -> Verdict:
    """Cash that stays free after the order and its fee."""
    limit, with_fee = case.p.cash_reserve_ratio, ONE + case.p.taker_fee
    headroom = divide(case.account.free_cash - limit * case.account.equity, with_fee)
    observed = _share(case.account.free_cash - case.request.size * with_fee, case)
    return _cap("CASH_RESERVE", headroom, case, limit, observed, "ratio", "account")


def portfolio_heat(case: Case) -> Verdict:
    """What is lost if everything hits its stop."""
    limit, have = case.p.heat_cap_ratio, case.account.at_risk
    headroom = divide(limit * case.account.equity - have, case.stop)
    observed = _share(have + case.request.size * case.stop, case)
    return _cap("PORTFOLIO_HEAT", headroom, case, limit, observed, "ratio", "account")


def liquidity(case: Case) -> Verdict:
    """A small part of what the market turns over in an hour."""
    limit = case.p.liquidity_ratio * case.snapshot.market.median_quote_volume
    return _cap("LIQUIDITY", limit, case, limit, case.request.size, "usd", case.product_scope)


SCALES = (vol_target, vol_shock, score_scaled)
CAPS = (max_order_notional, max_position, gross_exposure, cash_reserve, portfolio_heat, liquidity)


@dataclass(frozen=True, slots=True)
class Sizing:
    """The size after scaling and caps, not yet rounded.

    `binding` made it what it is, the tightest first; `failed` is every rule that the request as asked for breaks.
    """

    size: Decimal
    binding: tuple[Verdict, ...] = ()
    failed: tuple[Verdict, ...] = ()


def size_of(case: Case) -> Sizing:
    """Scales the request, then takes the smallest headroom."""
    scales = [rule(case) for rule in SCALES]
    raw = case.request.size
    for scale in scales:
        raw = raw * divide(scale.allows or ZERO, case.request.size)
    caps = [rule(case) for rule in CAPS]
    biting = sorted((cap for cap in caps if _room(cap) < raw), key=_room)
    shrinking = sorted((scale for scale in scales if not scale.passed), key=_room)
    return Sizing(
        size=min([raw, *map(_room, caps)]),
        binding=(*biting, *shrinking),
        failed=tuple(verdict for verdict in (*scales, *caps) if not verdict.passed),
    )


def _room(verdict: Verdict) -> Decimal:
    return verdict.allows if verdict.allows is not None else ZERO


def least_notional(case: Case) -> Decimal:
    """The larger of the exchange's minimum and our own."""
    product = case.snapshot.product
    return max(case.p.min_notional, product.quote_min_size if product else ZERO)


def min_notional(case: Case, size: Decimal) -> Verdict:
    """What is left is worth an order."""
    limit = least_notional(case)
    shown_size = shown(size.quantize(_CENTS, ROUND_FLOOR))
    return Verdict("MIN_NOTIONAL", Kind.REJECT, size >= limit, shown(limit), shown_size, "usd", "request")
