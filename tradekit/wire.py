"""Common messages ⇄ domain types. Parse, don't validate: what leaves here is typed, bounded and finite.

Every function that reads a message takes the collector `Fields`, so a refusal names all violations at once.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, overload

from google.protobuf.timestamp_pb2 import Timestamp

from meshkit.errors import MeshError, code_number, shown
from meshkit.fields import Fields
from tradekit.bars import EARLIEST, GRANULARITY_NAMES, LATEST
from tradekit.decimals import format_decimal, parse_decimal, to_stored_scale
from tradekit.exit_plan import ExitPlan
from tradekit.products import is_product_id
from tradekit.reasons import Reason
from tradekit.recommendation import Evidence, Recommendation
from tradekit.sizes import order_size
from tradekit.states import LifeClock, Origin, Profile, RecommendationState, Side
from tradekit.units import Price, ProductId
from trading.common.v1 import decimal_pb2, error_pb2, recommendation_pb2, stream_pb2, trade_pb2

# A size or price above this is a mistake of the caller, whatever the product.
LARGEST_AMOUNT = Decimal(10) ** 15
LARGEST_FEATURES = 64


# ---- to messages -----------------------------------------------------------------------------------------------------


def decimal_message(number: Decimal) -> decimal_pb2.Decimal:
    """The number as a message, at most 18 decimals."""
    return decimal_pb2.Decimal(value=format_decimal(number))


def amount_message(number: Decimal) -> decimal_pb2.Decimal:
    """A computed amount as a message: rounded to the stored scale, without trailing zeros."""
    rounded = to_stored_scale(number)
    text = format(rounded.normalize(), "f") if not rounded.is_zero() else "0"
    return decimal_pb2.Decimal(value=text)


def timestamp_message(moment: datetime) -> Timestamp:
    """The time as a message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def watermark_message(as_of: datetime, sequence: int) -> stream_pb2.Watermark:
    """A watermark: everything up to `as_of` has been sent."""
    return stream_pb2.Watermark(as_of=timestamp_message(as_of), sequence=sequence)


def heartbeat_message(now: datetime, sequence: int) -> stream_pb2.Heartbeat:
    """A sign of life at wall time `now`; `sequence` is that of the newest row sent."""
    return stream_pb2.Heartbeat(send_time=timestamp_message(now), sequence=sequence)


def draining_message(reopen_seconds: int = 1) -> stream_pb2.Draining:
    """Tells a watcher to open the watch again in a moment."""
    message = stream_pb2.Draining()
    message.reopen_after.FromSeconds(reopen_seconds)
    return message


def item_error_message(request_id: str, recommendation_id: str, error: MeshError) -> error_pb2.ItemError:
    """The failure of one item of a stream, with all its violations."""
    message = error_pb2.ItemError(
        request_id=request_id,
        recommendation_id=recommendation_id,
        code=code_number(error),
        reason=f"ERROR_REASON_{error.reason}",
        message=error.message,
        violations=[
            error_pb2.FieldViolation(field=found.field, rule=found.rule, description=found.description)
            for found in error.violations
        ],
    )
    if error.retry_after is not None:
        message.retry_after.FromNanoseconds(int(error.retry_after * 1e9))
    return message


def time_of(message: Timestamp) -> datetime:
    """Aware UTC time of a message that is known to be good."""
    return message.ToDatetime(UTC)


def enum_number(prefix: str, value: StrEnum, descriptor: Any) -> Any:
    """Number of the contract's enum value `PREFIX_VALUE`."""
    return descriptor.Value(f"{prefix}_{value.value}")


def reason_message(reason: Reason) -> trade_pb2.Reason:
    """The reason as a message."""
    return trade_pb2.Reason(
        code=reason.code, limit=reason.limit, observed=reason.observed, unit=reason.unit, scope=reason.scope
    )


def reason_messages(reasons: Iterable[Reason]) -> list[trade_pb2.Reason]:
    """Reasons as messages."""
    return [reason_message(reason) for reason in reasons]


def reasons_of(messages: Iterable[trade_pb2.Reason]) -> tuple[Reason, ...]:
    """Reasons of messages that another service of the mesh sent."""
    return tuple(Reason(m.code, m.limit, m.observed, m.unit, m.scope) for m in messages)


def evidence_message(evidence: Evidence) -> recommendation_pb2.SignalEvidence:
    """The evidence as a message."""
    return recommendation_pb2.SignalEvidence(
        signal_id=str(evidence.signal_id),
        confidence=evidence.confidence,
        p_down=evidence.p_down,
        p_neutral=evidence.p_neutral,
        p_up=evidence.p_up,
        edge=evidence.edge,
        expected_net=evidence.expected_net,
        sigma_horizon=evidence.sigma_horizon,
        model_version=evidence.model_version,
        feature_set_hash=evidence.feature_set_hash,
        features=evidence.features,
    )


def recommendation_message(recommendation: Recommendation) -> recommendation_pb2.Recommendation:
    """The recommendation as a message."""
    size = decimal_message(recommendation.size)
    message = recommendation_pb2.Recommendation(
        recommendation_id=str(recommendation.recommendation_id),
        product_id=recommendation.product_id,
        side=side_number(recommendation.side),
        reference_price=decimal_message(recommendation.reference_price),
        as_of=timestamp_message(recommendation.as_of),
        expire_time=timestamp_message(recommendation.expire_time),
        life_clock=enum_number("LIFE_CLOCK", recommendation.life_clock, recommendation_pb2.LifeClock),
        origin=enum_number("RECOMMENDATION_ORIGIN", recommendation.origin, recommendation_pb2.RecommendationOrigin),
        profile=profile_number(recommendation.profile),
        priority=recommendation.priority,
        note=recommendation.note,
    )
    if recommendation.side is Side.BUY:
        message.quote_size.CopyFrom(size)
    else:
        message.base_size.CopyFrom(size)
    if recommendation.evidence is not None:
        message.evidence.CopyFrom(evidence_message(recommendation.evidence))
    if recommendation.exit_plan is not None:
        message.exit_plan.CopyFrom(exit_plan_message(recommendation.exit_plan))
    return message


def exit_plan_message(plan: ExitPlan) -> recommendation_pb2.ExitPlan:
    """The plan as a message."""
    message = recommendation_pb2.ExitPlan(
        stop_price=decimal_message(plan.stop_price), target_price=decimal_message(plan.target_price)
    )
    if plan.exit_time is not None:
        message.exit_time.CopyFrom(timestamp_message(plan.exit_time))
    return message


def side_number(side: Side) -> Any:
    """The contract's side."""
    return trade_pb2.Side.Value(f"SIDE_{side.value}")


def profile_number(profile: Profile) -> Any:
    """The contract's profile."""
    return trade_pb2.DecisionProfile.Value(f"DECISION_PROFILE_{profile.value}")


def state_number(state: RecommendationState) -> Any:
    """The contract's state."""
    return recommendation_pb2.RecommendationState.Value(f"RECOMMENDATION_STATE_{state.value}")


# ---- from messages ---------------------------------------------------------------------------------------------------


def read_product_id(fields: Fields, name: str, text: str) -> ProductId:
    """A product id, or a violation."""
    fields.check(name, is_product_id(text), "PRODUCT_ID", f"is {shown(text)!r}; must look like BTC-USD")
    return ProductId(text)


def read_decimal(
    fields: Fields,
    name: str,
    message: Any,
    *,
    present: bool,
    low: Decimal | None = None,
    low_open: bool = False,
    high: Decimal = LARGEST_AMOUNT,
) -> Decimal:
    """An exact number within its bounds, or a violation (and 0). `low_open` means strictly above `low`."""
    if not present:
        fields.check(name, False, "REQUIRED", "is missing; send a decimal such as 12.50")
        return Decimal(0)
    try:
        number = parse_decimal(message.value)
    except ValueError as error:
        fields.check(name, False, "DECIMAL_TEXT", f"is {shown(message.value)!r}; it {error}")
        return Decimal(0)
    if low is not None:
        above = number > low if low_open else number >= low
        word = "above" if low_open else "at least"
        fields.check(name, above, "OUT_OF_RANGE", f"is {message.value}; must be {word} {low}")
    fields.check(name, number <= high, "OUT_OF_RANGE", f"is {message.value}; must be at most {high}")
    return number


def read_price(fields: Fields, name: str, message: Any, *, present: bool) -> Price:
    """A price above zero, or a violation (and 0)."""
    return Price(read_decimal(fields, name, message, present=present, low=Decimal(0), low_open=True))


def read_side(fields: Fields, name: str, number: int) -> Side:
    """A side, or a violation."""
    return fields.enum(name, number, trade_pb2.Side, "SIDE", Side)


def read_granularity(fields: Fields, name: str, number: int, default: int) -> int:
    """Seconds of a granularity; `default` where it is unspecified."""
    if number == 0:
        return default
    fields.check(name, number in GRANULARITY_NAMES, "ENUM", f"is {number}; must be a Granularity")
    return number if number in GRANULARITY_NAMES else default


@overload
def read_time(fields: Fields, name: str, message: Timestamp, *, present: bool) -> datetime: ...
@overload
def read_time(fields: Fields, name: str, message: Timestamp, *, present: bool, required: bool) -> datetime | None: ...
def read_time(
    fields: Fields, name: str, message: Timestamp, *, present: bool, required: bool = True
) -> datetime | None:
    """A time at which a coin may have been traded, None where it is absent and not required, or a violation."""
    value = message if present else None
    return fields.timestamp(name, value, required=required, earliest=EARLIEST, latest=LATEST)


def read_ratio(fields: Fields, name: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """A finite number within [low, high], or a violation (and low)."""
    return fields.finite(name, value, low, high)


def read_evidence(fields: Fields, name: str, message: recommendation_pb2.SignalEvidence) -> Evidence:
    """The evidence, or violations."""
    fields.check(
        f"{name}.features",
        len(message.features) <= LARGEST_FEATURES,
        "TOO_MANY",
        f"has {len(message.features)} entries; at most {LARGEST_FEATURES}",
    )
    for index, value in enumerate(message.features[:LARGEST_FEATURES]):
        fields.finite(f"{name}.features[{index}]", value, low=-1e12, high=1e12)
    total = message.p_down + message.p_neutral + message.p_up
    fields.check(
        f"{name}.p_up", abs(total - 1.0) <= 1e-6, "SUM", f"with p_down and p_neutral sums to {total}; must be 1"
    )
    return Evidence(
        signal_id=fields.uuid(f"{name}.signal_id", message.signal_id),
        confidence=read_ratio(fields, f"{name}.confidence", message.confidence),
        p_down=read_ratio(fields, f"{name}.p_down", message.p_down),
        p_neutral=read_ratio(fields, f"{name}.p_neutral", message.p_neutral),
        p_up=read_ratio(fields, f"{name}.p_up", message.p_up),
        edge=read_ratio(fields, f"{name}.edge", message.edge, -1.0, 1.0),
        expected_net=read_ratio(fields, f"{name}.expected_net", message.expected_net, -10.0, 10.0),
        sigma_horizon=read_ratio(fields, f"{name}.sigma_horizon", message.sigma_horizon, 0.0, 100.0),
        model_version=fields.text(f"{name}.model_version", message.model_version, max_length=128),
        feature_set_hash=fields.text(f"{name}.feature_set_hash", message.feature_set_hash, max_length=64),
        features=tuple(message.features[:LARGEST_FEATURES]),
    )


def read_exit_plan(fields: Fields, name: str, message: recommendation_pb2.ExitPlan) -> ExitPlan:
    """The plan, or violations; how its prices lie to the market whoever knows the market says."""
    stop, target = (
        read_price(fields, f"{name}.{one}", getattr(message, one), present=message.HasField(one))
        for one in ("stop_price", "target_price")
    )
    if stop and target:
        why = f"is {message.stop_price.value}; must be below the target price, {message.target_price.value}"
        fields.check(f"{name}.stop_price", stop < target, "WRONG_SIDE", why)
    present = message.HasField("exit_time")
    return ExitPlan(
        stop, target, read_time(fields, f"{name}.exit_time", message.exit_time, present=present, required=False)
    )


def read_recommendation(fields: Fields, name: str, message: recommendation_pb2.Recommendation) -> Recommendation:
    """The recommendation, or violations."""
    side = read_side(fields, f"{name}.side", message.side)
    size_field = "quote_size" if side is Side.BUY else "base_size"
    fields.check(
        f"{name}.{size_field}",
        message.WhichOneof("size") == size_field,
        "REQUIRED",
        f"must be the size of a {side.value}; found {message.WhichOneof('size') or 'none'}",
    )
    size_message = message.quote_size if side is Side.BUY else message.base_size
    as_of = read_time(fields, f"{name}.as_of", message.as_of, present=message.HasField("as_of"))
    expire = read_time(fields, f"{name}.expire_time", message.expire_time, present=message.HasField("expire_time"))
    origin = fields.enum(
        f"{name}.origin",
        message.origin,
        recommendation_pb2.RecommendationOrigin,
        "RECOMMENDATION_ORIGIN",
        Origin,
    )
    fields.check(
        f"{name}.evidence",
        message.HasField("evidence") or origin is Origin.OPERATOR,
        "REQUIRED",
        "is missing; a signal's recommendation carries its evidence",
    )
    fields.check(
        f"{name}.exit_plan",
        side is Side.BUY or not message.HasField("exit_plan"),
        "NOT_ALLOWED",
        "is set; only a BUY has a way out to plan",
    )
    return Recommendation(
        recommendation_id=fields.uuid(f"{name}.recommendation_id", message.recommendation_id),
        product_id=read_product_id(fields, f"{name}.product_id", message.product_id),
        side=side,
        size=order_size(
            side,
            read_decimal(
                fields,
                f"{name}.{size_field}",
                size_message,
                present=message.WhichOneof("size") == size_field,
                low=Decimal(0),
                low_open=True,
            ),
        ),
        reference_price=read_price(
            fields,
            f"{name}.reference_price",
            message.reference_price,
            present=message.HasField("reference_price"),
        ),
        as_of=as_of,
        expire_time=expire,
        life_clock=fields.enum(
            f"{name}.life_clock", message.life_clock, recommendation_pb2.LifeClock, "LIFE_CLOCK", LifeClock
        ),
        origin=origin,
        profile=fields.enum(f"{name}.profile", message.profile, trade_pb2.DecisionProfile, "DECISION_PROFILE", Profile),
        priority=read_ratio(fields, f"{name}.priority", message.priority),
        evidence=read_evidence(fields, f"{name}.evidence", message.evidence) if message.HasField("evidence") else None,
        note=fields.text(f"{name}.note", message.note, min_length=0, max_length=200),
        exit_plan=read_exit_plan(fields, f"{name}.exit_plan", message.exit_plan)
        if message.HasField("exit_plan")
        else None,
    )
