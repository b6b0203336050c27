"""Knows what the exchange charges: reads the fee tier at the start, daily, and when a fill was charged otherwise."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from exchange_client import Exchange, ExchangeRefused, ExchangeUnavailable, FeeRates
from meshkit import database
from meshkit.clock import Clock
from schema.execution import fee_tiers
from tradekit.decimals import plain, to_stored_scale
from tradekit.fees import reckoned_taker_fee

_EVERY = timedelta(days=1)
_RETRY_SECONDS = 60.0
# The newest tier, and whether it is to be read again: it is a day old, or a fill since was charged otherwise. A fee is rounded
# by the exchange in a way that it does not document: what is within this is the same rate.
_NEWEST = text("""
    SELECT tier.maker, tier.taker, tier.tier, tier.observed_at,
      clock_timestamp() - tier.observed_at >= :every OR EXISTS (
        SELECT 1 FROM fills
        WHERE created_at > tier.observed_at AND liquidity IN ('TAKER', 'MAKER')
          AND abs(commission - price * size * CASE liquidity WHEN 'TAKER' THEN tier.taker ELSE tier.maker END)
              > greatest(0.02 * commission, 0.01)
      ) AS due
    FROM (SELECT * FROM fee_tiers ORDER BY fee_tier_id DESC LIMIT 1) AS tier
""").bindparams(every=_EVERY)


@dataclass(frozen=True, slots=True)
class FeeView:
    """The newest tier, and what is reckoned with; shares of the value. `due`: it is to be read again."""

    maker: Decimal
    taker: Decimal
    tier: str
    observed_at: datetime
    setting: Decimal | None
    due: bool = False

    @property
    def reckoned(self) -> Decimal:
        """The taker fee that decisions reckon with."""
        return reckoned_taker_fee(self.setting, self.taker)


async def newest_fees(connection: AsyncConnection, setting: Decimal | None) -> FeeView | None:
    """The newest tier, None until one was read."""
    row = (await connection.execute(_NEWEST)).one_or_none()
    if row is None:
        return None
    maker, taker = Decimal(plain(row.maker)), Decimal(plain(row.taker))
    return FeeView(maker, taker, row.tier, row.observed_at, setting, row.due)


class FeeKeeper:
    """Asked once in each reconciliation; most times there is nothing to do."""

    def __init__(
        self, engine: AsyncEngine, exchange: Exchange, setting: Decimal | None, clock: Clock, log: Any
    ) -> None:
        self._engine = engine
        self._autocommit = database.autocommit(engine)
        self._exchange = exchange
        self._setting = setting
        self._clock = clock
        self._log = log
        self._read = False
        self._not_before = 0.0
        self._charged: Decimal | None = None

    @property
    def highest(self) -> Decimal:
        """The most that an order may be charged, share of its value; until the tier was read, as a setting or the exchange's
        first tier has it."""
        return reckoned_taker_fee(self._setting, self._charged)

    async def refresh_if_due(self) -> None:
        """Reads the tier where it is due; a failure is tried again a minute later and changes nothing."""
        if self._clock.monotonic() < self._not_before:
            return
        async with self._autocommit.connect() as connection:
            known = await newest_fees(connection, self._setting)
        if known is not None:
            self._charged = max(known.maker, known.taker)
        if self._read and known is not None and not known.due:
            return
        try:
            rates = await self._exchange.fee_rates()
        except (ExchangeUnavailable, ExchangeRefused) as error:
            self._not_before = self._clock.monotonic() + _RETRY_SECONDS
            self._log.warning("fees_not_read", why=error.message)
            return
        self._read = True
        self._charged = max(rates.maker, rates.taker)
        await self._store(rates, known)

    async def _store(self, rates: FeeRates, known: FeeView | None) -> None:
        maker, taker = to_stored_scale(rates.maker), to_stored_scale(rates.taker)
        async with self._engine.begin() as connection:
            if known is not None and (known.maker, known.taker, known.tier) == (maker, taker, rates.tier):
                newest = select(func.max(fee_tiers.c.fee_tier_id)).scalar_subquery()
                changed = update(fee_tiers).where(fee_tiers.c.fee_tier_id == newest)
                await connection.execute(changed.values(observed_at=func.clock_timestamp()))
                return
            values = {"maker": maker, "taker": taker, "tier": rates.tier}
            await connection.execute(insert(fee_tiers).values(**values, observed_at=func.clock_timestamp()))
        self._log.info("fee_tier", tier=rates.tier, maker=plain(maker), taker=plain(taker))
