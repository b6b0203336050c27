"""Changes of a recommendation's state: the row, its event and the wake-up of whoever watches, in one statement.

Every change names the lease owner and the state it starts from, so a lost lease changes nothing. No recommendation ends
otherwise than its order says: the order is looked for in the transaction of the end, while the row is locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Boolean, Text, and_, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.base import Amount, Id, Json, Time
from schema.recommendations import trade_recommendations
from svc_orchestrator.steps import OrderSeen, agrees
from svc_orchestrator.store import order_of
from tradekit.reasons import Reason, reasons_to_json
from tradekit.states import RECOMMENDATION_TERMINAL, RecommendationState

_T = trade_recommendations
# The row first, then the streams' sequences in the order in which every transaction takes them. An event happens at the
# market's time, where that has moved on from the recommendation's own bar.
_WRITE = text("""
    WITH mine AS MATERIALIZED (
      SELECT cancel_requested_at IS NOT NULL AND NOT :terminal AS cancelled, cancel_note FROM trade_recommendations
      WHERE recommendation_id = :recommendation_id AND state = :from_state AND lease_owner IS NOT DISTINCT FROM :owner
      FOR UPDATE
    ),
    change AS MATERIALIZED (SELECT take_sequences('recommendations', 1) AS sequence FROM mine WHERE NOT cancelled),
    decision AS MATERIALIZED (SELECT take_sequences('decisions', 1) AS sequence FROM change WHERE sequence IS NOT NULL),
    changed AS (
      UPDATE trade_recommendations SET
        state = :to_state, decided_by = :decided_by, reasons = :reasons, updated_at = now(), sequence = change.sequence,
        adjusted_size = coalesce(:adjusted_size, adjusted_size), order_id = coalesce(:order_id, order_id),
        lease_owner = CASE WHEN NOT :terminal THEN lease_owner END,
        lease_expires_at = CASE WHEN NOT :terminal THEN lease_expires_at END,
        not_before = CASE WHEN NOT :terminal THEN not_before END,
        wait_for_market = CASE WHEN NOT :terminal THEN wait_for_market END
      FROM change WHERE recommendation_id = :recommendation_id
    ),
    event AS (
      INSERT INTO recommendation_events
        (sequence, recommendation_id, from_state, to_state, decided_by, reasons, as_of)
      SELECT sequence, :recommendation_id, :from_state, :to_state, :decided_by, :reasons,
             greatest(:as_of, (SELECT as_of FROM watermarks WHERE stage = 'market'))
      FROM decision
    )
    SELECT cancelled, cancel_note, (SELECT pg_notify('recommendations', '') FROM decision),
           (SELECT pg_notify('decisions', '') FROM decision)
    FROM mine
""").bindparams(
    bindparam("recommendation_id", type_=Id),
    bindparam("owner", type_=Text),
    bindparam("from_state", type_=Text),
    bindparam("to_state", type_=Text),
    bindparam("decided_by", type_=Text),
    bindparam("reasons", type_=Json),
    bindparam("as_of", type_=Time),
    bindparam("adjusted_size", type_=Amount),
    bindparam("order_id", type_=Id),
    bindparam("terminal", type_=Boolean),
)


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


class Cancelled(Exception):
    """An operator cancelled it: it can only end now. The text is the operator's note."""


class OrderStands(Exception):
    """The recommendation has an order that says otherwise; it goes on from that order."""

    def __init__(self, order: OrderSeen) -> None:
        super().__init__(f"order {order.order_id} is {order.state.value}")
        self.order = order


async def change_state(connection: AsyncConnection, owner: str | None, change: Transition) -> bool:
    """One change of state with its event, both or neither. False if the lease was lost: somebody else decides now. Without
    an owner it is of a recommendation that has ended.

    OrderStands if it would end otherwise than its order says; Cancelled if it would go on and an operator said no.
    """
    if change.terminal:
        # A statement of its own: the next one sees the order of whoever held the row until now.
        if not await _lock(connection, owner, change):
            return False
        order = await order_of(connection, change.recommendation_id)
        if order is not None and not agrees(change.to_state, order):
            raise OrderStands(order)
    written = (await connection.execute(_WRITE, _values(owner, change))).one_or_none()
    if written is None:
        return False
    if written.cancelled:
        raise Cancelled(written.cancel_note)
    return True


async def _lock(connection: AsyncConnection, owner: str | None, change: Transition) -> bool:
    mine = and_(
        _T.c.recommendation_id == change.recommendation_id,
        _T.c.lease_owner.is_not_distinct_from(owner),
        _T.c.state == change.from_state.value,
    )
    found = await connection.execute(select(_T.c.recommendation_id).where(mine).with_for_update())
    return found.one_or_none() is not None


def _values(owner: str | None, change: Transition) -> dict[str, object]:
    return {
        "recommendation_id": change.recommendation_id,
        "owner": owner,
        "from_state": change.from_state.value,
        "to_state": change.to_state.value,
        "decided_by": change.decided_by,
        "reasons": reasons_to_json(change.reasons),
        "as_of": change.as_of,
        "adjusted_size": change.adjusted_size,
        "order_id": change.order_id,
        "terminal": change.terminal,
    }
