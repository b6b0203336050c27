"""The taker fee that decisions of the signal service reckon with, from the setting and the exchange's own tier."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import MeshError
from meshkit.kit import Kit
from svc_signal.settings import SignalSettings

_EVERY_SECONDS = 60.0
_FEE = text("SELECT taker FROM fee_in_force")


async def taker_fee(connection: AsyncConnection, settings: SignalSettings) -> float:
    """Share of the value per side."""
    exchange = (await connection.execute(_FEE)).scalar_one_or_none()
    return float(settings.reckoned_taker_fee(exchange))


class FeeMemory:
    """The fee that was read last, so that no bar waits for a query; a tier changes once in weeks."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings]) -> None:
        self._settings = settings
        self._kit = kit
        self.taker = float(settings.taker_fee)

    async def run(self) -> None:
        """Reads it for ever; through an outage the last known fee holds."""
        while True:
            try:
                async with self._kit.autocommit.connect() as connection:
                    self.taker = await taker_fee(connection, self._settings)
            except MeshError as error:
                self._kit.log.warning("fee_not_read", why=error.message)
            await asyncio.sleep(_EVERY_SECONDS)
