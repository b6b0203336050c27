"""The decision: a pure function of a request, a snapshot of the account, and the parameters.

Every hard rule runs, whatever the others say; what they found is kept in their order. The same inputs always give the
same assessment, which is what a stored decision is checked against.
"""

from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

from svc_risk.exits import exchange_minimum, exit_size, sell_not_held
from svc_risk.exposure import account_of, ratio_of, stop_distance
from svc_risk.limits import HARD_RULES, Case, OnSell
from svc_risk.parameters import Parameters
from svc_risk.score import ScoreParts, score_of, score_parts
from svc_risk.sizing import Sizing, min_notional, size_of, volatility_factor
from svc_risk.snapshot import Request, Snapshot
from svc_risk.verdict import Kind, Verdict
from tradekit.decimals import CONTEXT, ZERO
from tradekit.reasons import Reason
from tradekit.states import RiskDecision, Side


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is allowed and why. Sizes are in the request's unit; `fee` and `heat` are what a reservation must hold."""

    decision: RiskDecision
    requested_size: Decimal
    adjusted_size: Decimal
    score: float
    parts: ScoreParts
    sigma_14d: float
    heat_before: float
    heat_after: float
    exposure_before: Decimal
    exposure_after: Decimal
    equity: Decimal
    fee: Decimal
    reasons: tuple[Reason, ...]


def assess(request: Request, snapshot: Snapshot, p: Parameters) -> Assessment:
    """Decides how much of the request is allowed."""
    with localcontext(CONTEXT):
        case, parts = _case(request, snapshot, p)
        if request.side is Side.BUY:
            return _entry(case, parts)
        return _exit(case, parts)


def must_wait(request: Request, snapshot: Snapshot, p: Parameters) -> Reason | None:
    """Why an entry cannot be decided yet, None if it can.

    Prices that are missing and books that are not reconciled are a matter of seconds: they call for a retry, not for a
    verdict, unless a rule that no fresher data can change refuses the entry anyway. Exits never wait.
    """
    if request.side is Side.SELL:
        return None
    with localcontext(CONTEXT):
        case, _ = _case(request, snapshot, p)
        if any(rule.final and not rule.check(case).passed for rule in HARD_RULES):
            return None
    unmarked = [h.product_id for h in snapshot.holdings if h.occupied and h.mark is None]
    if snapshot.market.last_close is None:
        unmarked.append(request.product_id)
    if unmarked:
        return Reason("STALE_DATA", observed="no price that can be read", scope=f"product:{unmarked[0]}")
    if not snapshot.account_fresh:
        return Reason("STALE_ACCOUNT", str(p.account_stale_seconds), "older or not reconciled", "seconds", "account")
    return None


def _case(request: Request, snapshot: Snapshot, p: Parameters) -> tuple[Case, ScoreParts]:
    p = p.charging(snapshot.taker_fee)
    known = snapshot.market.sigma_14d
    finite = known is not None and 0 <= known < float("inf")
    sigma = max(known, p.sigma_floor) if known is not None and finite else p.sigma_ref
    account, stop = account_of(snapshot, p), stop_distance(sigma, p)
    added = request.size * volatility_factor(sigma, p) if request.side is Side.BUY else ZERO
    parts = score_parts(account, added, stop, sigma, request.confidence, p)
    holding = snapshot.holding(request.product_id)
    return Case(request, snapshot, p, account, holding, sigma, stop, score_of(parts, p)), parts


def _entry(case: Case, parts: ScoreParts) -> Assessment:
    failed = [verdict for rule in HARD_RULES if not (verdict := rule.check(case)).passed]
    sizing = size_of(case)
    product = case.snapshot.product
    size = product.floor_quote(sizing.size) if product else ZERO
    whole = product.floor_quote(case.request.size) if product else ZERO
    enough = min_notional(case, size)
    if not enough.passed:
        failed.append(enough)
    if failed:
        return _result(case, parts, RiskDecision.REJECT, ZERO, [*failed, *sizing.failed])
    decision = RiskDecision.APPROVE if size == whole else RiskDecision.REDUCE
    return _result(case, parts, decision, size, sizing.binding if decision is RiskDecision.REDUCE else ())


def _exit(case: Case, parts: ScoreParts) -> Assessment:
    failed: list[Verdict] = []
    flags: list[Verdict] = []
    for rule in HARD_RULES:
        verdict = rule.check(case) if rule.on_sell is not OnSell.SKIP else None
        if verdict is None or verdict.passed:
            continue
        if rule.on_sell is OnSell.REJECT:
            failed.append(verdict)
        else:
            flags.append(replace(verdict, kind=Kind.FLAG))
    sizing = exit_size(case)
    failed += _exit_obstacles(case, sizing)
    if failed:
        return _result(case, parts, RiskDecision.REJECT, ZERO, [*failed, *flags])
    product = case.snapshot.product
    wanted = product.floor_base(case.request.size) if product else case.request.size
    decision = RiskDecision.APPROVE if sizing.size >= wanted else RiskDecision.REDUCE
    return _result(case, parts, decision, sizing.size, [*sizing.binding, *flags])


def _exit_obstacles(case: Case, sizing: Sizing) -> list[Verdict]:
    """Nothing held, or too little for the exchange; the second is not told where the first explains it."""
    held = sell_not_held(case)
    if not held.passed:
        return [held]
    product = case.snapshot.product
    if product is None:
        return []
    enough = exchange_minimum(case, sizing.size, product)
    return [] if enough.passed else [enough]


def _result(
    case: Case, parts: ScoreParts, decision: RiskDecision, size: Decimal, verdicts: list[Verdict] | tuple[Verdict, ...]
) -> Assessment:
    account = case.account
    added = size if case.request.side is Side.BUY else ZERO
    return Assessment(
        decision=decision,
        requested_size=case.request.size,
        adjusted_size=size,
        score=case.score,
        parts=parts,
        sigma_14d=case.sigma,
        heat_before=account.heat,
        heat_after=ratio_of(account.at_risk + added * case.stop, account.equity),
        exposure_before=account.exposure,
        exposure_after=account.exposure + added,
        equity=account.equity,
        fee=added * case.p.taker_fee,
        reasons=tuple(verdict.reason for verdict in verdicts),
    )
