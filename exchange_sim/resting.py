"""What happens next to an order that is open: it fills, its stop is reached, or its time is over. Pure, from the market alone."""

from dataclasses import dataclass
from enum import IntEnum

from exchange_sim.market import Market
from exchange_sim.orders import Order, Trigger


class Happens(IntEnum):
    """In the order in which things of one instant happen to one order: the worse first."""

    TRIGGERS = 0
    FILLS = 1
    EXPIRES = 2


@dataclass(frozen=True, slots=True)
class Event:
    """One thing at one moment."""

    at_us: int
    happens: Happens
    order: Order

    def __lt__(self, other: "Event") -> bool:
        return (self.at_us, self.order.sequence, self.happens) < (other.at_us, other.order.sequence, other.happens)


def next_event(order: Order, market: Market, after_us: int, to_us: int) -> Event | None:
    """The first thing that happens to the order in [after, to], if any."""
    ends = order.end_us is not None and order.end_us <= to_us
    until = order.end_us if ends and order.end_us is not None else to_us
    found = []
    if order.waits and order.stop_price is not None:
        rising = order.trigger is Trigger.UP
        reached = market.first_reach(order.product_id, order.stop_price, rising, after_us, until)
        if reached is not None:
            found.append(Event(reached, Happens.TRIGGERS, order))
    if order.in_book is not None:
        touched = market.first_touch(order.product_id, order.side, order.in_book, after_us, until)
        if touched is not None:
            found.append(Event(touched, Happens.FILLS, order))
    if ends:
        found.append(Event(until, Happens.EXPIRES, order))
    return min(found, default=None)
