"""Changes of a recommendation's state: the rows, their events and the wake-up of whoever watches, in one statement.

Every change names the lease owner and the state it starts from, so a lost lease changes nothing. No recommendation ends
otherwise than its order says: the order is looked for in the transaction of the end, while the row is locked. Changes that
come together are written together; each stays a change of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from meshkit.batch import Batches
from meshkit.dedicated import Connection, Dedicated
from schema.base import Id, Json
from svc_orchestrator.steps import OrderSeen, agrees
from svc_orchestrator.store import order_seen
from tradekit.decimals import plain
from tradekit.reasons import Reason, reasons_to_json
from tradekit.states import RECOMMENDATION_TERMINAL, RecommendationState

MOST_TOGETHER = 64
# The rows first, in the order of their ids; then the streams' sequences in the order in which every transaction takes them. Each
# row is looked up by its id: joined, all rows were read, as the planner thinks that many are given and few are left.
# A stage calls one that an operator cancelled expired, as nothing new is done for it: that is the operator's end, not this one.
# An event happens at the market's time, where that has moved on from the recommendation's own bar.
_WRITE = text("""
    WITH given AS (
      SELECT * FROM jsonb_to_recordset(:changes) AS change (
        place bigint, recommendation_id uuid, from_state text, to_state text, decided_by text, reasons jsonb,
        as_of timestamptz, adjusted_size numeric, order_id uuid, terminal boolean)
    ),
    mine AS MATERIALIZED (
      SELECT sorted.*, row.cancel_note,
             row.cancel_requested_at IS NOT NULL AND (NOT terminal OR to_state = 'EXPIRED') AS cancelled
      FROM (SELECT * FROM given ORDER BY recommendation_id) AS sorted
      CROSS JOIN LATERAL (
        SELECT cancel_requested_at, cancel_note FROM trade_recommendations AS own
        WHERE own.recommendation_id = sorted.recommendation_id AND own.state = from_state
          AND own.lease_owner IS NOT DISTINCT FROM :owner
        FOR UPDATE
      ) AS row
    ),
    going AS MATERIALIZED (SELECT *, row_number() OVER (ORDER BY place) - 1 AS step FROM mine WHERE NOT cancelled),
    counted AS MATERIALIZED (SELECT count(*) AS changes FROM going HAVING count(*) > 0),
    change AS MATERIALIZED (SELECT changes, take_sequences('recommendations', changes) AS first FROM counted),
    decision AS MATERIALIZED (SELECT take_sequences('decisions', changes) AS first FROM change WHERE first IS NOT NULL),
    changed AS (
      UPDATE trade_recommendations AS row SET
        state = to_state, decided_by = going.decided_by, reasons = going.reasons, updated_at = now(),
        sequence = change.first + step,
        adjusted_size = coalesce(going.adjusted_size, row.adjusted_size),
        order_id = coalesce(going.order_id, row.order_id),
        lease_owner = CASE WHEN NOT terminal THEN lease_owner END,
        lease_expires_at = CASE WHEN NOT terminal THEN lease_expires_at END,
        not_before = CASE WHEN NOT terminal THEN not_before END,
        wait_for_market = CASE WHEN NOT terminal THEN wait_for_market END
      FROM going, change WHERE row.recommendation_id = going.recommendation_id
    ),
    event AS (
      INSERT INTO recommendation_events
        (sequence, recommendation_id, from_state, to_state, decided_by, reasons, as_of)
      SELECT decision.first + step, recommendation_id, from_state, to_state, decided_by, reasons,
             greatest(as_of, (SELECT as_of FROM watermarks WHERE stage = 'market'))
      FROM going, decision
    )
    SELECT place, cancelled, cancel_note, (SELECT pg_notify('recommendations', '') FROM decision),
           (SELECT pg_notify('decisions', '') FROM decision)
    FROM mine
""").bindparams(bindparam("changes", type_=Json), bindparam("owner", type_=Text))
_ORDERS = text("""
    SELECT recommendation_id, order_id, state, filled_size, reasons FROM orders_of_locked(:wanted)
""").bindparams(bindparam("wanted", type_=ARRAY(Id)))


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state. `as_of` is the recommendation's own market time, before which its event cannot be; a size or an
    order that is None stays what it was."""

    recommendation_id: UUID
    from_state: RecommendationState
    to_state: RecommendationState
    decided_by: str
    reasons: Sequence[Reason]
    as_of: datetime
    adjusted_size: Decimal | None = None
    order_id: UUID | None = None

    @property
    def terminal(self) -> bool:
        return self.to_state in RECOMMENDATION_TERMINAL


class LeaseLost(Exception):
    """Somebody else processes this one now; nothing was changed."""


class Cancelled(Exception):
    """An operator cancelled it: it can only end now. The text is the operator's note."""


class OrderStands(Exception):
    """The recommendation has an order that says otherwise; it goes on from that order."""

    def __init__(self, order: OrderSeen) -> None:
        super().__init__(f"order {order.order_id} is {order.state.value}")
        self.order = order


class Transitions:
    """Changes of state by one lease owner; those that come while one is being written share the next transaction."""

    def __init__(self, dedicated: Dedicated, owner: str) -> None:
        self._dedicated = dedicated
        self._owner = owner
        self._batches: Batches[Transition, None] = Batches(self._write, MOST_TOGETHER)

    async def change(self, change: Transition, *, urgent: bool = False) -> None:
        """Writes one change. Raises LeaseLost, OrderStands or Cancelled, as `change_states` says."""
        await self._batches.submit(change, urgent=urgent)

    async def _write(self, changes: Sequence[Transition]) -> list[Exception | None]:
        # Changes that end nothing are one statement, and so a transaction as they are.
        together = any(change.terminal for change in changes) or not _distinct(changes)
        async with self._dedicated.begin() if together else self._dedicated.autocommit() as connection:
            return await change_states(connection, self._owner, changes)


async def change_state(connection: Connection, owner: str | None, change: Transition) -> None:
    """One change of state with its event, both or neither; raises what `change_states` says of it."""
    (refused,) = await change_states(connection, owner, [change])
    if refused is not None:
        raise refused


async def change_states(
    connection: Connection, owner: str | None, changes: Sequence[Transition]
) -> list[Exception | None]:
    """Writes changes of different recommendations; says of each why it was not written, None where it was.

    LeaseLost: somebody else decides now. Without an owner a change is of a recommendation that has ended. OrderStands: it
    would end otherwise than its order says. Cancelled: it would go on or expire, and an operator said no.
    """
    refused: list[Exception | None] = [None] * len(changes)
    if not _distinct(changes):
        # One whose lease was lost here may come beside its successor: one after the other.
        return [refusal for change in changes for refusal in await change_states(connection, owner, [change])]
    ends = [change.recommendation_id for change in changes if change.terminal]
    if ends:
        # In a statement of its own, after the lock: this sees the order of whoever held the row until now.
        rows = await connection.execute(_ORDERS, {"wanted": ends})
        orders = {row.recommendation_id: order_seen(row) for row in rows}
        for place, change in enumerate(changes):
            order = orders.get(change.recommendation_id) if change.terminal else None
            if order is not None and not agrees(change.to_state, order):
                refused[place] = OrderStands(order)
    given = [_given(place, change) for place, change in enumerate(changes) if refused[place] is None]
    if not given:
        return refused
    rows = await connection.execute(_WRITE, {"changes": given, "owner": owner})
    written = {row.place: row for row in rows}
    for place in (values["place"] for values in given):
        row = written.get(place)
        if row is None:
            refused[place] = LeaseLost()
        elif row.cancelled:
            refused[place] = Cancelled(row.cancel_note)
    return refused


def _distinct(changes: Sequence[Transition]) -> bool:
    return len({change.recommendation_id for change in changes}) == len(changes)


def _given(place: int, change: Transition) -> dict[str, Any]:
    return {
        "place": place,
        "recommendation_id": str(change.recommendation_id),
        "from_state": change.from_state.value,
        "to_state": change.to_state.value,
        "decided_by": change.decided_by,
        "reasons": reasons_to_json(change.reasons),
        "as_of": change.as_of.isoformat(),
        "adjusted_size": plain(change.adjusted_size) if change.adjusted_size is not None else None,
        "order_id": str(change.order_id) if change.order_id is not None else None,
        "terminal": change.terminal,
    }
