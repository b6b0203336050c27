"""The story of one recommendation, or of a signal that never became one, told from the rows of every stage."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from modelkit.features.definition import names_of
from schema.recommendation_rows import record_of_row
from schema.recommendations import recommendation_events, trade_recommendations
from schema.views.orchestrator import (
    orchestrator_assessments,
    orchestrator_fills,
    orchestrator_orders,
    orchestrator_signal_outcomes,
    orchestrator_signals,
    orchestrator_validations,
)
from tradekit import ids, wire
from tradekit.decimals import plain
from tradekit.reasons import reasons_from_json
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb


async def explain_signal(connection: AsyncConnection, signal_id: UUID) -> pb.ExplainRecommendationResponse | None:
    """The story of a signal; None if there is no such signal."""
    row = await _one(connection, orchestrator_signals, "signal_id", signal_id)
    if row is None:
        return None
    story = await explain_recommendation(connection, ids.recommendation_id_of_signal(signal_id))
    if story is not None:
        return story
    response = pb.ExplainRecommendationResponse()
    await _tell_signal(connection, response, row)
    outcome = response.steps[-1]
    why = ", ".join(reason.code for reason in outcome.reasons)
    response.verdict = (
        f"{row['side']} signal of {row['product_id']}: {outcome.outcome.lower()} ({why or 'no reason yet'})."
    )
    return response


async def explain_order(connection: AsyncConnection, order_id: UUID) -> pb.ExplainRecommendationResponse | None:
    """The story of an order's recommendation; None if there is no such order."""
    row = await _one(connection, orchestrator_orders, "order_id", order_id)
    if row is None:
        return None
    if row["recommendation_id"] is not None:
        return await explain_recommendation(connection, row["recommendation_id"])
    response = pb.ExplainRecommendationResponse()
    await _tell_orders(connection, response, [row])
    response.verdict = f"{row['side']} {row['product_id']}: {row['state']}, closed by the operator ({row['note']})."
    return response


async def explain_recommendation(
    connection: AsyncConnection, recommendation_id: UUID
) -> pb.ExplainRecommendationResponse | None:
    """The story of a recommendation; None if there is no such recommendation."""
    row = await _one(connection, trade_recommendations, "recommendation_id", recommendation_id)
    if row is None:
        return None
    response = pb.ExplainRecommendationResponse(record=record_of_row(row))
    if row["signal_id"] is not None:
        signal = await _one(connection, orchestrator_signals, "signal_id", row["signal_id"])
        if signal is not None:
            await _tell_signal(connection, response, signal)
    _tell_bridge(response, row)
    for review in await _all(connection, orchestrator_validations, recommendation_id, "review_id"):
        _tell_review(response, review)
    for assessment in await _all(connection, orchestrator_assessments, recommendation_id, "attempt"):
        _tell_assessment(response, assessment)
    await _tell_order(connection, response, recommendation_id)
    for event in await _all(connection, recommendation_events, recommendation_id, "sequence"):
        _tell_event(response, event)
    response.verdict = _verdict(row)
    return response


async def _one(connection: AsyncConnection, table: Table, column: str, value: UUID) -> RowMapping | None:
    return (await connection.execute(select(table).where(table.c[column] == value))).mappings().one_or_none()


async def _all(connection: AsyncConnection, table: Table, recommendation_id: UUID, order: str) -> list[RowMapping]:
    query = select(table).where(table.c.recommendation_id == recommendation_id).order_by(table.c[order])
    return list((await connection.execute(query)).mappings())


def _step(
    response: pb.ExplainRecommendationResponse,
    stage: str,
    outcome: str,
    summary: str,
    row: Mapping[str, Any] | RowMapping,
    facts: Mapping[str, Any],
) -> None:
    """Adds one step; `row` gives its reasons and times."""
    step = response.steps.add(stage=stage, outcome=outcome, summary=summary)
    step.reasons.extend(wire.reason_messages(reasons_from_json(row.get("reasons") or [])))
    for name, value in facts.items():
        step.facts[name] = _text(value)
    if row.get("as_of") is not None:
        step.as_of.CopyFrom(wire.timestamp_message(row["as_of"]))
    if row.get("created_at") is not None:
        step.event_time.CopyFrom(wire.timestamp_message(row["created_at"]))


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


async def _tell_signal(
    connection: AsyncConnection, response: pb.ExplainRecommendationResponse, row: RowMapping
) -> None:
    names = ("product_id", "confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon")
    facts = {name: row[name] for name in (*names, "reference_price", "model_version", "profile", "bar_start")}
    facts |= _features(row)
    summary = (
        f"The model says {row['side']} {row['product_id']} with confidence {row['confidence']:.2f} ({row['profile']})."
    )
    _step(response, "signal", row["side"], summary, row, facts)
    outcome = await _one(connection, orchestrator_signal_outcomes, "signal_id", row["signal_id"])
    if outcome is None:
        _step(response, "bridge", "PENDING", "The bridge has not read it yet.", {}, {})
    elif outcome["recommendation_id"] is None:
        codes = ", ".join(reason["code"] for reason in outcome["reasons"])
        _step(response, "bridge", outcome["outcome"], f"The bridge skipped it: {codes}.", outcome, {})


def _features(row: RowMapping) -> dict[str, Any]:
    """The signal's feature row by names, which its feature set's hash gives."""
    names, values = names_of(row["feature_set_hash"]), row["features"]
    if len(names) != len(values):
        return (
            {"features": f"{len(values)} of feature set {row['feature_set_hash']}, which is not known here"}
            if values
            else {}
        )
    return {f"feature_{name}": value for name, value in zip(names, values, strict=True)}


def _tell_bridge(response: pb.ExplainRecommendationResponse, row: RowMapping) -> None:
    unit = "quote" if row["side"] == "BUY" else "base"
    who = "The bridge recommends" if row["origin"] == "SIGNAL" else "An operator asks"
    summary = f"{who} to {row['side']} {plain(row['size'])} ({unit}) of {row['product_id']}."
    facts = {
        name: row[name] for name in ("size", "reference_price", "priority", "expire_at", "life_clock", "origin", "note")
    }
    _step(response, "bridge", "RECOMMENDED", summary, {"as_of": row["as_of"], "created_at": row["created_at"]}, facts)


def _tell_review(response: pb.ExplainRecommendationResponse, row: RowMapping) -> None:
    weight = f"enforced: {row['enforced']}" if row["enforced"] else "recorded only"
    summary = f"Reviewer {row['reviewer']} ({row['mode']}): {row['outcome']}; {weight}."
    facts = {
        name: row[name] for name in ("reviewer", "mode", "enforced", "model", "model_digest", "latency_ms", "error")
    }
    _step(response, "validator", row["outcome"], summary, row, facts)


def _tell_assessment(response: pb.ExplainRecommendationResponse, row: RowMapping) -> None:
    summary = (
        f"Risk, attempt {row['attempt']}: {row['decision']}, {plain(row['requested_size'])} asked, "
        f"{plain(row['adjusted_size'])} allowed, score {row['score']:.2f}."
    )
    names = ("requested_size", "adjusted_size", "score", "sigma_14d", "heat_before", "heat_after", "exposure_before")
    facts = {name: row[name] for name in (*names, "exposure_after", "equity", "limits_version", "attempt")}
    facts |= {f"part_{name}": value for name, value in row["parts"].items()}
    _step(response, "risk", row["decision"], summary, row, facts)


async def _tell_order(
    connection: AsyncConnection, response: pb.ExplainRecommendationResponse, recommendation_id: UUID
) -> None:
    await _tell_orders(
        connection, response, await _all(connection, orchestrator_orders, recommendation_id, "created_at")
    )


async def _tell_orders(
    connection: AsyncConnection, response: pb.ExplainRecommendationResponse, rows: Sequence[RowMapping]
) -> None:
    for row in rows:
        summary = (
            f"{row['venue']} order {row['state']}: {plain(row['filled_size'])} filled for "
            f"{plain(row['filled_value'])}, fees {plain(row['total_fees'])}, sent {row['send_count']} time(s)."
        )
        names = ("order_id", "exchange_order_id", "quote_size", "base_size", "filled_size", "filled_value")
        facts = {name: row[name] for name in (*names, "total_fees", "send_count", "venue", "ticket_id")}
        _step(response, "order", row["state"], summary, row, facts)
        query = (
            select(orchestrator_fills)
            .where(orchestrator_fills.c.order_id == row["order_id"])
            .order_by(orchestrator_fills.c.trade_time, orchestrator_fills.c.fill_id)
        )
        for fill in (await connection.execute(query)).mappings():
            text = f"{fill['liquidity']} fill: {plain(fill['size'])} at {plain(fill['price'])}."
            figures = ("fill_id", "trade_id", "price", "size", "commission", "realized_pnl", "trade_time")
            _step(
                response, "fill", fill["side"], text, {"as_of": fill["as_of"]}, {name: fill[name] for name in figures}
            )


def _tell_event(response: pb.ExplainRecommendationResponse, row: RowMapping) -> None:
    start = row["from_state"] or "nothing"
    _step(response, "orchestrator", row["to_state"], f"{start} → {row['to_state']}, by {row['decided_by']}.", row, {})


def _verdict(row: RowMapping) -> str:
    codes = ", ".join(reason["code"] for reason in row["reasons"])
    why = f" because of {codes}" if codes else ""
    return f"{row['side']} {row['product_id']}: {row['state']} by {row['decided_by']}{why}."
