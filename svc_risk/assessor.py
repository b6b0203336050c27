"""Where assessments are made: under the account lock, from the first read to the commit; all that wait go together.

Two requests therefore never spend the same headroom, and a decision, its reservation and its ticket exist together or
not at all. Each item of a batch is decided as if those before it had been stored already, exits first. A repeated
recommendation gets its stored answer while that still holds anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshkit.batch import Batches
from meshkit.database import Turn, unavailable
from meshkit.dedicated import Connection
from meshkit.errors import MeshError
from meshkit.kit import Kit
from schema.requests import RequestKey, request_key
from svc_risk import store
from svc_risk.account_at import read_account_at
from svc_risk.account_state import VolatilityMemory, read_account_state
from svc_risk.assessment_store import write_batch
from svc_risk.assessments import Attempt, Decision, Facts, Item, StoredAssessment
from svc_risk.decision import Decider, Undecided, standing_or_undecided
from svc_risk.items import read_items
from svc_risk.known import AccountRow, Known, Moment
from svc_risk.marking import Marker
from svc_risk.progress import Progress, after_answer, after_decision
from svc_risk.settings import RiskSettings
from svc_risk.ticket import TicketSigner
from tradekit.recommendation import Recommendation
from tradekit.states import Side

METHOD = "AssessRecommendation"
# Deciding takes the process for itself, and the account lock from everybody: a batch stays a matter of milliseconds.
MOST = 50


@dataclass(frozen=True, slots=True)
class Decided:
    """A stored assessment, and the end of its reservation (None for REJECT)."""

    assessment: StoredAssessment
    expires_at: datetime | None


@dataclass(slots=True)
class Call:
    """An item, and whether its caller still waits: who gave up behind the lock is decided as little as if it had not come."""

    item: Item
    waits: bool = True


class Assessor:
    """Assesses recommendations, those that wait together in one transaction."""

    def __init__(self, settings: RiskSettings, kit: Kit[RiskSettings], signer: TicketSigner) -> None:
        self._settings = settings
        self._p = settings.parameters
        self._decider = Decider(settings, signer)
        self._memory = VolatilityMemory()
        self._marker = Marker(settings.currency, settings.granularity_seconds, self._p, self._memory)
        # Only ever used in turn.
        self._dedicated = kit.dedicated()
        self._batches: Batches[Call, Decided] = Batches(self.assess_all, MOST)
        # Waiting here costs no database connection; across processes the row lock decides.
        self._turn = Turn()

    async def assess(self, request_id: UUID, recommendation: Recommendation, terms: str) -> Decided:
        """The stored or a new decision. Unavailable if fresher data is needed, RequestIdReused for another body."""
        key = request_key(self._settings.service_name, METHOD, request_id, terms)
        call = Call(Item(key, recommendation))
        try:
            return await self._batches.submit(call, urgent=recommendation.side is Side.SELL)
        finally:
            call.waits = False

    async def mark_equity(self) -> datetime | None:
        """Marks the bars up to the market's watermark; gives that time, None before the first candle."""
        async with self._turn, self._dedicated.begin() as connection:
            account = await store.lock_account(connection)
            moment = await store.read_moment(connection)
            await store.expire_reservations(connection, moment.machine_time)
            if moment.market_time is not None:
                await self._marker.mark_up_to(connection, account, moment, [moment.market_time])
            return moment.market_time

    async def assess_all(self, calls: Sequence[Call]) -> list[Decided | Exception]:
        """The decision on each item, in their order, or its own error; all of them in one transaction."""
        async with self._turn, self._dedicated.begin() as connection:
            account = await store.lock_account(connection)
            items = {place: call.item for place, call in enumerate(calls) if call.waits}
            batch = await self._decided(connection, account, list(items.values())) if items else None
            if batch is None or not batch.answered:
                # Where nobody got an answer nothing is kept, equity marks included.
                await connection.rollback()
            else:
                await write_batch(connection, batch.machine_time, batch.claims, batch.decisions)
        results = dict(zip(items, batch.results if batch else (), strict=True))
        gone = unavailable("the caller gave up while it waited")
        return [results.get(place, gone) for place in range(len(calls))]

    async def _decided(self, connection: Connection, account: AccountRow, items: Sequence[Item]) -> "_Batch":
        moment, facts = await read_items(connection, items)
        known = await self._known(connection, account, moment, items, facts)
        batch = _Batch(self._decider, known, moment.machine_time)
        for item, of_item in zip(items, facts, strict=True):
            batch.take(item, of_item)
        return batch

    async def _known(
        self,
        connection: Connection,
        account: AccountRow,
        moment: Moment,
        items: Sequence[Item],
        facts: Sequence[Facts],
    ) -> Known | None:
        """Account and market for those on which something is to be decided; None if there are none."""
        undecided = [
            item.recommendation for item, of_item in zip(items, facts, strict=True) if _may_be_decided(item, of_item)
        ]
        if not undecided:
            return None
        as_ofs = [recommendation.as_of for recommendation in undecided]
        highs = await self._marker.mark_up_to(connection, account, moment, as_ofs)
        state = await read_account_state(
            connection,
            granularity=self._settings.granularity_seconds,
            as_ofs=as_ofs,
            machine_time=moment.machine_time,
            also=[recommendation.product_id for recommendation in undecided],
            p=self._p,
            memory=self._memory,
        )
        at = await read_account_at(connection, as_ofs, self._settings.currency, moment.machine_time)
        return Known(account, moment, highs, state, at)


def _may_be_decided(item: Item, facts: Facts) -> bool:
    """Whether something new is decided on an item if it comes first: only then what a decision needs is read."""
    try:
        return isinstance(standing_or_undecided(item, facts, Progress()), Undecided)
    except MeshError:
        return False


class _Batch:
    """Goes through a batch: each item finds what those before it left."""

    def __init__(self, decider: Decider, known: Known | None, machine_time: datetime) -> None:
        self._decider = decider
        self._known = known
        self._progress = Progress()
        self.machine_time = machine_time
        self.claims: list[RequestKey] = []
        self.decisions: list[Decision] = []
        self.results: list[Decided | Exception] = []

    @property
    def answered(self) -> bool:
        """Whether anybody got an answer."""
        return any(isinstance(result, Decided) for result in self.results)

    def take(self, item: Item, facts: Facts) -> None:
        """The next item: its answer, or its own error, which leaves nothing of it."""
        try:
            found = standing_or_undecided(item, facts, self._progress)
            if isinstance(found, Undecided):
                found = self._decide(found, facts)
        except MeshError as error:
            self.results.append(error)
            return
        if not self._progress.is_claimed(item.key, facts.body):
            self.claims.append(item.key)
        self._progress = after_answer(self._progress, item.key)
        self.results.append(Decided(found.assessment, found.expires_at))

    def _decide(self, undecided: Undecided, facts: Facts) -> Attempt:
        # What may be decided first in the batch was looked at beforehand, and nothing becomes so in its course.
        assert self._known is not None
        made = self._decider.decide(undecided, facts, self._known, self._progress)
        self.decisions.append(made)
        self._progress = after_decision(self._progress, made)
        return self._progress.attempts[made.assessment.recommendation_id]
