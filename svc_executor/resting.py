"""Orders that rest at the exchange: whether it has done anything to them, asked of all of them at once."""

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from exchange_client import Exchange
from tradekit.units import BaseSize


class Resting(Protocol):
    """An order that the exchange has, and what of it is recorded as filled."""

    @property
    def order_id(self) -> UUID: ...
    @property
    def exchange_order_id(self) -> str | None: ...
    @property
    def filled_size(self) -> BaseSize: ...


async def with_news(exchange: Exchange, resting: Iterable[Resting]) -> set[UUID]:
    """Which of these the exchange has ended, filled further, or does not show: one request for all of them. What it does not have
    yet is none of them. ExchangeUnavailable."""
    known = {one.exchange_order_id: one for one in resting if one.exchange_order_id is not None}
    listed = await exchange.orders_by_id(known) if known else ()
    quiet = {
        found.order_id
        for found in listed
        if not found.terminal and found.order_id in known and found.filled_size == known[found.order_id].filled_size
    }
    return {one.order_id for name, one in known.items() if name not in quiet}
