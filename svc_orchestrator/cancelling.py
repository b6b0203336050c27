"""An operator's word that a recommendation should not be carried out.

It is stored in the row, and whoever processes the row ends it at its next step. From the commit on no order is made for it:
the executor looks at the row in the transaction that would write one.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import NotFound
from schema.recommendation_rows import StoredRecommendation
from svc_orchestrator import store
from tradekit.states import RECOMMENDATION_TERMINAL


class CancelResult(Enum):
    """What a cancel found."""

    CANCELLED = "CANCELLED"
    ALREADY_ENDED = "ALREADY_ENDED"
    ORDER_GOES_ON = "ORDER_GOES_ON"


@dataclass(frozen=True, slots=True)
class Cancel:
    """A parsed CancelRecommendationRequest."""

    request_id: UUID
    recommendation_id: UUID
    note: str

    @property
    def body_hash(self) -> str:
        """sha256 of what is asked for, without the request's id."""
        return hashlib.sha256(f"{self.recommendation_id}|{self.note}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CancelFound:
    """The result, the recommendation as it stood, and the order that goes on if there is one."""

    result: CancelResult
    recommendation: StoredRecommendation
    order_id: UUID | None = None


async def cancel_recommendation(connection: AsyncConnection, cancel: Cancel) -> CancelFound:
    """Stores the operator's word, unless it comes too late. NotFound."""
    found = await store.lock_recommendation(connection, cancel.recommendation_id)
    if found is None:
        raise NotFound("recommendation", cancel.recommendation_id)
    if found.state in RECOMMENDATION_TERMINAL:
        return CancelFound(CancelResult.ALREADY_ENDED, found)
    order = await store.order_of(connection, cancel.recommendation_id)
    if order is not None:
        return CancelFound(CancelResult.ORDER_GOES_ON, found, order.order_id)
    await store.request_cancel(connection, cancel.recommendation_id, cancel.note)
    return CancelFound(CancelResult.CANCELLED, found)
