"""The SQL of the funnel: all stages are counted in one statement.

The monitor asks every second. Candles are millions once a history was imported, so the database keeps their counts itself.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    select,
    text,
    union_all,
)
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
from svc_orchestrator.funnel import Count, FunnelRows, OpenWork
from tradekit.states import (
    ORDER_UNDER_WAY,
    RECOMMENDATION_TERMINAL,
    OrderPurpose,
    OrderState,
    OrderType,
    RecommendationState,
)

_T = trade_recommendations.c
_V = orchestrator_validations.c
_O = orchestrator_orders.c
_NONE: ColumnElement[str] = literal("", Text)
# Outcome and reason by position: by name, a column of the stage that has the same name would be meant.
_BY_OUTCOME = text("2, 3")


def _first_reason(table: Table) -> ColumnElement[str]:
    return func.coalesce(table.c.reasons[0]["code"].astext, "")


def _side_and(table: Table, column: str) -> ColumnElement[str]:
    return table.c.side + " " + table.c[column]


# What protects a position follows from no recommendation.
_KIND_OF_ORDER = case(
    (_O.purpose == OrderPurpose.PROTECTION.value, literal(OrderPurpose.PROTECTION.value, Text)), else_=_O.side
)
# Of each stage but the candles: its rows, how each ended, and its first reason.
_STAGES: dict[str, tuple[Table, ColumnElement[str], ColumnElement[str]]] = {
    "signals": (orchestrator_signals, orchestrator_signals.c.side, _NONE),
    "outcomes": (
        orchestrator_signal_outcomes,
        orchestrator_signal_outcomes.c.outcome,
        _first_reason(orchestrator_signal_outcomes),
    ),
    "recommendations": (
        trade_recommendations,
        _side_and(trade_recommendations, "state"),
        _first_reason(trade_recommendations),
    ),
    "validations": (
        orchestrator_validations,
        _V.reviewer + " " + func.coalesce(_V.enforced, _V.outcome),
        _first_reason(orchestrator_validations),
    ),
    "assessments": (
        orchestrator_assessments,
        _side_and(orchestrator_assessments, "decision"),
        _first_reason(orchestrator_assessments),
    ),
    "orders": (orchestrator_orders, _KIND_OF_ORDER + " " + _O.state, _first_reason(orchestrator_orders)),
    "fills": (orchestrator_fills, orchestrator_fills.c.side, _NONE),
}


async def read_funnel(connection: AsyncConnection, from_time: datetime | None) -> FunnelRows:
    """What the rows of all stages say from a market time on; the connection reads one snapshot."""
    marks = {row.stage: row.as_of for row in await connection.execute(select(watermarks.c.stage, watermarks.c.as_of))}
    counts = union_all(_candles(from_time), *(_counts(stage, from_time) for stage in _STAGES))
    rows = await connection.execute(counts.order_by("stage", "outcome", "reason"))
    open_work = (await connection.execute(_open_work(marks.get("market")))).one()
    return FunnelRows([Count(*row) for row in rows], marks, OpenWork(*open_work))


def _candles(from_time: datetime | None) -> Select[Any]:
    """All of them by the counts that are kept; else those that open from a time on."""
    if from_time is None:
        return _counted("candles", orchestrator_candle_counts.c.source, _NONE, orchestrator_candle_counts.c.candles)
    source, items = orchestrator_candles.c.source, func.count()
    counted = _counted("candles", source, _NONE, items).where(orchestrator_candles.c.start >= from_time)
    return counted.group_by(_BY_OUTCOME)


def _counts(stage: str, from_time: datetime | None) -> Select[Any]:
    table, outcome, reason = _STAGES[stage]
    query = _counted(stage, outcome, reason, func.count()).select_from(table)
    if from_time is not None and "as_of" in table.c:
        query = query.where(table.c.as_of >= from_time)
    elif from_time is not None:
        query = query.join(trade_recommendations, _T.recommendation_id == table.c.recommendation_id)
        query = query.where(_T.as_of >= from_time)
    return query.group_by(_BY_OUTCOME)


def _counted(
    stage: str, outcome: ColumnElement[Any], reason: ColumnElement[Any], items: ColumnElement[Any]
) -> Select[Any]:
    return select(
        literal(stage, Text).label("stage"),
        cast(outcome, Text).label("outcome"),
        cast(reason, Text).label("reason"),
        items.label("items"),
    )


def _open_work(market: datetime | None) -> Select[Any]:
    waiting = func.count().filter(_T.wait_for_market > (market or datetime.min.replace(tzinfo=UTC)))
    recommendations = (
        select(func.count().label("all"), waiting.label("waiting"))
        .where(_T.state.in_([state.value for state in RecommendationState if state not in RECOMMENDATION_TERMINAL]))
        .subquery()
    )
    unknown = func.count().filter(_O.state == OrderState.UNKNOWN.value)
    # What rests is not under way.
    rests = and_(_O.state == OrderState.OPEN.value, _O.order_type != OrderType.MARKET.value)
    under_way = func.count().filter(not_(rests))
    orders = (
        select(under_way.label("all"), unknown.label("unknown"), func.count().filter(rests).label("resting"))
        .where(_O.state.in_(ORDER_UNDER_WAY))
        .subquery()
    )
    found = (recommendations.c["all"], recommendations.c.waiting, orders.c["all"], orders.c.unknown, orders.c.resting)
    return select(*found).join_from(recommendations, orders, literal(True))
