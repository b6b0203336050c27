"""Messages ⇄ domain types of the risk engine. What leaves the parsers is typed, bounded and finite."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from meshkit.fields import Fields
from svc_risk.assessor import Decided
from svc_risk.portfolio import Portfolio, PositionRisk
from svc_risk.rules import LimitInForce
from svc_risk.score import score_shown
from svc_risk.snapshot import Lock
from tradekit import wire
from tradekit.reasons import Reason
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.states import TradingState
from trading.risk.v1 import risk_service_pb2 as pb

MOST_CREDIT = 256


@dataclass(frozen=True, slots=True)
class AssessCall:
    """A parsed AssessRecommendationRequest; `terms` is the hash of the whole recommendation."""

    request_id: UUID
    recommendation: Recommendation
    terms: str


@dataclass(frozen=True, slots=True)
class StateCall:
    """A parsed SetTradingStateRequest."""

    request_id: UUID
    state: TradingState
    note: str
    release_locks: bool
    only_tighten: bool = False


# ---- from messages ---------------------------------------------------------------------------------------------------


def parse_assess(request: pb.AssessRecommendationRequest) -> AssessCall:
    """The request, or every violation."""
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    if not fields.check(
        "recommendation", request.HasField("recommendation"), "REQUIRED", "is missing; send the recommendation"
    ):
        fields.done()
    recommendation = wire.read_recommendation(fields, "recommendation", request.recommendation)
    fields.check(
        "recommendation.expire_time",
        not recommendation.life_is_empty,
        "OUT_OF_RANGE",
        "must lie after as_of, which is the same clock",
    )
    fields.done()
    return AssessCall(request_id, recommendation, terms_hash(recommendation))


def parse_open(frame: pb.StreamAssessmentsRequest) -> int:
    """Credit that the client asks for, or every violation of its opening frame."""
    fields = Fields()
    is_open = fields.check(
        "frame", frame.WhichOneof("frame") == "open", "INVALID_POSITION", "the first frame must open the stream"
    )
    if is_open:
        fields.text("open.client", frame.open.client, max_length=64)
        fields.integer("open.max_in_flight", frame.open.max_in_flight, 1, MOST_CREDIT)
    fields.done()
    return int(frame.open.max_in_flight)


def parse_state(request: pb.SetTradingStateRequest) -> StateCall:
    """The request, or every violation."""
    fields = Fields()
    call = StateCall(
        request_id=fields.uuid("request_id", request.request_id),
        state=fields.enum("state", request.state, pb.TradingState, "TRADING_STATE", TradingState),
        note=fields.text("note", request.note, max_length=200),
        release_locks=request.release_locks,
        only_tighten=request.only_tighten,
    )
    fields.done()
    return call


def state_hash(call: StateCall) -> str:
    """sha256 of what a SetTradingState asks for, without its id."""
    body = json.dumps([call.state.value, call.note, call.release_locks, call.only_tighten])
    return hashlib.sha256(body.encode()).hexdigest()


# ---- to messages -----------------------------------------------------------------------------------------------------


def assessment_message(decided: Decided) -> pb.Assessment:
    """A stored assessment."""
    made = decided.assessment
    message = pb.Assessment(
        assessment_id=str(made.assessment_id),
        recommendation_id=str(made.recommendation_id),
        attempt=made.attempt,
        decision=wire.enum_number("DECISION", made.decision, pb.Decision),
        requested_size=wire.amount_message(made.requested_size),
        adjusted_size=wire.amount_message(made.adjusted_size),
        score=made.score,
        score_shown=score_shown(made.score),
        parts=pb.ScoreParts(**asdict(made.parts)),
        sigma_14d=made.sigma_14d,
        heat_before=made.heat_before,
        heat_after=made.heat_after,
        exposure_before=wire.amount_message(made.exposure_before),
        exposure_after=wire.amount_message(made.exposure_after),
        equity=wire.amount_message(made.equity),
        reasons=wire.reason_messages(made.reasons),
        ticket=made.ticket,
        limits_version=made.limits_version,
        decide_time=wire.timestamp_message(made.created_at),
    )
    if decided.expires_at is not None:
        message.reservation_id = str(made.assessment_id)
        message.reservation_expire_time.CopyFrom(wire.timestamp_message(decided.expires_at))
    return message


def portfolio_message(portfolio: Portfolio, state: TradingState, note: str) -> pb.GetPortfolioRiskResponse:
    """The account's risk."""
    account = portfolio.account
    message = pb.GetPortfolioRiskResponse(
        trading_state=trading_state_number(state),
        trading_state_note=note,
        equity=wire.amount_message(account.equity),
        cash=wire.amount_message(portfolio.cash),
        exposure=wire.amount_message(account.exposure),
        heat=account.heat,
        drawdown=float(account.drawdown),
        daily_loss=float(account.daily_loss),
        positions=[_position_message(position) for position in portfolio.positions],
        locks=[_lock_message(lock_id, lock) for lock_id, lock in portfolio.locks],
        held_reservations=portfolio.held_reservations,
    )
    if portfolio.high_water_mark is not None:
        message.high_water_mark.CopyFrom(wire.amount_message(portfolio.high_water_mark))
    if portfolio.as_of is not None:
        message.as_of.CopyFrom(wire.timestamp_message(portfolio.as_of))
    return message


def trading_state_number(state: TradingState) -> Any:
    """The contract's trading state."""
    return wire.enum_number("TRADING_STATE", state, pb.TradingState)


def _position_message(position: PositionRisk) -> pb.PositionRisk:
    holding = position.holding
    message = pb.PositionRisk(
        product_id=holding.product_id,
        base_size=wire.amount_message(holding.base_size),
        exposure=wire.amount_message(position.exposure),
        sigma_14d=holding.sigma_14d,
        heat=position.heat,
    )
    if holding.mark is not None:
        message.mark_price.CopyFrom(wire.amount_message(holding.mark))
    return message


def _lock_message(lock_id: UUID, lock: Lock) -> pb.RiskLock:
    reason = Reason(lock.code, lock.limit, lock.observed, lock.unit, lock.scope)
    message = pb.RiskLock(lock_id=str(lock_id), code=lock.code, scope=lock.scope, reason=wire.reason_message(reason))
    if lock.until_time is not None:
        message.until_time.CopyFrom(wire.timestamp_message(lock.until_time))
    return message


def limits_message(
    version: str, limits: tuple[LimitInForce, ...], parameters: Mapping[str, str]
) -> pb.GetLimitsResponse:
    """The limits in force."""
    return pb.GetLimitsResponse(
        limits_version=version,
        limits=[
            pb.Limit(
                code=row.code,
                value=row.value,
                unit=row.unit,
                kind=row.kind.value,
                buy_only=row.buy_only,
                scope=row.scope,
                on_sell=row.on_sell.value,
                words=row.words,
            )
            for row in limits
        ],
        parameters=parameters,
    )
