"""Marks the equity at every bar's close, so that loss and drawdown trip their locks even while nobody trades.

Called under the account lock, by each assessment before it decides and by a task of its own at every new market
watermark: whoever comes first marks, the other finds it done.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from svc_risk import store
from svc_risk.account_state import read_hours, read_marks
from svc_risk.equity import CashChange, Changes, EquityMark, HoldingChange, equity_mark
from svc_risk.locks import new_locks, tripped
from svc_risk.parameters import Parameters
from svc_risk.store import AccountRow, Moment
from svc_risk.volatility import HourClose, sigma
from tradekit.bars import bar_start
from tradekit.units import BaseSize, ProductId

# After an outage longer than this many bars the oldest stay without a mark; nothing was decided in them.
MOST_MARKS = 200

_CASH = text("SELECT amount FROM risk_cash WHERE currency = :currency")
_HELD = text("SELECT product_id, base_size FROM risk_positions WHERE base_size > 0")
# What fills moved. What an operator brought in or took out counts as if it had always been so: the marks and the high-water
# mark are shifted when it is booked (`risk_transfer`), and taking it back here would look like a loss.
_CASH_CHANGES = text("""
    SELECT as_of, sum(amount) AS amount FROM risk_cash_changes
    WHERE currency = :currency AND as_of >= :first
    GROUP BY as_of
""")
_BASE_CHANGES = text("""
    SELECT as_of, product_id, sum(CASE WHEN side = 'BUY' THEN size ELSE -size END) AS amount FROM risk_fills
    WHERE as_of >= :first GROUP BY as_of, product_id
""")


@dataclass(frozen=True, slots=True)
class Marker:
    """Marks one account, in one currency, on one grid of bars."""

    currency: str
    granularity: int
    p: Parameters

    async def mark_up_to(
        self, connection: AsyncConnection, account: AccountRow, moment: Moment, as_of: datetime
    ) -> AccountRow:
        """Marks every bar that has closed up to `as_of` and has no mark; gives the account with its new high."""
        times = await self._due(connection, moment, as_of)
        cash = (await connection.execute(_CASH, {"currency": self.currency})).scalar_one_or_none() if times else None
        if not times or cash is None:
            return account
        rows = (await connection.execute(_HELD)).all()
        held = {ProductId(row.product_id): BaseSize(row.base_size) for row in rows}
        changes = await self._changes(connection, times[0])
        products = sorted(set(held) | {change.product_id for change in changes.held})
        hours = await read_hours(connection, products, self.granularity, times[0], times[-1], self.p)
        high = account.high_water_mark
        for time in times:
            marks = await read_marks(connection, products, self.granularity, time)
            prices = {product: mark.price for product, mark in marks.items()}
            sigmas = {product: self._sigma(hours.get(product, []), time) for product in products}
            mark = equity_mark(time, cash, held, changes, prices, sigmas, high, self.p)
            if mark is None:
                continue  # the next bar with prices is marked, and this one never was
            await self._store(connection, mark)
            high = mark.high_water_mark
        await store.set_high_water_mark(connection, high)
        return AccountRow(account.trading_state, account.note, high, account.version)

    async def _due(self, connection: AsyncConnection, moment: Moment, as_of: datetime) -> list[datetime]:
        """Closes to mark. An as_of that runs ahead of the market by more than a bar marks nothing: it may be a lie."""
        bar = timedelta(seconds=self.granularity)
        target = bar_start(as_of, self.granularity)
        if moment.market_time is None or target > moment.market_time + bar:
            return []
        newest = await store.newest_mark(connection)
        if newest is None:
            return [target]
        count = min(int((target - newest) / bar), MOST_MARKS)
        return [target - bar * back for back in range(count - 1, -1, -1)]

    async def _changes(self, connection: AsyncConnection, first: datetime) -> Changes:
        cash = await connection.execute(_CASH_CHANGES, {"currency": self.currency, "first": first})
        base = await connection.execute(_BASE_CHANGES, {"first": first})
        return Changes(
            [CashChange(row.as_of, row.amount) for row in cash.all()],
            [HoldingChange(row.as_of, row.product_id, row.amount) for row in base.all()],
        )

    def _sigma(self, closes: list[HourClose], as_of: datetime) -> float | None:
        return sigma(closes, as_of, self.p.vol_bars)

    async def _store(self, connection: AsyncConnection, mark: EquityMark) -> None:
        await store.insert_mark(connection, mark)
        opening = await store.day_open(connection, mark.as_of)
        found = tripped(mark.equity, opening, mark.high_water_mark, mark.as_of, self.p)
        have = [lock for _, lock in await store.locks_in_force(connection, mark.as_of)] if found else []
        await store.insert_locks(connection, new_locks(found, have))
