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
from exchange_sim.depth import Walk, off_grid, protected, walk_base, walk_quote
from exchange_sim.habits import Habits, is_chosen
from exchange_sim.market import Market, Quote
from exchange_sim.matching import fill_base
from exchange_sim.numbers import EXACT, ONE, ZERO, floor_to, plain
from exchange_sim.order_checks import (
    Fees,
    Situation,
    Terms,
    check_edit,
    check_form,
    check_grid,
    check_price,
    check_state,
    check_value,
    crosses,
    parse_terms,
    required,
    stop_limit,
)
from exchange_sim.order_ledger import OrderLedger
from exchange_sim.order_request import OrderRequest
from exchange_sim.orders import Balance, Order, Status, id_of
from exchange_sim.products import Product, quote_currencies
from exchange_sim.reasons import Rejection
from exchange_sim.resting import Event, Happens, next_event
from exchange_sim.state import ExchangeState
from exchange_sim.times import SECOND_US, iso

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
    taken: Walk
    """What it would take from the book at once; nothing where it waits or rests."""


class Exchange:
    def __init__(self, market: Market, state: ExchangeState, fees: Fees, wall_clock: Callable[[], float]) -> None:
        self.market = market
        self.state = state
        self.fees = fees
        self.now_us = 0
        self.wall_clock = wall_clock
        self._ledger = OrderLedger(state, market, wall_clock)
        self.habits = Habits()
        self.any_cancel_queued = self.any_kept_waiting = True
        self._stored_us = 0
        self._any_open = True

    @property
    def told_us(self) -> int:
        """What its clock shows, which may be wrong."""
        return self.now_us + int(self.habits.clock_skew_seconds * SECOND_US)

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
            self.now_us = self._stored_us = start_us if clock is None else int(clock)
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
        if faults:
            return faults
        taken = self._taken(product, terms, quote, request.client_order_id)
        if terms.quote_size is not None and taken.size < product.base_min_size:
            return [reasons.QUOTE_TOO_SMALL]
        if terms.side == "BUY" and taken.cost > available:
            return [reasons.INSUFFICIENT_FUND]
        return Acceptable(product, terms, quote, taken)

    def create(self, request: OrderRequest) -> Order | Rejection:
        """The order with this client id: a new one, or the one it already names."""
        known = self.state.order_of_client(request.client_order_id)
        if known is not None:
            return known
        acceptable = self.check(request)
        if not isinstance(acceptable, Acceptable):
            return acceptable[0]
        with self.state.transaction():
            self._keep_time()
            return self._place(request, acceptable)

    def _keep_time(self) -> None:
        """From here on something may be open: what happens to it after a restart counts from this very moment."""
        self._any_open = True
        if self._stored_us != self.now_us:
            self._stored_us = self.now_us
            self.state.set_note(_CLOCK, str(self.now_us))

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

    def end_cancelled(self) -> None:
        """Ends the orders whose queued cancel is due."""
        now = self.wall_clock()
        queued = self.state.cancels_queued()
        due = [one for one in queued if (one.cancel_wall_seconds or 0.0) <= now]
        self.any_cancel_queued = len(due) < len(queued)
        if due:
            with self.state.transaction():
                for order in due:
                    self._ledger.finish(order, Status.CANCELLED, "User requested cancel", self.now_us)
                self._ledger.opened()

    def fill_kept_waiting(self) -> None:
        """Fills the market orders whose time has come, at the prices of now."""
        now = self.wall_clock()
        waiting = self.state.kept_waiting()
        due = [one for one in waiting if (one.fill_wall_seconds or 0.0) <= now]
        self.any_kept_waiting = len(due) < len(waiting)
        if due:
            with self.state.transaction():
                for order in due:
                    self._fill_late(order)
                self._ledger.opened()

    def _fill_late(self, order: Order) -> None:
        terms = Terms(order.side, order.base_size, order.quote_size, None, None)
        product, quote = self.market.product(order.product_id), self.market.quote(order.product_id, self.now_us)
        if product is None or quote is None:
            self._ledger.finish(order, Status.CANCELLED, "No price any more", self.now_us)
            return
        taken = self._taken(product, terms, quote, order.client_order_id)
        if order.side == "BUY" and taken.cost > EXACT.add(self.state.balance(order.spends).available, order.hold):
            self._ledger.finish(order, Status.CANCELLED, "Insufficient funds by now", self.now_us)
            return
        self._begun(order, Acceptable(product, terms, quote, taken), self.now_us)

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
            self._begun(self._ledger.hold(changed, ZERO), found, self.now_us)
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
        if against:
            return against
        left = replace(terms, base_size=EXACT.subtract(size, order.filled_size))
        return Acceptable(product, left, quote, self._taken(product, left, quote, order.client_order_id))

    def advance(self, to_us: int, lead_us: int = 0) -> None:
        """Moves market time forward and does everything that was due on the way, in its order.

        Where nothing is open, the time that a restart begins with is stored `lead_us` ahead, so that small steps need not store
        it each: a restart never shows an earlier time than was shown, and no order misses what happened in between.
        """
        if to_us < self.now_us:
            raise CannotMove("market time only moves forward")
        if lead_us and to_us <= self._stored_us and not self._any_open:
            self.now_us = to_us
            return
        with self.state.transaction():
            open_orders = self.state.open_orders()
            self._any_open = bool(open_orders)
            coming = [event for order in open_orders if (event := next_event(order, self.market, self.now_us, to_us))]
            heapq.heapify(coming)
            while coming:
                event = heapq.heappop(coming)
                for order in self._happen(event):
                    then = next_event(order, self.market, event.at_us, to_us)
                    if then is not None:
                        heapq.heappush(coming, then)
            self._stored_us = to_us if self._any_open else to_us + lead_us
            self.state.set_note(_CLOCK, str(self._stored_us))
        self.now_us = to_us

    def _happen(self, event: Event) -> list[Order]:
        """Does what is due; gives the orders that are open by it and may have more to come."""
        order, at_us, book = event.order, event.at_us, self._ledger
        if event.happens is Happens.EXPIRES:
            book.finish(order, Status.EXPIRED, "Order expired", at_us)
            return book.opened()
        if event.happens is Happens.FILLS:
            amounts = fill_base(order.in_book or ZERO, order.left, self.fees.maker)
            book.finish(book.trade(order, [amounts], "MAKER", at_us), Status.FILLED, "", at_us)
            return book.opened()
        woken = replace(order, triggered_us=at_us, updated_us=at_us)
        levels = self.market.levels(order.product_id, order.side, at_us)
        taken = walk_base(levels, order.side, woken.in_book or ZERO, order.left, self.fees.taker)
        traded = book.trade(woken, taken.fills, "TAKER", at_us)
        if taken.complete:
            book.finish(traded, Status.FILLED, "", at_us)
            return book.opened()
        self.state.save_order(traded)
        return [traded]

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

    def estimate(self, acceptable: Acceptable) -> Walk:
        """What the order would trade now, or at its limit when it would rest."""
        terms = acceptable.terms
        if crosses(terms, acceptable.quote):
            return acceptable.taken
        return Walk((fill_base(terms.limit_price or ZERO, terms.base_size or ZERO, self.fees.maker),), complete=False)

    def _taken(self, product: Product, terms: Terms, quote: Quote, name: str) -> Walk:
        """What an order takes from the book when it comes; nothing where it waits or does not reach it. `name`: its client id."""
        if not crosses(terms, quote):
            return Walk((), complete=False)
        limit = protected(terms.side, quote) if terms.limit_price is None else terms.limit_price
        levels = self.market.levels(product.product_id, terms.side, self.now_us)
        if is_chosen(self.habits.off_grid_share, f"off grid/{name}"):
            levels = off_grid(levels, terms.side, product)
        share = self.habits.fill_share
        if terms.quote_size is not None:
            walk = walk_quote(levels, limit, terms.quote_size * share, self.fees.taker, product)
        else:
            size = floor_to((terms.base_size or ZERO) * share, product.base_increment)
            walk = walk_base(levels, terms.side, limit, size, self.fees.taker)
        return walk if share == 1 else replace(walk, complete=False)

    def _place(self, request: OrderRequest, acceptable: Acceptable) -> Order:
        order = self.state.add_order(self._new_order(request, acceptable.terms, acceptable.product))
        if is_chosen(self.habits.fail_share, f"fail/{request.client_order_id}"):
            return self._ledger.finish(order, Status.FAILED, reasons.FAILED_LATER, self.now_us)
        if self.habits.fill_seconds and order.variant.startswith("market_"):
            self.any_kept_waiting = True
            waits = replace(order, fill_wall_seconds=self.wall_clock() + self.habits.fill_seconds)
            return self._ledger.hold(waits, required(acceptable.terms, acceptable.product, acceptable.quote, self.fees))
        begun = self._begun(order, acceptable, self.now_us)
        # Whoever looks for what is due looks at all that is open.
        self._ledger.opened()
        return begun

    def _begun(self, order: Order, acceptable: Acceptable, at_us: int) -> Order:
        """An order that comes, or is changed: it takes what it may, and rests, waits or ends with the rest."""
        book, terms, taken = self._ledger, acceptable.terms, acceptable.taken
        if order.variant == "limit_limit_fok" and not taken.complete:
            return book.finish(order, Status.CANCELLED, "Not filled whole: not enough liquidity at the limit", at_us)
        traded = book.trade(order, taken.fills, "TAKER", at_us)
        if taken.complete:
            return book.finish(traded, Status.FILLED, "", at_us)
        if order.variant in _AT_ONCE:
            return book.finish(traded, Status.CANCELLED, "Remainder cancelled: no liquidity at the limit", at_us)
        left = replace(terms, base_size=EXACT.subtract(terms.base_size or ZERO, taken.size))
        return book.hold(traded, required(left, acceptable.product, acceptable.quote, self.fees))

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
            created_us=self.now_us,
            updated_us=self.now_us,
            trigger=terms.trigger,
            stop_price=terms.stop_price,
            stop_limit=stop_limit(terms, product),
            attached="" if request.attached is None else json.dumps(request.attached.terms, separators=(",", ":")),
            created_wall_seconds=self.wall_clock(),
        )

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
        if order.cancel_wall_seconds is not None:
            return reasons.CANCEL_REPEATED
        if self.habits.cancel_seconds:
            self.state.save_order(replace(order, cancel_wall_seconds=self.wall_clock() + self.habits.cancel_seconds))
            self.any_cancel_queued = True
            return reasons.CANCEL_ACCEPTED
        self._ledger.finish(order, Status.CANCELLED, "User requested cancel", self.now_us)
        self._ledger.opened()
        return reasons.CANCEL_ACCEPTED
