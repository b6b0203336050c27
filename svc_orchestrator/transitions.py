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
from svc_orchestrator.orders import OrderStands, order_of
from svc_orchestrator.steps import agrees
from tradekit.reasons import Reason, reasons_to_json
from tradekit.states import RECOMMENDATION_TERMINAL, RecommendationState

_T = trade_recommendations
# The streams' sequences in the order in which every transaction takes them.
_WRITE = text("""
    WITH change AS MATERIALIZED (SELECT take_sequences('recommendations', 1) AS sequence),
    decision AS MATERIALIZED (SELECT take_sequences('decisions', 1) AS sequence FROM change WHERE sequence IS NOT NULL),
    changed AS (
      UPDATE trade_recommendations SET
        state = :to_state, decided_by = :decided_by, reasons = :reasons, updated_at = now(),
        sequence = (SELECT sequence FROM change),
        adjusted_size = coalesce(:adjusted_size, adjusted_size), order_id = coalesce(:order_id, order_id),
        lease_owner = CASE WHEN NOT :terminal THEN lease_owner END,
        lease_expires_at = CASE WHEN NOT :terminal THEN lease_expires_at END,
        not_before = CASE WHEN NOT :terminal THEN not_before END,
        wait_for_market = CASE WHEN NOT :terminal THEN wait_for_market END
      WHERE recommendation_id = :recommendation_id
    ),
    event AS (
      INSERT INTO recommendation_events
        (sequence, recommendation_id, from_state, to_state, decided_by, reasons, as_of)
      SELECT sequence, :recommendation_id, :from_state, :to_state, :decided_by, :reasons, :as_of FROM decision
    )
    SELECT pg_notify('recommendations', ''), pg_notify('decisions', '') FROM decision
""").bindparams(
    bindparam("recommendation_id", type_=Id),
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
    """One change of state. `as_of` is its market time; a size or an order that is None stays what it was."""

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


async def change_state(connection: AsyncConnection, owner: str, change: Transition) -> bool:
    """One change of state with its event, both or neither. False if the lease was lost: somebody else decides now.

    OrderStands if it would end otherwise than its order says; Cancelled if it would go on and an operator said no.
    """
    mine = and_(
        _T.c.recommendation_id == change.recommendation_id,
        _T.c.lease_owner == owner,
        _T.c.state == change.from_state.value,
    )
    locked = select(_T.c.cancel_requested_at, _T.c.cancel_note).where(mine).with_for_update()
    row = (await connection.execute(locked)).one_or_none()
    if row is None:
        return False
    if not change.terminal and row.cancel_requested_at is not None:
        raise Cancelled(row.cancel_note)
    if change.terminal:
        order = await order_of(connection, change.recommendation_id)
        if order is not None and not agrees(change.to_state, order):
            raise OrderStands(order)
    await write_transition(connection, change)
    return True


async def write_transition(connection: AsyncConnection, change: Transition) -> None:
    """Writes a locked row's new state and the event of it, and wakes whoever watches."""
    await connection.execute(
        _WRITE,
        {
            "recommendation_id": change.recommendation_id,
            "from_state": change.from_state.value,
            "to_state": change.to_state.value,
            "decided_by": change.decided_by,
            "reasons": reasons_to_json(change.reasons),
            "as_of": change.as_of,
            "adjusted_size": change.adjusted_size,
            "order_id": change.order_id,
            "terminal": change.terminal,
        },
    )
