"""What becomes of a signal: a recommendation, or a reason why not.

Pure: a function of the signal and of what the tables said when it was read. Every signal gets an outcome.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tradekit.decimals import plain
from tradekit.products import floor_to
from tradekit.reasons import Reason
from tradekit.recommendation import Evidence, Recommendation
from tradekit.sizes import NO_BASE
from tradekit.states import Profile, Side, SignalSide
from tradekit.units import BaseSize, OrderSize, Price, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class SignalSeen:
    """A signal as the bridge sees it."""

    signal_id: UUID
    product_id: ProductId
    granularity: int
    side: SignalSide
    as_of: datetime
    reference_price: Price
    profile: Profile
    evidence: Evidence
    reasons: tuple[Reason, ...]
    sequence: int


@dataclass(frozen=True, slots=True)
class ProductState:
    """What the tables say of one product before a signal, or an operator's request, is read."""

    held: BaseSize = NO_BASE
    base_increment: BaseSize | None = None
    open_buy: bool = False
    open_sell: bool = False
    last_buy_as_of: datetime | None = None
    cost: QuoteSize | None = None
    """Of what is held, fees inside."""
    last_close: Price | None = None
    """Of its newest candle."""

    @property
    def is_listed(self) -> bool:
        """True if the exchange lists it; whatever is listed has an increment."""
        return self.base_increment is not None


@dataclass(frozen=True, slots=True)
class ProposalRules:
    """The bridge's parameters."""

    entry_quote_size: QuoteSize
    entry_cooldown_bars: int
    stale_signal_bars: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A signal that becomes a recommendation."""

    side: Side
    size: OrderSize
    priority: float


@dataclass(frozen=True, slots=True)
class Skip:
    """A signal that does not, and why."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A signal and what becomes of it."""

    signal: SignalSeen
    decided: Proposal | Skip


@dataclass(frozen=True, slots=True)
class NewRecommendation:
    """A recommendation to be stored, and what it came from: a signal, or an operator's request."""

    recommendation: Recommendation
    run_id: str
    signal_id: UUID | None = None
    request_id: UUID | None = None


def propose(signal: SignalSeen, state: ProductState, newest_as_of: datetime, rules: ProposalRules) -> Proposal | Skip:
    """The signal's outcome. `newest_as_of` is the newest bar decided when it was read; staleness counts in bars."""
    if signal.side is SignalSide.HOLD:
        return Skip((Reason("HOLD", scope=f"product:{signal.product_id}"), *signal.reasons))
    if signal.side is SignalSide.SELL:
        return _exit(signal, state)
    return _entry(signal, state, newest_as_of, rules)


def _exit(signal: SignalSeen, state: ProductState) -> Proposal | Skip:
    """A SELL closes the whole position; an old SELL signal is still good: getting out must stay possible."""
    scope = f"product:{signal.product_id}"
    failed = []
    size = sellable(state.held, state.base_increment)
    if size <= 0:
        failed.append(Reason("NOTHING_HELD", "0", plain(state.held), "base", scope))
    if state.open_sell:
        failed.append(Reason("DUPLICATE_OPEN", "1", "1", "count", scope))
    return Skip(tuple(failed)) if failed else Proposal(Side.SELL, size, _priority(signal))


def _entry(signal: SignalSeen, state: ProductState, newest_as_of: datetime, rules: ProposalRules) -> Proposal | Skip:
    scope = f"product:{signal.product_id}"
    failed = []
    age = bars_between(signal.as_of, newest_as_of, signal.granularity)
    if age >= rules.stale_signal_bars:
        failed.append(Reason("STALE_SIGNAL", str(rules.stale_signal_bars), str(age), "bars", scope))
    if state.open_buy:
        failed.append(Reason("DUPLICATE_OPEN", "1", "1", "count", scope))
    if state.last_buy_as_of is not None:
        since = bars_between(state.last_buy_as_of, signal.as_of, signal.granularity)
        if since < rules.entry_cooldown_bars:
            failed.append(Reason("COOLDOWN", str(rules.entry_cooldown_bars), str(since), "bars", scope))
    return Skip(tuple(failed)) if failed else Proposal(Side.BUY, rules.entry_quote_size, _priority(signal))


def sellable(held: BaseSize, base_increment: BaseSize | None) -> BaseSize:
    """The part of a holding that is on the product's grid; all of it where the grid is not known."""
    return floor_to(held, base_increment) if base_increment else held


def bars_between(earlier: datetime, later: datetime, granularity: int) -> int:
    """Whole bars from one decision time to another; 0 where `later` is not later."""
    return max(0, int((later - earlier).total_seconds()) // granularity)


def _priority(signal: SignalSeen) -> float:
    """The calibrated edge as 0..1: the order of work among entries."""
    return min(1.0, max(0.0, abs(signal.evidence.edge)))
