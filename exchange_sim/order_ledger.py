"""What an order moves: holds, fills and its end, each inside the caller's transaction."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal

from exchange_sim.market import Market
from exchange_sim.matching import FillAmounts
from exchange_sim.numbers import EXACT, ZERO, plain
from exchange_sim.order_checks import bracket_stop_limit
from exchange_sim.orders import Fill, Order, Status, Trigger, attached_id, id_of
from exchange_sim.state import ExchangeState


class OrderLedger:
    """The ledger's side of orders. `opened` are brackets that came with an end and that nobody has looked at yet."""

    def __init__(self, state: ExchangeState, market: Market, wall_clock: Callable[[], float]) -> None:
        self._state = state
        self._market = market
        self._wall_clock = wall_clock
        self._opened: list[Order] = []

    def opened(self) -> list[Order]:
        """The new brackets, once."""
        found, self._opened = self._opened, []
        return found

    def hold(self, order: Order, amount: Decimal) -> Order:
        """The order with that much of what it spends on hold; what it held before is free again."""
        change = EXACT.subtract(amount, order.hold)
        self._state.change(order.spends, available=-change, hold=change)
        held = replace(order, hold=amount)
        self._state.save_order(held)
        return held

    def trade(self, order: Order, fills: Iterable[FillAmounts], liquidity: str, at_us: int) -> Order:
        """Fills move both balances, out of the hold as far as it goes. The order is not stored yet."""
        for amounts in fills:
            order = self._traded(order, amounts, liquidity, at_us)
        return order

    def _traded(self, order: Order, amounts: FillAmounts, liquidity: str, at_us: int) -> Order:
        buying = order.side == "BUY"
        paid = EXACT.add(amounts.value, amounts.fee) if buying else amounts.size
        received = amounts.size if buying else EXACT.subtract(amounts.value, amounts.fee)
        from_hold = min(order.hold, paid)
        self._state.change(order.spends, available=EXACT.subtract(from_hold, paid), hold=-from_hold)
        self._state.change(order.receives, available=received)
        number = order.fill_count + 1
        self._state.add_fill(
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
        return replace(
            order,
            filled_size=EXACT.add(order.filled_size, amounts.size),
            filled_value=EXACT.add(order.filled_value, amounts.value),
            fees=EXACT.add(order.fees, amounts.fee),
            fill_count=number,
            last_fill_us=at_us,
            updated_us=at_us,
            hold=EXACT.subtract(order.hold, from_hold),
        )

    def finish(self, order: Order, status: Status, message: str, at_us: int) -> Order:
        """Ends the order, gives back whatever it still holds, and opens the bracket for what it bought, if it brings one."""
        self._state.change(order.spends, available=order.hold, hold=-order.hold)
        done = replace(
            order,
            status=status,
            message=message,
            updated_us=at_us,
            hold=ZERO,
            done_wall_seconds=self._wall_clock(),
        )
        self._state.save_order(done)
        if done.attached and done.filled_size:
            self._opened.append(self._bring(done, at_us))
        return done

    def _bring(self, parent: Order, at_us: int) -> Order:
        terms = {**json.loads(parent.attached), "base_size": plain(parent.filled_size)}
        product = self._market.product(parent.product_id)
        stop = Decimal(terms["stop_trigger_price"])
        order_id = attached_id(parent.order_id)
        bracket = Order(
            sequence=0,
            order_id=order_id,
            client_order_id=order_id,
            product_id=parent.product_id,
            side="SELL",
            variant="trigger_bracket_gtc",
            terms=json.dumps(terms, separators=(",", ":")),
            base_size=parent.filled_size,
            quote_size=None,
            limit_price=Decimal(terms["limit_price"]),
            end_us=None,
            created_us=at_us,
            updated_us=at_us,
            trigger=Trigger.DOWN,
            stop_price=stop,
            stop_limit=stop if product is None else bracket_stop_limit("SELL", stop, product),
            parent_id=parent.order_id,
            created_wall_seconds=self._wall_clock(),
        )
        return self.hold(self._state.add_order(bracket), parent.filled_size)
