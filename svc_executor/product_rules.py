"""The exchange's rules of each product, read when first needed and again when they are old."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from exchange_client import Exchange, ExchangeProduct
from meshkit.errors import InvalidRequest, MeshError, Violation
from svc_executor.locks import KeyedLocks
from tradekit.states import Side
from tradekit.units import ProductId

_OLD_SECONDS = 300.0
# How long an exit whose rules are known waits for newer ones.
_PATIENCE_SECONDS = 1.5


class ProductRules:
    """Rules by product id; `monotonic` measures their age."""

    def __init__(self, exchange: Exchange, log: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._log = log
        self._monotonic = monotonic
        self._known: dict[ProductId, tuple[ExchangeProduct, float]] = {}
        self._turns = KeyedLocks()

    async def of(self, product_id: ProductId, side: Side) -> ExchangeProduct:
        """The product's rules; InvalidRequest for one the exchange does not know. Old ones serve an exit where the exchange
        does not tell newer ones in time: an increment seldom changes, and the exchange would refuse what it forbids."""
        async with self._turns.hold(product_id):
            known = self._known.get(product_id)
            if known is not None and self._monotonic() - known[1] < _OLD_SECONDS:
                return known[0]
            if known is None or side is Side.BUY:
                return await self._read(product_id)
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    return await self._read(product_id)
            except (MeshError, TimeoutError) as error:
                self._log.warning("product_rules_old", product_id=product_id, why=type(error).__name__)
                return known[0]

    async def _read(self, product_id: ProductId) -> ExchangeProduct:
        found = await self._exchange.products([product_id])
        if not found:
            why = f"{product_id} is not a product of the exchange"
            raise InvalidRequest([Violation("recommendation.product_id", "UNKNOWN_PRODUCT", why)])
        self._known[product_id] = (found[0], self._monotonic())
        return found[0]
