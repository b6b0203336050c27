"""The exchange itself: takes orders, moves market time, and matches what rests.

Market time moves in steps; each step is matched and stored before anyone can see it, so a restart
never shows an earlier time than was shown before. All methods are synchronous: on one event loop
that makes each of them, and each client_order_id, atomic.
"""

import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from exchange_sim import reasons
from exchange_sim.market import Market, Quote
from exchange_sim.matching import FillAmounts, fill_base, fill_quote
from exchange_sim.numbers import EXACT, ONE, ZERO, plain
from exchange_sim.order_checks import (
    Fees,
    Situation,
    Terms,
    bracket_stop_limit,
    check_edit,
    check_form,
    check_grid,
    check_price,
    check_state,
    check_value,
    crosses,
    parse_terms,
    reaches,
    required,
    stop_limit,
    taker_price,
)
from exchange_sim.order_request import OrderRequest
from exchange_sim.orders import Balance, Fill, Order, Status, Trigger, attached_id, id_of
from exchange_sim.products import Product, quote_currencies
from exchange_sim.reasons import Rejection
from exchange_sim.resting import Event, Happens, next_event
from exchange_sim.state import ExchangeState
from exchange_sim.times import iso

# As many orders of a product may be open on the venue.
MOST_OPEN = 500
_CLOCK = "clock_us"
_AT_ONCE = ("market_market_ioc", "sor_limit_ioc", "limit_limit_fok")


def _edited(terms: str, **changes: str) -> str:
    return json.dumps({**json.loads(terms), **changes}, separators=(",", ":"))


class CannotMove(Exception):
    """Market time, or an amount, cannot go where it was asked to go."""


class ForeignState(Exception):
    """The state folder holds the ledger of another market."""


@dataclass(frozen=True, slots=True)
class Acceptable:
    """An order the venue would take now."""

    product: Product
    terms: Terms
    quote: Quote


class Exchange:
    def __init__(self, market: Market, state: ExchangeState, fees: Fees, wall_clock: Callable[[], float]) -> None:
        self.market = market
        self.state = state
        self.fees = fees
        self.now_us = 0
        self.wall_clock = wall_clock

    def open(self, identity: str, start_us: int, opening: Decimal) -> None:
        """Resumes the stored state, or opens a new one with cash in each quote currency."""
        stored = self.state.note("market")
        if stored is not None and stored != identity:
            raise ForeignState(f"the state belongs to market {stored}, not {identity}")
        with self.state.transaction():
            self.state.set_note("market", identity)
            for currency in quote_currencies(self.market.products()):
                self.state.open_account(currency, opening)
            for currency in (product.base for product in self.market.products()):
                self.state.open_account(currency, ZERO)
            clock = self.state.note(_CLOCK)
            self.now_us = start_us if clock is None else int(clock)
            self.state.set_note(_CLOCK, str(self.now_us))

    def check(self, request: OrderRequest) -> Acceptable | list[Rejection]:
        """Everything against the order, gathered in stages that each rely on the one before."""
        product = self.market.product(request.product_id)
        faults = list(check_form(request, product))
        if product is None or faults:
            return faults
        faults = list(check_state(request, product))
        terms = parse_terms(request, self.now_us)
        if isinstance(terms, Rejection):
            return [*faults, terms]
        faults += check_grid(terms, product)
        quote = self.market.quote(request.product_id, self.now_us)
        if quote is None:
            return [*faults, reasons.NO_PRICE]
        spends = product.quote if terms.side == "BUY" else product.base
        available = self.state.balance(spends).available
        faults += check_price(request, terms, quote)
        faults += check_value(terms, Situation(product, quote, available, self.fees, self.now_us))
        rests = request.configuration.variant not in _AT_ONCE and not crosses(terms, quote)
        if rests and self.state.open_count(product.product_id) >= MOST_OPEN:
            faults.append(reasons.TOO_MANY_OPEN)
        if not faults and self._taker_fill(product, terms, quote).size < product.base_min_size:
            faults.append(reasons.QUOTE_TOO_SMALL)
        return faults or Acceptable(product, terms, quote)

    def create(self, request: OrderRequest) -> Order | Rejection:
        """The order with this client id: a new one, or the one it already names."""
        known = self.state.order_of_client(request.client_order_id)
        if known is not None:
            return known
        acceptable = self.check(request)
        if not isinstance(acceptable, Acceptable):
            return acceptable[0]
        with self.state.transaction():
            return self._place(request, acceptable)

    def cancel(self, order_ids: list[str]) -> list[tuple[str, str]]:
        """Cancels what is open; answers (order id, reason) in the order asked."""
        results: list[tuple[str, str]] = []
        seen: set[str] = set()
        with self.state.transaction():
            for order_id in order_ids:
                repeated = order_id in seen
                seen.add(order_id)
                results.append((order_id, reasons.CANCEL_REPEATED if repeated else self._cancel(order_id)))
        return results

    def edit(self, order_id: str, price: Decimal, size: Decimal) -> list[str]:
        """Changes an open limit order in its place; gives the reasons against it, of which none means that it is done."""
        order = self.state.order(order_id)
        found = self.check_edit(order, price, size)
        if order is None or isinstance(found, list):
            return found if isinstance(found, list) else [reasons.EDIT_UNKNOWN_ORDER]
        edit = {"price": plain(price), "size": plain(size), "replace_accept_timestamp": iso(self.now_us)}
        changed = replace(
            order,
            limit_price=price,
            base_size=size,
            terms=_edited(order.terms, limit_price=plain(price), base_size=plain(size)),
            edits=json.dumps([*json.loads(order.edits), edit], separators=(",", ":")),
            updated_us=self.now_us,
        )
        with self.state.transaction():
            if crosses(found.terms, found.quote):
                filled = self._fill(
                    changed, self._taker_fill(found.product, found.terms, found.quote), "TAKER", self.now_us
                )
                self._brought(filled, self.now_us)
            else:
                self._held(changed, required(found.terms, found.product, found.quote, self.fees))
        return []

    def check_edit(self, order: Order | None, price: Decimal, size: Decimal) -> Acceptable | list[str]:
        """What the order would be afterwards, or the reasons against it."""
        if order is None:
            return [reasons.EDIT_UNKNOWN_ORDER]
        product = self.market.product(order.product_id)
        quote = self.market.quote(order.product_id, self.now_us)
        if order.variant != "limit_limit_gtc":
            return [reasons.EDIT_NOT_A_LIMIT]
        if order.status is not Status.OPEN or product is None or quote is None:
            return [reasons.EDIT_DONE]
        terms = Terms(order.side, size, None, price, None)
        available = self.state.balance(order.spends).available
        against = list(check_edit(order, terms, Situation(product, quote, available, self.fees, self.now_us)))
        return against or Acceptable(product, terms, quote)

    def advance(self, to_us: int) -> None:
        """Moves market time forward and does everything that was due on the way, in its order."""
        if to_us < self.now_us:
            raise CannotMove("market time only moves forward")
        with self.state.transaction():
            open_orders = self.state.open_orders()
            coming = [event for order in open_orders if (event := next_event(order, self.market, self.now_us, to_us))]
            heapq.heapify(coming)
            while coming:
                event = heapq.heappop(coming)
                for order in self._happen(event):
                    then = next_event(order, self.market, event.at_us, to_us)
                    if then is not None:
                        heapq.heappush(coming, then)
            self.state.set_note(_CLOCK, str(to_us))
        self.now_us = to_us

    def _happen(self, event: Event) -> list[Order]:
        """Does what is due; gives the orders that are open by it and may have more to come."""
        order, at_us = event.order, event.at_us
        if event.happens is Happens.EXPIRES:
            self._finish(order, Status.EXPIRED, "Order expired", at_us)
            return []
        if event.happens is Happens.FILLS:
            amounts = fill_base(order.in_book or ZERO, order.base_size or ZERO, self.fees.maker)
            return self._brought(self._fill(order, amounts, "MAKER", at_us), at_us)
        woken = replace(order, triggered_us=at_us, updated_us=at_us)
        quote, limit = self.market.quote(order.product_id, at_us), woken.in_book or ZERO
        if quote is not None and reaches(order.side, limit, quote):
            amounts = fill_base(taker_price(order.side, quote), order.base_size or ZERO, self.fees.taker)
            return self._brought(self._fill(woken, amounts, "TAKER", at_us), at_us)
        self.state.save_order(woken)
        return [woken]

    def transfer(self, currency: str, amount: Decimal) -> Balance:
        """Pays an amount in from outside or, below zero, out of what is available."""
        if EXACT.add(self.state.balance(currency).available, amount) < 0:
            raise CannotMove(f"not enough {currency} is available")
        with self.state.transaction():
            self.state.open_account(currency, ZERO)
            self.state.change(currency, available=amount)
        return self.state.balance(currency)

    def values(self) -> dict[str, Decimal]:
        """What one unit of each currency is worth in dollars now. Every money here is a dollar or stands for one."""
        values = dict.fromkeys(quote_currencies(self.market.products()), ONE)
        for product in self.market.products():
            quote = self.market.quote(product.product_id, self.now_us)
            if quote is not None and product.base not in values:
                values[product.base] = quote.last
        return values

    def estimate(self, acceptable: Acceptable) -> FillAmounts:
        """What the order would trade now, or at its limit when it would rest."""
        terms = acceptable.terms
        if crosses(terms, acceptable.quote):
            return self._taker_fill(acceptable.product, terms, acceptable.quote)
        return fill_base(terms.limit_price or ZERO, terms.base_size or ZERO, self.fees.maker)

    def _place(self, request: OrderRequest, acceptable: Acceptable) -> Order:
        terms, quote, product = acceptable.terms, acceptable.quote, acceptable.product
        order = self.state.add_order(self._new_order(request, terms, product))
        if crosses(terms, quote):
            filled = self._fill(order, self._taker_fill(product, terms, quote), "TAKER", self.now_us)
            self._brought(filled, self.now_us)
            return filled
        if request.configuration.variant in _AT_ONCE:
            return self._finish(order, Status.CANCELLED, "Remainder cancelled: no liquidity at the limit", self.now_us)
        return self._held(order, required(terms, product, quote, self.fees))

    def _held(self, order: Order, amount: Decimal) -> Order:
        """The order with that much of what it spends on hold; what it held before is free again."""
        held = replace(order, hold=amount)
        self.state.change(
            order.spends, available=EXACT.subtract(order.hold, amount), hold=EXACT.subtract(amount, order.hold)
        )
        self.state.save_order(held)
        return held

    def _brought(self, parent: Order, at_us: int) -> list[Order]:
        """The bracket that a filled order brings for what it bought, if it brings one."""
        if not parent.attached:
            return []
        terms = {**json.loads(parent.attached), "base_size": plain(parent.filled_size)}
        product = self.market.product(parent.product_id)
        stop = Decimal(terms["stop_trigger_price"])
        order_id = attached_id(parent.order_id)
        bracket = replace(
            parent,
            sequence=0,
            order_id=order_id,
            client_order_id=order_id,
            side="SELL",
            variant="trigger_bracket_gtc",
            terms=json.dumps(terms, separators=(",", ":")),
            base_size=parent.filled_size,
            quote_size=None,
            limit_price=Decimal(terms["limit_price"]),
            end_us=None,
            status=Status.OPEN,
            created_us=at_us,
            updated_us=at_us,
            last_fill_us=None,
            filled_size=ZERO,
            filled_value=ZERO,
            fees=ZERO,
            fill_count=0,
            hold=ZERO,
            message="",
            done_wall_seconds=None,
            trigger=Trigger.DOWN,
            stop_price=stop,
            stop_limit=stop if product is None else bracket_stop_limit("SELL", stop, product),
            attached="",
            parent_id=parent.order_id,
        )
        return [self._held(self.state.add_order(bracket), parent.filled_size)]

    def _new_order(self, request: OrderRequest, terms: Terms, product: Product) -> Order:
        own = request.configuration
        return Order(
            sequence=0,
            order_id=id_of("order", request.client_order_id),
            client_order_id=request.client_order_id,
            product_id=request.product_id,
            side=request.side,
            variant=own.variant,
            terms=json.dumps(own.terms, separators=(",", ":")),
            base_size=terms.base_size,
            quote_size=terms.quote_size,
            limit_price=terms.limit_price,
            end_us=terms.end_us,
            status=Status.OPEN,
            created_us=self.now_us,
            updated_us=self.now_us,
            last_fill_us=None,
            filled_size=ZERO,
            filled_value=ZERO,
            fees=ZERO,
            fill_count=0,
            hold=ZERO,
            message="",
            done_wall_seconds=None,
            trigger=terms.trigger,
            stop_price=terms.stop_price,
            stop_limit=stop_limit(terms, product),
            attached="" if request.attached is None else json.dumps(request.attached.terms, separators=(",", ":")),
        )

    def _taker_fill(self, product: Product, terms: Terms, quote: Quote) -> FillAmounts:
        price = taker_price(terms.side, quote)
        if terms.quote_size is not None:
            return fill_quote(price, terms.quote_size, self.fees.taker, product.base_increment)
        return fill_base(price, terms.base_size or ZERO, self.fees.taker)

    def _fill(self, order: Order, amounts: FillAmounts, liquidity: str, at_us: int) -> Order:
        """Fills the order whole: releases its hold, moves both balances, keeps the fill."""
        buying = order.side == "BUY"
        paid = EXACT.add(amounts.value, amounts.fee) if buying else amounts.size
        received = amounts.size if buying else EXACT.subtract(amounts.value, amounts.fee)
        self.state.change(order.spends, available=EXACT.subtract(order.hold, paid), hold=-order.hold)
        self.state.change(order.receives, available=received)
        number = order.fill_count + 1
        self.state.add_fill(
            Fill(
                sequence=0,
                entry_id=id_of("entry", f"{order.order_id}/{number}"),
                trade_id=id_of("trade", f"{order.order_id}/{number}"),
                order_id=order.order_id,
                product_id=order.product_id,
                side=order.side,
                price=amounts.price,
                size=amounts.size,
                commission=amounts.fee,
                liquidity=liquidity,
                at_us=at_us,
            )
        )
        filled = replace(
            order,
            filled_size=EXACT.add(order.filled_size, amounts.size),
            filled_value=EXACT.add(order.filled_value, amounts.value),
            fees=EXACT.add(order.fees, amounts.fee),
            fill_count=number,
            last_fill_us=at_us,
            hold=ZERO,
        )
        return self._finish(filled, Status.FILLED, "", at_us)

    def _cancel(self, order_id: str) -> str:
        order = self.state.order(order_id)
        if order is None:
            return reasons.CANCEL_UNKNOWN_ORDER
        if order.status is Status.FILLED:
            return reasons.CANCEL_ALREADY_FILLED
        if order.status is Status.CANCELLED:
            return reasons.CANCEL_REPEATED
        if order.status is not Status.OPEN:
            return reasons.CANCEL_NOT_ALLOWED
        self._finish(order, Status.CANCELLED, "User requested cancel", self.now_us)
        return reasons.CANCEL_ACCEPTED

    def _finish(self, order: Order, status: Status, message: str, at_us: int) -> Order:
        """Ends the order and gives back whatever it still holds."""
        self.state.change(order.spends, available=order.hold, hold=-order.hold)
        done = replace(
            order,
            status=status,
            message=message,
            updated_us=at_us,
            hold=ZERO,
            done_wall_seconds=self.wall_clock(),
        )
        self.state.save_order(done)
        return done
