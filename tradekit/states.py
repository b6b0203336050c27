"""States and words of the pipeline as they stand in tables, metrics and logs.

The contracts' enums carry the same names with their prefix; `tradekit.wire` maps one to the other.
"""

from enum import StrEnum


class Side(StrEnum):
    """Side of a trade; a SELL only closes what is held."""

    BUY = "BUY"
    SELL = "SELL"


class SignalSide(StrEnum):
    """The model's decision."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"


class Profile(StrEnum):
    """Thresholds of a decision."""

    EVIDENCE = "EVIDENCE"
    EXERCISE = "EXERCISE"


class Venue(StrEnum):
    """Where orders go."""

    SIMULATED = "SIMULATED"
    REPLAY = "REPLAY"
    PAPER = "PAPER"
    SANDBOX = "SANDBOX"
    LIVE = "LIVE"


class LifeClock(StrEnum):
    """Clock of a recommendation's life."""

    MACHINE = "MACHINE"
    MARKET = "MARKET"


class Origin(StrEnum):
    """Who made the recommendation."""

    SIGNAL = "SIGNAL"
    OPERATOR = "OPERATOR"


class SignalOutcome(StrEnum):
    """How a signal ends."""

    RECOMMENDED = "RECOMMENDED"
    SKIPPED = "SKIPPED"


class RecommendationState(StrEnum):
    """Where a recommendation stands."""

    PROPOSED = "PROPOSED"
    IN_REVIEW = "IN_REVIEW"
    EXECUTING = "EXECUTING"
    EXECUTED = "EXECUTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


RECOMMENDATION_TERMINAL = frozenset(
    {
        RecommendationState.EXECUTED,
        RecommendationState.REJECTED,
        RecommendationState.EXPIRED,
        RecommendationState.FAILED,
    }
)


class OrderState(StrEnum):
    """Where an order stands. WAITING: kept by the executor, and sent when its stop, target or time comes."""

    WAITING = "WAITING"
    PENDING = "PENDING"
    UNKNOWN = "UNKNOWN"
    OPEN = "OPEN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"


ORDER_TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED})
# On its way to the exchange or there.
ORDER_UNDER_WAY = (OrderState.PENDING, OrderState.UNKNOWN, OrderState.OPEN)


class OrderPurpose(StrEnum):
    """What an order is for. PROTECTION leaves a position that nobody decided to leave."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    CLOSE = "CLOSE"
    PROTECTION = "PROTECTION"


class OrderType(StrEnum):
    """How an order trades. BRACKET: rests at the exchange with a target and a stop, whichever is reached first. LIMIT: at its
    price or better, and rests until then; POST_ONLY: the same, and is refused where it would trade at once."""

    MARKET = "MARKET"
    BRACKET = "BRACKET"
    LIMIT = "LIMIT"
    POST_ONLY = "POST_ONLY"

    @property
    def rests(self) -> bool:
        """Whether it may stay at the exchange unfilled."""
        return self is not OrderType.MARKET


class ExitTrigger(StrEnum):
    """What made a protective order sell."""

    STOP = "STOP"
    TARGET = "TARGET"
    TRAILING_STOP = "TRAILING_STOP"
    TIME_LIMIT = "TIME_LIMIT"


class ProtectionMode(StrEnum):
    """What protects a position: a bracket that rests at the exchange, an order that the executor keeps, or nothing."""

    BRACKET = "BRACKET"
    SOFTWARE = "SOFTWARE"
    OFF = "OFF"


class ReservationState(StrEnum):
    """Where a reservation of headroom stands; it leaves HELD at most once."""

    HELD = "HELD"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


class RiskDecision(StrEnum):
    """What the risk engine allows."""

    APPROVE = "APPROVE"
    REDUCE = "REDUCE"
    REJECT = "REJECT"


class TradingState(StrEnum):
    """The operator's switch."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"

    @property
    def rank(self) -> int:
        """0 for ACTIVE; more is stricter."""
        return (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED).index(self)

    def allows(self, side: Side) -> bool:
        """Whether an order of this side may be sent: REDUCING only lets exits through, HALTED nothing."""
        return self is TradingState.ACTIVE or (self is TradingState.REDUCING and side is Side.SELL)


class ReviewVerdict(StrEnum):
    """What the review enforces."""

    APPROVE = "APPROVE"
    REJECT = "REJECT"


class ReviewOutcome(StrEnum):
    """What came of asking a reviewer."""

    APPROVE = "APPROVE"
    REJECT = "REJECT"
    INVALID_OUTPUT = "INVALID_OUTPUT"
    TIMEOUT = "TIMEOUT"
    UNAVAILABLE = "UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    EXPIRED = "EXPIRED"
    SKIPPED_CAPACITY = "SKIPPED_CAPACITY"
    SKIPPED_DUPLICATE = "SKIPPED_DUPLICATE"


class ReviewMode(StrEnum):
    """Whether the language model's verdict counts."""

    VETO = "VETO"
    SHADOW = "SHADOW"
