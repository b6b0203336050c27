"""What an exchange tells without being asked: that it is there, that an order changed, what somebody bids.

A feed is fast and proves nothing: what it did not tell is not told later, and what it told is asked for before anything is
believed of an order. `Feeds` is what an adapter offers; each call is one connection, which ends with `FeedLost`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tradekit.units import BaseSize, Price, ProductId


@dataclass(frozen=True, slots=True)
class Synchronised:
    """From here on everything is told. What happened before may have been missed, and must be asked for."""


@dataclass(frozen=True, slots=True)
class Alive:
    """The exchange is there and has sent whatever it had to tell."""


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """The exchange did something to an order. `filled_size` is in base units; `ended`: no later change is possible."""

    exchange_order_id: str
    client_order_id: str
    filled_size: BaseSize
    ended: bool


@dataclass(frozen=True, slots=True)
class BestBid:
    """The best price that somebody bids for a product; None where nobody does, or where it is not told."""

    product_id: ProductId
    price: Price | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that told nothing: repeated, late, or of a kind that nobody here reads."""

    why: str


FeedEvent = Synchronised | Alive | OrderChanged | BestBid | Ignored


class FeedFault(StrEnum):
    """Why a feed cannot be relied on any more."""

    SILENT = "SILENT"
    GAP = "GAP"
    MALFORMED = "MALFORMED"
    REFUSED = "REFUSED"
    ENDED = "ENDED"


class FeedLost(Exception):
    """The connection is over, and something may have been missed."""

    def __init__(self, fault: FeedFault, why: str) -> None:
        super().__init__(f"{fault}: {why}")
        self.fault = fault
        self.why = why


class Feeds(Protocol):
    """The feeds of one exchange. Each call connects, and raises FeedLost when the feed cannot be relied on any more; a feed
    without a sign of life for `silent_seconds` is one."""

    def orders(self) -> AsyncGenerator[FeedEvent, None]:
        """Changes of the account's orders, whoever made them."""

    def prices(self, product_ids: Iterable[ProductId]) -> AsyncGenerator[FeedEvent, None]:
        """Best bids of these products."""
