"""Where assessments are made: one transaction each, under the account lock, from the first read to the commit.

Two requests therefore never spend the same headroom, and a decision, its reservation and its ticket exist together or
not at all. A repeated recommendation gets its stored answer while that still holds anything.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database import Turn
from meshkit.errors import DeadlineTooShort, FailedPrecondition, Unavailable
from meshkit.kit import Kit
from schema.recommendation_terms import StoredTerms, require_terms
from schema.requests import claim, request_key
from svc_risk import assessment_store, store
from svc_risk.account_state import VolatilityMemory, read_account_state
from svc_risk.assess import Assessment, assess, must_wait
from svc_risk.assessment_store import Attempt, Reservation, StoredAssessment
from svc_risk.exposure import account_of
from svc_risk.locks import new_locks, tripped
from svc_risk.marking import Marker
from svc_risk.settings import RiskSettings
from svc_risk.snapshot import Inputs, MarketView, Request, Snapshot, request_of
from svc_risk.store import AccountRow, Moment
from svc_risk.ticket import Terms, TicketSigner
from tradekit import ids
from tradekit.decimals import to_stored_scale
from tradekit.products import quote_currency
from tradekit.recommendation import Recommendation
from tradekit.sizes import NO_BASE, NO_QUOTE, base_size, quote_size
from tradekit.states import ReservationState, RiskDecision, Side

METHOD = "AssessRecommendation"
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Decided:
    """A stored assessment, and the end of its reservation (None for REJECT)."""

    assessment: StoredAssessment
    expires_at: datetime | None


class Assessor:
    """Assesses recommendations, one after the other."""

    def __init__(self, settings: RiskSettings, kit: Kit[RiskSettings], signer: TicketSigner) -> None:
        self._settings = settings
        self._kit = kit
        self._signer = signer
        self._p = settings.parameters
        self._limits_version = self._p.limits_version
        self._marker = Marker(settings.currency, settings.granularity_seconds, self._p)
        self._memory = VolatilityMemory()
        # Waiting here costs no database connection; across processes the row lock decides.
        self._turn = Turn()

    async def assess(self, request_id: UUID, recommendation: Recommendation, terms: str) -> Decided:
        """The stored or a new decision. Unavailable if fresher data is needed, RequestIdReused for another body."""
        async with self._turn, self._kit.engine.begin() as connection:
            account = await store.lock_account(connection)
            moment = await store.read_moment(connection)
            await store.expire_reservations(connection, moment.machine_time)
            await self._refuse_reuse(connection, request_id, terms)
            # Only what is stored, on the terms that are stored, can be assessed.
            stored = await require_terms(connection, recommendation)
            newest = await assessment_store.newest_attempt(connection, recommendation.recommendation_id)
            if newest is not None and _stands(newest, stored.terms):
                return Decided(newest.assessment, newest.expires_at)
            await self._require_stored(connection, stored)
            attempt = 1 if newest is None else newest.assessment.attempt + 1
            return await self._decide(connection, account, moment, stored, attempt)

    async def _require_stored(self, connection: AsyncConnection, stored: StoredTerms) -> None:
        """Nothing new is decided on an ended recommendation, or on an entry that no reviewer approved as it is."""
        if not stored.is_open:
            raise DeadlineTooShort(f"the recommendation has ended: {stored.state.value}", reason="EXPIRED")
        recommendation = stored.recommendation
        if recommendation.side is Side.SELL:
            return
        if not await store.is_approved(connection, recommendation.recommendation_id, stored.terms):
            raise FailedPrecondition("NOT_REVIEWED", "no reviewer has approved this entry; have it validated first")

    async def mark_equity(self) -> datetime | None:
        """Marks the bars up to the market's watermark; gives that time, None before the first candle."""
        async with self._turn, self._kit.engine.begin() as connection:
            account = await store.lock_account(connection)
            moment = await store.read_moment(connection)
            await store.expire_reservations(connection, moment.machine_time)
            if moment.market_time is not None:
                await self._marker.mark_up_to(connection, account, moment, moment.market_time)
            return moment.market_time

    async def _refuse_reuse(self, connection: AsyncConnection, request_id: UUID, terms: str) -> None:
        """A request_id stands for one recommendation; the answer itself is kept with the assessment."""
        await claim(connection, request_key(self._settings.service_name, METHOD, request_id, terms))

    async def _decide(
        self,
        connection: AsyncConnection,
        account: AccountRow,
        moment: Moment,
        stored: StoredTerms,
        attempt: int,
    ) -> Decided:
        recommendation = stored.recommendation
        account = await self._marker.mark_up_to(connection, account, moment, recommendation.as_of)
        request = request_of(recommendation)
        life = recommendation.life_at(moment.machine_time, moment.market_time)
        if request.side is Side.BUY:
            life.require_known()
        snapshot = await self._snapshot(connection, account, moment, request, life.is_over)
        wait = must_wait(request, snapshot, self._p)
        if wait is not None:
            message = f"{wait.code} of {wait.scope}, {wait.observed}; ask again with fresh data"
            raise Unavailable("STALE_DATA", message, RETRY_SECONDS)
        decision = assess(request, snapshot, self._p)
        await self._trip_locks(connection, request, snapshot)
        terms = self._terms(request, stored.terms, decision, attempt, moment.machine_time)
        made = self._stored(request, decision, terms)
        reservation = _reservation(request, decision, terms)
        await assessment_store.insert_assessment(connection, made, Inputs(request, snapshot), reservation)
        return Decided(made, reservation.expires_at if reservation else None)

    async def _snapshot(
        self, connection: AsyncConnection, account: AccountRow, moment: Moment, request: Request, expired: bool
    ) -> Snapshot:
        product_id, as_of = request.product_id, request.as_of
        account_state = await read_account_state(
            connection,
            currency=self._settings.currency,
            granularity=self._settings.granularity_seconds,
            as_of=as_of,
            machine_time=moment.machine_time,
            also=[product_id],
            p=self._p,
            memory=self._memory,
        )
        past = await store.read_product_past(connection, product_id, as_of)
        product = await store.read_product(connection, product_id)
        ours = quote_currency(product_id) == self._settings.currency
        mark, known = account_state.marks.get(product_id), account_state.volatility[product_id]
        market = MarketView(
            last_close=mark.price if mark else None,
            last_close_time=mark.time if mark else None,
            sigma_14d=known.sigma_14d,
            sigma_24h=known.sigma_24h,
            real_bars=known.real_bars,
            median_quote_volume=known.median_quote_volume,
        )
        fresh = moment.reconciled_within(self._p.account_stale_seconds)
        return Snapshot(
            version=account.version,
            trading_state=account.trading_state,
            product=product if ours else None,
            cash=account_state.cash if account_state.cash is not None else NO_QUOTE,
            holdings=account_state.holdings,
            market=market,
            stale_seconds=self._p.stale_seconds(self._settings.granularity_seconds),
            high_water_mark=account.high_water_mark,
            day_open=await store.day_open(connection, as_of),
            locks=tuple(lock for _, lock in await store.locks_in_force(connection, as_of)),
            past_orders=await store.past_orders(connection, as_of),
            last_entry=past.last_entry,
            last_losing_exit=past.last_losing_exit,
            expired=expired,
            account_fresh=fresh and account_state.cash is not None,
            taker_fee=self._settings.reckoned_taker_fee(moment.exchange_fee),
        )

    async def _trip_locks(self, connection: AsyncConnection, request: Request, snapshot: Snapshot) -> None:
        """A breaker that this very look at the account reaches stays tripped when the next look is kinder."""
        if any(h.occupied and h.mark is None for h in snapshot.holdings):
            return
        equity = account_of(snapshot, self._p).equity
        found = tripped(equity, snapshot.day_open, snapshot.high_water_mark, request.as_of, self._p)
        await store.insert_locks(connection, new_locks(found, snapshot.locks))

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


def _stands(newest: Attempt, terms: str) -> bool:
    """Whether a stored assessment is the answer; one whose ticket nobody would take any more is made again."""
    if newest.assessment.decision is RiskDecision.REJECT or newest.state is ReservationState.COMMITTED:
        return True
    return newest.state is ReservationState.HELD and newest.assessment.request_hash == terms


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
