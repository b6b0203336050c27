"""The funnel: what entered and left every stage, by outcome. Counts come from the rows, never from memory.

The monitor asks every second. Candles are millions once a history was imported, so the database keeps their counts itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, cast, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.operations import watermarks
from schema.recommendations import trade_recommendations
from schema.views.orchestrator import (
    orchestrator_assessments,
    orchestrator_candle_counts,
    orchestrator_candles,
    orchestrator_fills,
    orchestrator_orders,
    orchestrator_signal_outcomes,
    orchestrator_signals,
    orchestrator_validations,
)
from tradekit import wire
from tradekit.states import ORDER_TERMINAL, RECOMMENDATION_TERMINAL, OrderState
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb

_NONE: ColumnElement[str] = literal("", Text)


def _first_reason(table: Table) -> ColumnElement[str]:
    return func.coalesce(table.c.reasons[0]["code"].astext, "")


# Stage, table, outcome, reason, column of market time, stage whose watermark it shows.
_STAGES: Sequence[tuple[str, Table, ColumnElement[Any], ColumnElement[Any], str, str | None]] = (
    ("candles", orchestrator_candles, orchestrator_candles.c.source, _NONE, "start", "market"),
    ("signals", orchestrator_signals, orchestrator_signals.c.side, _NONE, "as_of", "signal"),
    (
        "outcomes",
        orchestrator_signal_outcomes,
        orchestrator_signal_outcomes.c.outcome,
        _first_reason(orchestrator_signal_outcomes),
        "as_of",
        "bridge",
    ),
    (
        "recommendations",
        trade_recommendations,
        trade_recommendations.c.side + " " + trade_recommendations.c.state,
        _first_reason(trade_recommendations),
        "as_of",
        "orchestrator",
    ),
    (
        "validations",
        orchestrator_validations,
        orchestrator_validations.c.reviewer
        + " "
        + func.coalesce(orchestrator_validations.c.enforced, orchestrator_validations.c.outcome),
        _first_reason(orchestrator_validations),
        "",
        None,
    ),
    (
        "assessments",
        orchestrator_assessments,
        orchestrator_assessments.c.side + " " + orchestrator_assessments.c.decision,
        _first_reason(orchestrator_assessments),
        "as_of",
        None,
    ),
    (
        "orders",
        orchestrator_orders,
        orchestrator_orders.c.side + " " + orchestrator_orders.c.state,
        _first_reason(orchestrator_orders),
        "as_of",
        None,
    ),
    ("fills", orchestrator_fills, orchestrator_fills.c.side, _NONE, "as_of", None),
)


async def read_funnel(connection: AsyncConnection, from_time: datetime | None) -> pb.GetPipelineResponse:
    """The funnel from a market time on."""
    marks = {row.stage: row.as_of for row in await connection.execute(select(watermarks.c.stage, watermarks.c.as_of))}
    market = marks.get("market")
    response = pb.GetPipelineResponse()
    for stage, table, outcome, reason, time_column, mark in _STAGES:
        status = response.stages.add(stage=stage)
        if table is orchestrator_candles and from_time is None:
            query = _all_candles()
        else:
            query = _counts(table, outcome, reason, time_column, from_time)
        for row in await connection.execute(query):
            status.outcomes.add(outcome=row.outcome, reason=row.reason, count=row.items)
            status.total += row.items
        if mark and mark in marks:
            status.watermark.CopyFrom(wire.timestamp_message(marks[mark]))
            if market is not None:
                status.lag.FromTimedelta(max(market - marks[mark], market - market))
    if market is not None:
        response.market_time.CopyFrom(wire.timestamp_message(market))
    await _count_open(connection, response, market)
    return response


def _all_candles() -> Any:
    """What `_counts` gives for all candles, as their triggers keep it."""
    kept = orchestrator_candle_counts.c
    return select(kept.source.label("outcome"), _NONE.label("reason"), kept.candles.label("items")).order_by(
        kept.source
    )


def _counts(
    table: Table,
    outcome: ColumnElement[Any],
    reason: ColumnElement[Any],
    time_column: str,
    from_time: datetime | None,
) -> Any:
    query = select(
        cast(outcome, Text).label("outcome"), cast(reason, Text).label("reason"), func.count().label("items")
    ).select_from(table)
    if from_time is not None and time_column:
        query = query.where(table.c[time_column] >= from_time)
    elif from_time is not None:
        query = query.join(
            trade_recommendations, trade_recommendations.c.recommendation_id == table.c.recommendation_id
        ).where(trade_recommendations.c.as_of >= from_time)
    # By position: a name would mean the table's own column where it has one, as orchestrator_validations has `outcome`.
    return query.group_by(text("1, 2")).order_by(text("1, 2"))


async def _count_open(connection: AsyncConnection, response: pb.GetPipelineResponse, market: datetime | None) -> None:
    table = trade_recommendations
    waiting = func.count().filter(table.c.wait_for_market > (market or datetime.min.replace(tzinfo=UTC)))
    terminal = [state.value for state in RECOMMENDATION_TERMINAL]
    row = (await connection.execute(select(func.count(), waiting).where(table.c.state.not_in(terminal)))).one()
    response.open_recommendations, response.waiting_recommendations = row[0], row[1]
    unknown = func.count().filter(orchestrator_orders.c.state == OrderState.UNKNOWN.value)
    done = [state.value for state in ORDER_TERMINAL]
    row = (
        await connection.execute(select(func.count(), unknown).where(orchestrator_orders.c.state.not_in(done)))
    ).one()
    response.open_orders, response.unknown_orders = row[0], row[1]
