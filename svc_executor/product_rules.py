"""The exchange's rules of each product, read when first needed and again when they are old."""

import asyncio
import time
from collections.abc import Callable

from exchange_client import ExchangeClient, ExchangeProduct
from meshkit.errors import InvalidRequest, Violation

_OLD_SECONDS = 300.0


class ProductRules:
    """Rules by product id; `monotonic` measures their age."""

    def __init__(self, exchange: ExchangeClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._monotonic = monotonic
        self._known: dict[str, tuple[ExchangeProduct, float]] = {}
        self._turn = asyncio.Lock()

    async def of(self, product_id: str) -> ExchangeProduct:
        """The product's rules; InvalidRequest for one the exchange does not know."""
        async with self._turn:
            known = self._known.get(product_id)
            if known is not None and self._monotonic() - known[1] < _OLD_SECONDS:
                return known[0]
            found = await self._exchange.products([product_id])
            if not found:
                why = f"{product_id} is not a product of the exchange"
                raise InvalidRequest([Violation("recommendation.product_id", "UNKNOWN_PRODUCT", why)])
            self._known[product_id] = (found[0], self._monotonic())
            return found[0]
