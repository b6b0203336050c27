"""What becomes of an operator's request: a recommendation, or a refusal.

Pure: a function of the request and of what the tables said when it was read. A SELL needs the ledger only; a BUY needs a price
and a market time that does not stand still.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from meshkit.errors import FailedPrecondition, InvalidRequest, Unavailable, Violation
from meshkit.fields import Fields
from schema.clocks import Clocks
from svc_bridge.proposal import ProductState, sellable
from svc_bridge.standstill import MarketProgress, standstill
from tradekit import ids
from tradekit.decimals import plain, to_stored_scale
from tradekit.exit_plan import ExitPlan
from tradekit.life import life_end
from tradekit.recommendation import Recommendation
from tradekit.sizes import NO_BASE, NO_PRICE_KNOWN, base_size, price_of
from tradekit.states import LifeClock, Origin, Profile, Side
from tradekit.units import OrderSize, Price, ProductId, QuoteSize

# An operator's recommendation goes before every signal's: a person is waiting for it.
OPERATOR_PRIORITY = 1.0


@dataclass(frozen=True, slots=True)
class OperatorRecommendation:
    """What an operator asks for; a size of None means the default of its side."""

    request_id: UUID
    product_id: ProductId
    side: Side
    size: OrderSize | None
    note: str
    exit_plan: ExitPlan | None = None


@dataclass(frozen=True, slots=True)
class OperatorRules:
    """The bridge's parameters."""

    entry_quote_size: QuoteSize
    life_clock: LifeClock
    life_seconds: int
    profile: Profile
    longest_standstill: timedelta | None
    """How long the market's watermark may stay where it is; None where market time has a pace of its own."""


def recommend(
    asked: OperatorRecommendation, state: ProductState, clocks: Clocks, market: MarketProgress, rules: OperatorRules
) -> Recommendation:
    """The recommendation. InvalidRequest for a product nobody lists or a plan that lies wrong, STALE_DATA, NOT_HELD."""
    if not state.is_listed:
        why = f"{asked.product_id} is not followed; see ListProducts"
        raise InvalidRequest([Violation("product_id", "UNKNOWN_PRODUCT", why)])
    price = state.last_close
    if price is None and asked.side is Side.SELL:
        price = _average_cost(state)
    if asked.side is Side.BUY and (price is None or clocks.market is None):
        raise Unavailable("STALE_DATA", f"there is no candle of {asked.product_id} yet; try again later")
    if asked.side is Side.BUY and (still := standstill(clocks, market, rules.longest_standstill)):
        raise Unavailable("STALE_DATA", still)
    as_of = clocks.market or clocks.machine
    if asked.exit_plan is not None:
        _require_around(asked.exit_plan, price or NO_PRICE_KNOWN, as_of)
    return Recommendation(
        recommendation_id=ids.recommendation_id_of_request(asked.request_id),
        product_id=asked.product_id,
        side=asked.side,
        size=_size(asked, state, rules.entry_quote_size),
        reference_price=price or NO_PRICE_KNOWN,
        as_of=as_of,
        expire_time=life_end(rules.life_clock, clocks.machine, as_of, rules.life_seconds),
        life_clock=rules.life_clock,
        origin=Origin.OPERATOR,
        profile=rules.profile,
        priority=OPERATOR_PRIORITY,
        note=asked.note,
        exit_plan=asked.exit_plan,
    )


def _require_around(plan: ExitPlan, price: Price, as_of: datetime) -> None:
    """A plan that would be carried out at once is a mistake. InvalidRequest."""
    fields = Fields()
    stop, target = plain(plan.stop_price), plain(plan.target_price)
    below = f"is {stop}; must be below the newest close, {plain(price)}"
    fields.check("exit_plan.stop_price", plan.stop_price < price, "WRONG_SIDE", below)
    above = f"is {target}; must be above the newest close, {plain(price)}"
    fields.check("exit_plan.target_price", plan.target_price > price, "WRONG_SIDE", above)
    if plan.exit_time is not None:
        later = f"is {plan.exit_time.isoformat()}; must be after the market's time, {as_of.isoformat()}"
        fields.check("exit_plan.exit_time", plan.exit_time > as_of, "PAST", later)
    fields.done()


def _average_cost(state: ProductState) -> Price | None:
    """Average cost of what is held, None if nothing is."""
    return to_stored_scale(price_of(state.cost, state.held)) if state.held > NO_BASE and state.cost else None


def _size(asked: OperatorRecommendation, state: ProductState, entry_quote_size: QuoteSize) -> OrderSize:
    if asked.side is Side.BUY:
        return asked.size or entry_quote_size
    held = sellable(state.held, state.base_increment)
    if held <= 0:
        raise FailedPrecondition("NOT_HELD", f"nothing of {asked.product_id} is held; there is nothing to sell")
    return min(base_size(asked.side, asked.size), held) if asked.size else held
