"""An operator's word that a recommendation should not be carried out.

It is stored in the row, and whoever processes the row ends it at its next step. From the commit on no order is made for it:
the executor looks at the row in the transaction that would write one.
"""

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import NotFound
from meshkit.fields import Fields
from schema import streams
from schema.recommendation_rows import record_of_row
from schema.recommendations import trade_recommendations
from schema.requests import once, request_key
from svc_orchestrator.orders import order_of
from tradekit.states import RECOMMENDATION_TERMINAL, RecommendationState
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb

METHOD = "CancelRecommendation"
_T = trade_recommendations


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


def parse_cancel(request: pb.CancelRecommendationRequest) -> Cancel:
    """The request, or every violation."""
    fields = Fields()
    cancel = Cancel(
        request_id=fields.uuid("request_id", request.request_id),
        recommendation_id=fields.uuid("recommendation_id", request.recommendation_id),
        note=fields.text("note", request.note, max_length=200),
    )
    fields.done()
    return cancel


async def cancel_recommendation(
    connection: AsyncConnection, service: str, cancel: Cancel
) -> pb.CancelRecommendationResponse:
    """The stored answer of a repeated request, or what this one finds and does."""
    key = request_key(service, METHOD, cancel.request_id, cancel.body_hash)
    answer, _ = await once(connection, key, pb.CancelRecommendationResponse, lambda: _cancel(connection, cancel))
    return answer


async def _cancel(connection: AsyncConnection, cancel: Cancel) -> pb.CancelRecommendationResponse:
    item = cancel.recommendation_id
    query = select(_T).where(_T.c.recommendation_id == item).with_for_update()
    row: Any = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("recommendation", item)
    if RecommendationState(row["state"]) in RECOMMENDATION_TERMINAL:
        return _answer(pb.CANCEL_RECOMMENDATION_RESULT_ALREADY_ENDED, row)
    order = await order_of(connection, item)
    if order is not None:
        return _answer(pb.CANCEL_RECOMMENDATION_RESULT_ORDER_GOES_ON, row, str(order.order_id))
    await connection.execute(
        update(_T)
        .where(_T.c.recommendation_id == item)
        .values(
            cancel_requested_at=func.coalesce(_T.c.cancel_requested_at, func.clock_timestamp()),
            cancel_note=cancel.note,
            not_before=None,
            wait_for_market=None,
        )
    )
    await streams.notify(connection, streams.RECOMMENDATIONS)
    return _answer(pb.CANCEL_RECOMMENDATION_RESULT_CANCELLED, row)


def _answer(result: Any, row: Any, order_id: str = "") -> pb.CancelRecommendationResponse:
    return pb.CancelRecommendationResponse(result=result, record=record_of_row(row), order_id=order_id)
