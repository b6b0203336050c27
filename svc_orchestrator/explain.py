"""The story of one recommendation, or of a signal that never became one, told from the rows of every stage. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from modelkit.features.definition import names_of
from schema.recommendation_rows import StoredRecommendation
from svc_orchestrator.story_rows import (
    AssessmentRow,
    EventRow,
    FillRow,
    OrderRow,
    OutcomeRow,
    ReviewRow,
    SignalRow,
    StoryRows,
)
from tradekit.decimals import plain
from tradekit.reasons import Reason, shown
from tradekit.states import OrderPurpose, OrderType, Origin, Side

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage did, in words and with its figures as text; `as_of` is market time, `event_time` machine time."""

    stage: str
    outcome: str
    summary: str
    reasons: tuple[Reason, ...] = ()
    as_of: datetime | None = None
    event_time: datetime | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Story:
    """The steps as they happened, and how it ended in one sentence."""

    recommendation: StoredRecommendation | None
    steps: tuple[Step, ...]
    verdict: str


def tell(rows: StoryRows) -> Story:
    """The story of these rows."""
    by_stage = tuple(_steps(rows))
    steps = _as_it_happened(by_stage)
    if rows.recommendation is not None:
        return Story(rows.recommendation, steps, _end_of_recommendation(rows.recommendation))
    if rows.signal is not None:
        return Story(None, steps, _end_of_signal(rows.signal, by_stage[-1]))
    return Story(None, steps, _end_of_close(rows.orders[0]))


def _as_it_happened(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """By machine time, as many steps share one market time; what has none, such as a fill, stays behind the step before it.
    Steps of one moment stay in the order of the stages.
    """
    when, moments = _NEVER, []
    for step in steps:
        when = step.event_time or when
        moments.append(when)
    return tuple(steps[place] for place in sorted(range(len(steps)), key=moments.__getitem__))


def _steps(rows: StoryRows) -> Iterator[Step]:
    if rows.signal is not None:
        yield _signal(rows.signal)
        yield from _outcome(rows.outcome)
    if rows.recommendation is not None:
        yield _recommendation(rows.recommendation)
    yield from map(_review, rows.reviews)
    yield from map(_assessment, rows.assessments)
    for order in rows.orders:
        fills = [fill for fill in rows.fills if fill.order_id == order.order_id]
        step = _order(order, fills)
        yield _sold(step, order) if _is_sale_by_another(rows, order) else step
        yield from map(_fill, fills)
    yield from map(_event, rows.events)


def _is_sale_by_another(rows: StoryRows, order: OrderRow) -> bool:
    """Whether an order of this story is the exit of another recommendation, or an operator's close."""
    own = rows.recommendation
    return (
        own is not None
        and order.purpose != OrderPurpose.PROTECTION
        and order.recommendation_id != own.recommendation.recommendation_id
    )


def _sold(step: Step, order: OrderRow) -> Step:
    """The step of that order, in the story of what it sold."""
    if order.recommendation_id is None:
        return replace(step, summary=f"Closed by the operator ({order.note}). {step.summary}")
    summary = f"Sold by recommendation {order.recommendation_id}. {step.summary}"
    return replace(step, summary=summary, facts={**step.facts, "recommendation_id": str(order.recommendation_id)})


def _end_of_recommendation(stored: StoredRecommendation) -> str:
    codes = _codes(stored.reasons)
    why = f" because of {codes}" if codes else ""
    side, product = stored.recommendation.side.value, stored.recommendation.product_id
    return f"{side} {product}: {stored.state.value} by {stored.decided_by}{why}."


def _end_of_signal(signal: SignalRow, last: Step) -> str:
    why = _codes(last.reasons) or "no reason yet"
    return f"{signal.side} signal of {signal.product_id}: {last.outcome.lower()} ({why})."


def _end_of_close(order: OrderRow) -> str:
    if order.purpose == OrderPurpose.PROTECTION:
        return f"{order.product_id}: {order.state}, protects what was adopted."
    return f"{order.side} {order.product_id}: {order.state}, closed by the operator ({order.note})."


def _codes(reasons: tuple[Reason, ...]) -> str:
    return ", ".join(reason.code for reason in reasons)


def _facts(row: object, names: str) -> dict[str, str]:
    return {name: shown(getattr(row, name)) for name in names.split()}


def _signal(row: SignalRow) -> Step:
    summary = f"The model says {row.side} {row.product_id} with confidence {row.confidence:.2f} ({row.profile})."
    facts = _facts(
        row,
        "product_id confidence p_down p_neutral p_up edge expected_net sigma_horizon reference_price model_version "
        "profile bar_start",
    )
    facts |= _features(row)
    return Step("signal", row.side, summary, row.reasons, row.as_of, row.created_at, facts)


def _features(row: SignalRow) -> dict[str, str]:
    """The signal's feature row by names, which its feature set's hash gives."""
    names, values = names_of(row.feature_set_hash), row.features
    if len(names) == len(values):
        return {f"feature_{name}": shown(value) for name, value in zip(names, values, strict=True)}
    unknown = f"{len(values)} of feature set {row.feature_set_hash}, which is not known here"
    return {"features": unknown} if values else {}


def _outcome(row: OutcomeRow | None) -> Iterator[Step]:
    if row is None:
        yield Step("bridge", "PENDING", "The bridge has not read it yet.")
    elif row.recommendation_id is None:
        summary = f"The bridge skipped it: {_codes(row.reasons)}."
        yield Step("bridge", row.outcome, summary, row.reasons, row.as_of, row.created_at)


def _recommendation(stored: StoredRecommendation) -> Step:
    terms = stored.recommendation
    unit = "quote" if terms.side is Side.BUY else "base"
    who = "The bridge recommends" if terms.origin is Origin.SIGNAL else "An operator asks"
    summary = f"{who} to {terms.side.value} {plain(terms.size)} ({unit}) of {terms.product_id}."
    facts = {
        **_facts(terms, "size reference_price priority"),
        "expire_at": str(terms.expire_time),
        "life_clock": terms.life_clock.value,
        "origin": terms.origin.value,
        "note": terms.note,
    }
    if terms.exit_plan is not None:
        facts |= _facts(terms.exit_plan, "stop_price target_price exit_time")
    return Step("bridge", "RECOMMENDED", summary, (), terms.as_of, stored.created_at, facts)


def _review(row: ReviewRow) -> Step:
    weight = f"enforced: {row.enforced}" if row.enforced else "recorded only"
    summary = f"Reviewer {row.reviewer} ({row.mode}): {row.outcome}; {weight}."
    facts = _facts(row, "reviewer mode enforced model model_digest latency_ms error")
    return Step("validator", row.outcome, summary, row.reasons, None, row.created_at, facts)


def _assessment(row: AssessmentRow) -> Step:
    summary = (
        f"Risk, attempt {row.attempt}: {row.decision}, {plain(row.requested_size)} asked, "
        f"{plain(row.adjusted_size)} allowed, score {row.score:.2f}."
    )
    facts = _facts(
        row,
        "requested_size adjusted_size score sigma_14d heat_before heat_after exposure_before exposure_after equity "
        "limits_version attempt",
    )
    facts |= {f"part_{name}": shown(value) for name, value in row.parts.items()}
    return Step("risk", row.decision, summary, row.reasons, row.as_of, row.created_at, facts)


def _order(row: OrderRow, fills: Sequence[FillRow]) -> Step:
    """An order that may wait long for its price has the time of its last fill, and tells when it was placed."""
    waits = row.purpose == OrderPurpose.PROTECTION or row.limit_price is not None
    as_of = max((fill.as_of for fill in fills), default=row.as_of) if waits else row.as_of
    placed = f", placed {row.as_of:%Y-%m-%d %H:%M}," if as_of > row.as_of else ""
    summary = (
        f"{_what(row)}{placed} {row.state}: {plain(row.filled_size)} filled for {plain(row.filled_value)}, "
        f"fees {plain(row.total_fees)}, sent {row.send_count} time(s)."
    )
    facts = _facts(
        row,
        "order_id exchange_order_id quote_size base_size filled_size filled_value total_fees send_count venue ticket_id",
    )
    if row.purpose == OrderPurpose.PROTECTION:
        facts |= _facts(row, "purpose order_type stop_price target_price exit_time trigger entry_order_id")
    if row.limit_price is not None:
        facts |= _facts(row, "order_type limit_price end_time")
    return Step("order", row.state, summary, row.reasons, as_of, row.created_at, facts)


def _what(row: OrderRow) -> str:
    """What kind of order it is; one with a limit names it, one that protects its prices and why it was sent."""
    if row.limit_price is not None:
        kind = "post-only order" if row.order_type == OrderType.POST_ONLY else "limit order"
        return f"{row.venue} {kind} at {plain(row.limit_price)} or better"
    if row.purpose != OrderPurpose.PROTECTION or row.stop_price is None or row.target_price is None:
        return f"{row.venue} order"
    kind = "bracket" if row.order_type == OrderType.BRACKET else "stop kept by the executor,"
    why = f", sent for {row.trigger}," if row.trigger else ""
    return f"{row.venue} {kind} at {plain(row.stop_price)} and {plain(row.target_price)}{why}"


def _fill(row: FillRow) -> Step:
    summary = f"{row.liquidity} fill: {plain(row.size)} at {plain(row.price)}."
    facts = _facts(row, "fill_id trade_id price size commission realized_pnl trade_time")
    return Step("fill", row.side, summary, (), row.as_of, None, facts)


def _event(row: EventRow) -> Step:
    summary = f"{row.from_state or 'nothing'} → {row.to_state}, by {row.decided_by}."
    return Step("orchestrator", row.to_state, summary, row.reasons, row.as_of, row.created_at)
