"""One item of a batch, from what was read and what the items before it changed to its answer. No database here.

First whether anything new is decided on it at all; then the snapshot that it is decided on, the decision itself, the ticket,
and the locks that this look at the account trips.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from meshkit.errors import DeadlineTooShort, FailedPrecondition, Unavailable
from schema.recommendation_terms import StoredTerms, matching
from svc_risk.assess import Assessment, assess, must_wait
from svc_risk.assessments import Attempt, Decision, Facts, Item, Reservation, StoredAssessment
from svc_risk.exposure import account_of
from svc_risk.known import Known
from svc_risk.locks import new_locks, tripped
from svc_risk.progress import Progress, stored_anew
from svc_risk.settings import RiskSettings
from svc_risk.snapshot import Inputs, Lock, MarketView, Request, Snapshot, request_of
from svc_risk.ticket import Terms, TicketSigner
from tradekit import ids
from tradekit.decimals import to_stored_scale
from tradekit.products import quote_currency
from tradekit.sizes import NO_BASE, NO_QUOTE, base_size, quote_size
from tradekit.states import ReservationState, RiskDecision, Side

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Undecided:
    """An item on which something new is to be decided, on its stored terms."""

    stored: StoredTerms
    attempt: int


def standing_or_undecided(item: Item, facts: Facts, progress: Progress) -> Attempt | Undecided:
    """The attempt that is the answer, or what is to be decided.

    RequestIdReused, NotFound, TERMS_DIFFER; and nothing new is decided on an ended recommendation, or on an entry that no
    reviewer approved as it is.
    """
    progress.require_unused(item.key, facts.body)
    # Only what is stored, on the terms that are stored, can be assessed.
    stored = _as_sent(item, facts.stored)
    newest = progress.attempt(item.recommendation.recommendation_id, facts.newest)
    if newest is not None and _stands(newest, stored.terms):
        return newest
    if not stored.is_open:
        raise DeadlineTooShort(f"the recommendation has ended: {stored.end}", reason="EXPIRED")
    if stored.recommendation.side is not Side.SELL and not facts.approved:
        raise FailedPrecondition("NOT_REVIEWED", "no reviewer has approved this entry; have it validated first")
    return Undecided(stored, 1 if newest is None else newest.assessment.attempt + 1)


def _as_sent(item: Item, stored: StoredTerms | None) -> StoredTerms:
    """What is stored, where it says what was sent, whose hash is the request's body already."""
    if stored is not None and stored.terms == item.key.body:
        return stored
    return matching(stored, item.recommendation)


def _stands(newest: Attempt, terms: str) -> bool:
    """Whether a stored assessment is the answer; one whose ticket nobody would take any more is made again."""
    if newest.assessment.decision is RiskDecision.REJECT or newest.state is ReservationState.COMMITTED:
        return True
    return newest.state is ReservationState.HELD and newest.assessment.request_hash == terms


class Decider:
    """Decides by the limits in force and signs the tickets."""

    def __init__(self, settings: RiskSettings, signer: TicketSigner) -> None:
        self._settings = settings
        self._signer = signer
        self._p = settings.parameters
        self._limits_version = self._p.limits_version

    def decide(self, undecided: Undecided, facts: Facts, known: Known, progress: Progress) -> Decision:
        """The decision on an item. Unavailable if fresher data is needed."""
        stored, moment = undecided.stored, known.moment
        request = request_of(stored.recommendation)
        life = stored.recommendation.life_at(moment.machine_time, moment.market_time)
        if request.side is Side.BUY:
            life.require_known()
        snapshot = self._snapshot(request, facts, known, progress, life.is_over)
        wait = must_wait(request, snapshot, self._p)
        if wait is not None:
            message = f"{wait.code} of {wait.scope}, {wait.observed}; ask again with fresh data"
            raise Unavailable("STALE_DATA", message, RETRY_SECONDS)
        decision = assess(request, snapshot, self._p)
        terms = self._terms(request, stored.terms, decision, undecided.attempt, moment.machine_time)
        return Decision(
            self._stored(request, decision, terms),
            Inputs(request, snapshot),
            _reservation(request, decision, terms),
            stored_anew(self._tripped(request, snapshot), known.at[request.as_of]),
        )

    def _snapshot(self, request: Request, facts: Facts, known: Known, progress: Progress, expired: bool) -> Snapshot:
        product_id, as_of = request.product_id, request.as_of
        at, moment, market = known.at[as_of], known.moment, known.state.market[as_of]
        mark, measured = market.marks.get(product_id), market.volatility[product_id]
        view = MarketView(
            last_close=mark.price if mark else None,
            last_close_time=mark.time if mark else None,
            sigma_14d=measured.sigma_14d,
            sigma_24h=measured.sigma_24h,
            real_bars=measured.real_bars,
            median_quote_volume=measured.median_quote_volume,
        )
        ours = quote_currency(product_id) == self._settings.currency
        fresh = moment.reconciled_within(self._p.account_stale_seconds)
        return Snapshot(
            version=known.account.version + progress.decided,
            trading_state=known.account.trading_state,
            product=facts.product if ours else None,
            cash=at.cash if at.cash is not None else NO_QUOTE,
            holdings=known.state.holdings(as_of, progress.reserved),
            market=view,
            stale_seconds=self._p.stale_seconds(self._settings.granularity_seconds),
            high_water_mark=known.highs.seen_at(max(as_of, progress.newest or as_of)),
            day_open=at.day_open,
            locks=progress.locks_in_force(at, as_of),
            past_orders=progress.past_orders(at, as_of),
            last_entry=progress.last_entry(product_id, facts.last_entry),
            last_losing_exit=facts.last_losing_exit,
            expired=expired,
            account_fresh=fresh and at.cash is not None,
            taker_fee=self._settings.reckoned_taker_fee(moment.exchange_fee),
        )

    def _tripped(self, request: Request, snapshot: Snapshot) -> list[Lock]:
        """A breaker that this very look at the account reaches stays tripped when the next look is kinder."""
        if any(h.occupied and h.mark is None for h in snapshot.holdings):
            return []
        equity = account_of(snapshot, self._p).equity
        found = tripped(equity, snapshot.day_open, snapshot.high_water_mark, request.as_of, self._p)
        return new_locks(found, snapshot.locks)

    def _terms(self, request: Request, terms: str, decision: Assessment, attempt: int, now: datetime) -> Terms:
        return Terms(
            reservation_id=ids.assessment_id(request.recommendation_id, attempt),
            recommendation_id=request.recommendation_id,
            terms_hash=terms,
            product_id=request.product_id,
            side=request.side,
            max_size=decision.adjusted_size,
            attempt=attempt,
            limits_version=self._limits_version,
            issued_at=now,
            expires_at=now + timedelta(seconds=self._p.reservation_ttl_seconds),
        )

    def _stored(self, request: Request, decision: Assessment, terms: Terms) -> StoredAssessment:
        rejected = decision.decision is RiskDecision.REJECT
        return StoredAssessment(
            assessment_id=terms.reservation_id,
            recommendation_id=request.recommendation_id,
            attempt=terms.attempt,
            request_hash=terms.terms_hash,
            product_id=request.product_id,
            side=request.side,
            decision=decision.decision,
            requested_size=decision.requested_size,
            adjusted_size=decision.adjusted_size,
            score=decision.score,
            parts=decision.parts,
            sigma_14d=decision.sigma_14d,
            heat_before=decision.heat_before,
            heat_after=decision.heat_after,
            exposure_before=to_stored_scale(decision.exposure_before),
            exposure_after=to_stored_scale(decision.exposure_after),
            equity=to_stored_scale(decision.equity),
            reasons=decision.reasons,
            limits_version=self._limits_version,
            ticket="" if rejected else self._signer.sign(terms),
            as_of=request.as_of,
            created_at=terms.issued_at,
        )


def _reservation(request: Request, decision: Assessment, terms: Terms) -> Reservation | None:
    if decision.decision is RiskDecision.REJECT:
        return None
    side, size = request.side, decision.adjusted_size
    return Reservation(
        quote_amount=quote_size(side, size) if side is Side.BUY else NO_QUOTE,
        fee_amount=to_stored_scale(decision.fee),
        base_amount=base_size(side, size) if side is Side.SELL else NO_BASE,
        heat=decision.heat_after - decision.heat_before,
        expires_at=terms.expires_at,
    )
