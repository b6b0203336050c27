"""The exchange itself: takes orders, moves market time, and matches what rests.

Market time moves in steps; each step is matched and stored before anyone can see it, so a restart
never shows an earlier time than was shown before. All methods are synchronous: on one event loop
that makes each of them, and each client_order_id, atomic.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from exchange_sim import reasons
from exchange_sim.market import Market, Quote
from exchange_sim.matching import FillAmounts, fill_base, fill_quote
from exchange_sim.numbers import EXACT, ZERO
from exchange_sim.order_checks import (
    Fees,
    Situation,
    Terms,
    check_form,
    check_grid,
    check_price,
    check_state,
    check_value,
    crosses,
    parse_terms,
    required,
    taker_price,
)
from exchange_sim.order_request import OrderRequest
from exchange_sim.orders import Balance, Fill, Order, Status
from exchange_sim.products import Product, quote_currencies
from exchange_sim.reasons import Rejection
from exchange_sim.state import ExchangeState

_CLOCK = "clock_us"
_NAMESPACE = uuid5(NAMESPACE_URL, "simulated-exchange")
_RESTING = ("limit_limit_gtc", "limit_limit_gtd")


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

    def advance(self, to_us: int) -> None:
        """Moves market time forward and does everything that was due on the way, in its order."""
        if to_us < self.now_us:
            raise CannotMove("market time only moves forward")
        with self.state.transaction():
            due = [event for order in self.state.open_orders() if (event := self._due(order, to_us))]
            for at_us, _, order, touched in sorted(due, key=lambda event: event[:2]):
                if touched:
                    amounts = fill_base(order.limit_price or ZERO, order.base_size or ZERO, self.fees.maker)
                    self._fill(order, amounts, "MAKER", at_us)
                else:
                    self._finish(order, Status.EXPIRED, "Order expired", at_us)
            self.state.set_note(_CLOCK, str(to_us))
        self.now_us = to_us

    def transfer(self, currency: str, amount: Decimal) -> Balance:
        """Pays an amount in from outside or, below zero, out of what is available."""
        if EXACT.add(self.state.balance(currency).available, amount) < 0:
            raise CannotMove(f"not enough {currency} is available")
        with self.state.transaction():
            self.state.open_account(currency, ZERO)
            self.state.change(currency, available=amount)
        return self.state.balance(currency)

    def estimate(self, acceptable: Acceptable) -> FillAmounts:
        """What the order would trade now, or at its limit when it would rest."""
        terms = acceptable.terms
        if crosses(terms, acceptable.quote):
            return self._taker_fill(acceptable.product, terms, acceptable.quote)
        return fill_base(terms.limit_price or ZERO, terms.base_size or ZERO, self.fees.maker)

    def _due(self, order: Order, to_us: int) -> tuple[int, int, Order, bool] | None:
        """The next thing that happens to a resting order up to `to_us`: (when, sequence, order, fills)."""
        ends = order.end_us is not None and order.end_us <= to_us
        until = order.end_us if ends and order.end_us is not None else to_us
        limit = order.limit_price or ZERO
        touched = self.market.first_touch(order.product_id, order.side, limit, self.now_us, until)
        if touched is not None:
            return touched, order.sequence, order, True
        return (until, order.sequence, order, False) if ends else None

    def _place(self, request: OrderRequest, acceptable: Acceptable) -> Order:
        terms, quote = acceptable.terms, acceptable.quote
        order = self.state.add_order(self._new_order(request, terms))
        if crosses(terms, quote):
            amounts = self._taker_fill(acceptable.product, terms, quote)
            return self._fill(order, amounts, "TAKER", self.now_us)
        if request.variant not in _RESTING:
            return self._finish(order, Status.CANCELLED, "Remainder cancelled: no liquidity at the limit", self.now_us)
        held = replace(order, hold=required(terms, quote, self.fees))
        self.state.change(held.spends, available=-held.hold, hold=held.hold)
        self.state.save_order(held)
        return held

    def _new_order(self, request: OrderRequest, terms: Terms) -> Order:
        return Order(
            sequence=0,
            order_id=str(uuid5(_NAMESPACE, f"order/{request.client_order_id}")),
            client_order_id=request.client_order_id,
            product_id=request.product_id,
            side=request.side,
            variant=request.variant,
            terms=json.dumps(request.terms, separators=(",", ":")),
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
                entry_id=str(uuid5(_NAMESPACE, f"entry/{order.order_id}/{number}")),
                trade_id=str(uuid5(_NAMESPACE, f"trade/{order.order_id}/{number}")),
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
