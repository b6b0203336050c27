"""The decision: a pure function of a request, a snapshot of the account, and the parameters.

Every hard rule runs, whatever the others say; what they found is kept in their order. The same inputs always give the
same assessment, which is what a stored decision is checked against.
"""

from dataclasses import dataclass, replace
from decimal import localcontext

from svc_risk.case import Case
from svc_risk.exits import exit_obstacles, exit_size
from svc_risk.exposure import account_of, ratio_of, stop_distance
from svc_risk.parameters import Parameters
from svc_risk.rule import Effect, Verdict
from svc_risk.rules import HARD_RULES
from svc_risk.score import ScoreParts, score_of, score_parts
from svc_risk.sizing import MIN_NOTIONAL, size_of, volatility_factor
from svc_risk.snapshot import Request, Snapshot
from svc_risk.validity import HOLDING_WITHOUT_PRICE, STALE_ACCOUNT
from tradekit.decimals import CONTEXT
from tradekit.reasons import Reason
from tradekit.sizes import NO_BASE, NO_QUOTE, quote_size
from tradekit.states import RiskDecision, Side
from tradekit.units import OrderSize, QuoteSize


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is allowed and why. Sizes are in the request's unit; `fee` and `heat` are what a reservation must hold."""

    decision: RiskDecision
    requested_size: OrderSize
    adjusted_size: OrderSize
    score: float
    parts: ScoreParts
    sigma_14d: float
    heat_before: float
    heat_after: float
    exposure_before: QuoteSize
    exposure_after: QuoteSize
    equity: QuoteSize
    fee: QuoteSize
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

    Prices that are missing and a ledger that is not reconciled are a matter of seconds: they call for a retry, not for a
    verdict, unless a rule that no fresher data can change refuses the entry anyway. Exits never wait.
    """
    if request.side is Side.SELL:
        return None
    with localcontext(CONTEXT):
        case, _ = _case(request, snapshot, p)
        if any(rule.final and not rule.verdict(case).passed for rule in HARD_RULES):
            return None
        unmarked = [h.product_id for h in snapshot.holdings if h.occupied and h.mark is None]
        if snapshot.market.last_close is None:
            unmarked.append(request.product_id)
        if unmarked:
            why = HOLDING_WITHOUT_PRICE.verdict(case).reason
            return replace(why, observed="no price that can be read", scope=f"product:{unmarked[0]}")
        account = STALE_ACCOUNT.verdict(case)
        return None if account.passed else replace(account.reason, observed="older or not reconciled")


def _case(request: Request, snapshot: Snapshot, p: Parameters) -> tuple[Case, ScoreParts]:
    p = p.charging(snapshot.taker_fee)
    known = snapshot.market.sigma_14d
    finite = known is not None and 0 <= known < float("inf")
    sigma = max(known, p.sigma_floor) if known is not None and finite else p.sigma_ref
    account, stop = account_of(snapshot, p), stop_distance(sigma, p)
    entry = request.quote_size if request.side is Side.BUY else NO_QUOTE
    exit_ = request.base_size if request.side is Side.SELL else NO_BASE
    added = entry * volatility_factor(sigma, p.sigma_target)
    parts = score_parts(account, added, stop, sigma, request.confidence, p)
    holding = snapshot.holding(request.product_id)
    return Case(request, snapshot, p, account, holding, sigma, stop, score_of(parts, p), entry, exit_), parts


def _entry(case: Case, parts: ScoreParts) -> Assessment:
    failed = [verdict for rule in HARD_RULES if not (verdict := rule.verdict(case)).passed]
    sizing = size_of(case)
    product = case.snapshot.product
    size = product.floor_quote(sizing.size) if product else NO_QUOTE
    whole = product.floor_quote(case.request.quote_size) if product else NO_QUOTE
    enough = MIN_NOTIONAL.verdict(replace(case, quote_size=size))
    if not enough.passed:
        failed.append(enough)
    if failed:
        return _result(case, parts, RiskDecision.REJECT, NO_QUOTE, [*failed, *sizing.failed])
    decision = RiskDecision.APPROVE if size == whole else RiskDecision.REDUCE
    return _result(case, parts, decision, size, sizing.binding if decision is RiskDecision.REDUCE else ())


def _exit(case: Case, parts: ScoreParts) -> Assessment:
    failed: list[Verdict] = []
    flags: list[Verdict] = []
    for rule in HARD_RULES:
        verdict = rule.verdict(case) if rule.on_sell is not Effect.NONE else None
        if verdict is not None and not verdict.passed:
            (failed if rule.on_sell is Effect.REJECT else flags).append(verdict)
    sizing = exit_size(case)
    failed += exit_obstacles(replace(case, base_size=sizing.size))
    if failed:
        return _result(case, parts, RiskDecision.REJECT, NO_BASE, [*failed, *flags])
    product = case.snapshot.product
    wanted = product.floor_base(case.request.base_size) if product else case.request.base_size
    decision = RiskDecision.APPROVE if sizing.size >= wanted else RiskDecision.REDUCE
    return _result(case, parts, decision, sizing.size, [*sizing.binding, *flags])


def _result(
    case: Case,
    parts: ScoreParts,
    decision: RiskDecision,
    size: OrderSize,
    verdicts: list[Verdict] | tuple[Verdict, ...],
) -> Assessment:
    account = case.account
    side = case.request.side
    added = quote_size(side, size) if side is Side.BUY else NO_QUOTE
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
