"""What protects a position, and the one thing to do next about it. Pure: from its rows, the exchange's rules and the market.

Asked again after each step, and after every restart: what is to be done follows from what is there, never from what was
begun. That all that sells together sells no more than is held is decided here, of rows read under the account lock.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import localcontext
from uuid import UUID

from exchange_client import ExchangeProduct
from svc_executor.bracket_tries import Tried
from svc_executor.exit_plan import ExitRules, MarketNow, on_grid, own_trigger, plan_of, trigger_of
from tradekit.decimals import CONTEXT
from tradekit.exit_plan import ExitPlan
from tradekit.exits import is_dust
from tradekit.products import floor_to
from tradekit.sizes import NO_BASE
from tradekit.states import ExitTrigger, OrderState, OrderType, ProtectionMode
from tradekit.units import BaseSize, Price, ProductId

# Protective orders of one position: what more entries bought is protected by one order for all of it from then on. The exchange
# allows 500 open orders of a product, and each is asked for again and again.
MOST_STANDING = 5
# States in which an order can be ended: it is here, or the exchange has it.
_KNOWN = (OrderState.WAITING, OrderState.OPEN)


@dataclass(frozen=True, slots=True)
class Standing:
    """A protective order that is not done. `left`: what it may still sell, `filled_size`: what it has sold. `cancelling`: its end
    was asked for. `trigger`: why it is being sent. `entry_order_id`: the entry that it was made for."""

    order_id: UUID
    state: OrderState
    order_type: OrderType
    left: BaseSize
    plan: ExitPlan
    cancelling: bool
    trigger: ExitTrigger | None
    exchange_order_id: str | None = None
    filled_size: BaseSize = NO_BASE
    entry_order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """The newest entry of a position, at the average price of its fills, with the plan that it came with if any. There is none
    where coins were adopted since."""

    order_id: UUID
    price: Price
    as_of: datetime
    plan: ExitPlan | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What a bracket left when it was ended because its own time or trailing stop had come, and nothing was sold since. Of what
    it filled, fills may still be missing."""

    left: BaseSize
    plan: ExitPlan
    trigger: ExitTrigger
    entry_order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Bare:
    """What an older entry has had nothing for since its bracket was refused, and nothing was sold since."""

    left: BaseSize
    plan: ExitPlan
    entry_order_id: UUID | None


@dataclass(frozen=True, slots=True)
class Held:
    """A position as its rows have it. `selling`: what orders that protect nothing are about to sell. `plan`: of the newest order
    that protected this entry, None before the first. `tried`: of this entry and of each that has something standing. `due`: what
    is to be sold now, and `bare`: what is to be protected first, whatever the newest plan says."""

    product_id: ProductId
    size: BaseSize
    selling: BaseSize
    standing: tuple[Standing, ...]
    entry: Entry | None
    plan: ExitPlan | None
    close: Price | None
    market_time: datetime | None
    due: tuple[Due, ...] = ()
    bare: tuple[Bare, ...] = ()
    tried: tuple[Tried, ...] = ()

    def tried_for(self, entry_order_id: UUID | None) -> Tried:
        """What was made so far to protect what one entry bought."""
        return next((one for one in self.tried if one.entry_order_id == entry_order_id), Tried(entry_order_id))

    @property
    def entry_order_id(self) -> UUID | None:
        return self.entry.order_id if self.entry else None

    @property
    def protected(self) -> BaseSize:
        """What protective orders may still sell."""
        with localcontext(CONTEXT):
            return BaseSize(sum((one.left for one in self.standing), NO_BASE))

    @property
    def unprotected(self) -> BaseSize:
        """What nothing sells; below zero where more would be sold than is held."""
        with localcontext(CONTEXT):
            return self.size - self.selling - self.protected


@dataclass(frozen=True, slots=True)
class Protect:
    """Write a protective order. With a trigger it sells at once; without one a bracket rests and a market order waits here.
    `successor_of`: whose entry and plan it takes over where those are not the newest; an order that still waits here ends in the
    same transaction, so that no rows ever say that both may sell, nor that neither does, and is made anew where the bracket is
    refused."""

    size: BaseSize
    plan: ExitPlan
    order_type: OrderType
    trigger: ExitTrigger | None
    successor_of: Standing | Due | Bare | None = None

    @property
    def replaces_waiting(self) -> bool:
        """Whether it takes the place of an order that still waits here."""
        return isinstance(self.successor_of, Standing)


@dataclass(frozen=True, slots=True)
class Send:
    """A waiting order's price or time has come."""

    order_id: UUID
    trigger: ExitTrigger


@dataclass(frozen=True, slots=True)
class Withdraw:
    """End protective orders: too much would be sold, or what comes next sells what they hold. `trigger`: it sells because of
    that."""

    order_ids: tuple[UUID, ...]
    trigger: ExitTrigger | None = None


Step = Protect | Send | Withdraw


def next_step(held: Held, product: ExchangeProduct, market: MarketNow, rules: ExitRules) -> Step | None:
    """The next thing to do; None where all is protected, where something ends first, or where nothing can be done now."""
    ending = [one for one in held.standing if one.cancelling]
    if ending:
        # The exchange may not have heard of it. What may not be there yet cannot be cancelled there.
        known = tuple(one.order_id for one in ending if one.state in _KNOWN)
        return Withdraw(known) if known else None
    if held.unprotected < 0:
        too_much = tuple(one.order_id for one in held.standing if one.trigger is None)
        return Withdraw(too_much) if too_much else None
    leaving = _sell_due(held, product, market) or _leave(held, market, rules)
    if leaving is not None:
        return leaving
    if _sell_due(held, product, replace(market, free=None)) is not None:
        # It is not free yet. Protected now, it would be kept by the plan of another entry, and its exit forgotten.
        return None
    further = _protect(held, product, market, rules) if rules.mode is not ProtectionMode.OFF else None
    if further is None:
        return _rest_again(held, product, market, rules)
    if further.trigger is not None or len(held.standing) < MOST_STANDING:
        return further
    replaced = tuple(one.order_id for one in held.standing if one.state in _KNOWN and one.trigger is None)
    return Withdraw(replaced) if replaced else further


def _sell_due(held: Held, product: ExchangeProduct, market: MarketNow) -> Protect | None:
    """All of it by one order: in a fall none waits for another."""
    if not held.due:
        return None
    with localcontext(CONTEXT):
        left = BaseSize(sum((due.left for due in held.due), NO_BASE))
    size = _sellable(min(left, held.unprotected), product, market, held.close)
    first = held.due[0]
    return None if size is None else Protect(size, first.plan, OrderType.MARKET, first.trigger, first)


def _leave(held: Held, market: MarketNow, rules: ExitRules) -> Send | Withdraw | None:
    """The first order whose price or time has come; of those that are to be withdrawn, all with the same reason at once."""
    steps = [step for one in held.standing if (step := _of_standing(one, market, rules)) is not None]
    first = steps[0] if steps else None
    if not isinstance(first, Withdraw):
        return first
    alike = [step for step in steps if isinstance(step, Withdraw) and step.trigger is first.trigger]
    return Withdraw(tuple(order_id for step in alike for order_id in step.order_ids), first.trigger)


def _of_standing(one: Standing, market: MarketNow, rules: ExitRules) -> Send | Withdraw | None:
    if one.state is OrderState.WAITING:
        trigger = trigger_of(one.plan, market, rules)
        return None if trigger is None else Send(one.order_id, trigger)
    trigger = own_trigger(one.plan, market, rules) if one.order_type is OrderType.BRACKET else None
    return None if trigger is None else Withdraw((one.order_id,), trigger)


def price_acts(held: Held, high: Price | None, bid: Price, *, rules: ExitRules) -> bool:
    """Whether something is to be done at this bid, whatever the time; `high` is the highest price since the entry."""
    return any(_of_standing(one, MarketNow(bid, high, None), rules) is not None for one in held.standing)


def _protect(held: Held, product: ExchangeProduct, market: MarketNow, rules: ExitRules) -> Protect | None:
    price = market.bid or held.close
    if not can_be_protected(held.unprotected, product, price):
        return None
    bare = next((one for one in held.bare if can_be_protected(one.left, product, price)), None)
    plan = bare.plan if bare else _plan(held, product, price, rules)
    if plan is None:
        return None
    wanted = min(bare.left, held.unprotected) if bare else held.unprotected
    trigger = trigger_of(plan, market, rules)
    if trigger is not None:
        sold = _sellable(wanted, product, market, held.close)
        return None if sold is None else Protect(sold, plan, OrderType.MARKET, trigger, bare)
    size = min(floor_to(wanted, product.base_increment), product.base_max_size)
    rests = _can_rest(held.tried_for(bare.entry_order_id if bare else held.entry_order_id), product, rules)
    return Protect(size, plan, OrderType.BRACKET if rests else OrderType.MARKET, None, bare)


def _can_rest(tried: Tried, product: ExchangeProduct, rules: ExitRules) -> bool:
    allowed = tried.may_be_tried if rules.retries else not tried.refused
    return rules.mode is ProtectionMode.BRACKET and product.brackets and allowed


def _rest_again(held: Held, product: ExchangeProduct, market: MarketNow, rules: ExitRules) -> Protect | None:
    """A bracket in the place of an order that waits here: one could not rest before, and may now. Not while it is known that it
    would be refused, nor while nobody knows the price."""
    if market.bid is None or not product.tradable:
        return None
    for one in held.standing:
        waits = one.state is OrderState.WAITING and _can_rest(held.tried_for(one.entry_order_id), product, rules)
        if waits and _sellable(one.left, product, market, held.close) == one.left:
            return Protect(one.left, one.plan, OrderType.BRACKET, None, one)
    return None


def next_try(held: Held, rules: ExitRules) -> timedelta | None:
    """How long until a bracket may be tried in the place of what waits here; None: never."""
    if rules.mode is not ProtectionMode.BRACKET or not rules.retries:
        return None
    pauses = [held.tried_for(one.entry_order_id).pause for one in held.standing if one.state is OrderState.WAITING]
    return min((pause for pause in pauses if pause is not None), default=None)


def _sellable(wanted: BaseSize, product: ExchangeProduct, market: MarketNow, close: Price | None) -> BaseSize | None:
    """How much of it an order that sells at once may be of; None where that is too little. What somebody else took or holds
    cannot be sold; the rest can."""
    size = min(floor_to(wanted, product.base_increment), product.base_max_size)
    if market.free is not None:
        size = min(size, floor_to(market.free, product.base_increment))
    return size if can_be_protected(size, product, market.bid or close) else None


def _plan(held: Held, product: ExchangeProduct, price: Price | None, rules: ExitRules) -> ExitPlan | None:
    """The plan that this entry has already, or came with; else by the settings, from what was paid or, for what was adopted, from
    the price of now."""
    if held.plan is not None:
        return held.plan
    if held.entry is not None and held.entry.plan is not None:
        return on_grid(held.entry.plan, product.price_increment)
    if held.entry is not None:
        return plan_of(held.entry.price, held.entry.as_of, rules, product.price_increment)
    if price is None or held.market_time is None:
        return None
    return plan_of(price, held.market_time, rules, product.price_increment)


def can_be_protected(unprotected: BaseSize, product: ExchangeProduct, price: Price | None) -> bool:
    """Whether the exchange takes an order of so much."""
    rules = (product.base_increment, product.base_min_size, product.quote_min_size)
    return unprotected > 0 and not is_dust(unprotected, price, *rules)
