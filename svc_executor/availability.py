"""What the exchange has free of a currency, asked within a bound: an exit never waits for this answer, it only profits."""

import asyncio
from decimal import Decimal, localcontext
from typing import Any

from exchange_client import Exchange
from meshkit.errors import MeshError
from tradekit.decimals import CONTEXT, ZERO

PATIENCE_SECONDS = 1.5


class Availability:
    """Free balances by the exchange's own list of wallets."""

    def __init__(self, exchange: Exchange, log: Any) -> None:
        self._exchange = exchange
        self._log = log

    async def of(self, currency: str) -> Decimal | None:
        """Units not on hold; None if the exchange does not say in time."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                accounts = await self._exchange.accounts()
        except (MeshError, TimeoutError) as error:
            self._log.warning("availability_unknown", currency=currency, why=type(error).__name__)
            return None
        with localcontext(CONTEXT):
            return sum((one.available for one in accounts if one.currency == currency), ZERO)
