"""Marks the equity at every bar's close, so that loss and drawdown trip their locks even while nobody trades.

Called under the account lock, by each assessment before it decides and by a task of its own at every new market
watermark: whoever comes first marks, the other finds it done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from meshkit.dedicated import Connection
from svc_risk import store
from svc_risk.account_at import read_account_at
from svc_risk.account_state import read_hours, read_marks
from svc_risk.equity import CashChange, Changes, EquityMark, HoldingChange, equity_mark
from svc_risk.known import AccountRow, Highs, Moment
from svc_risk.locks import new_locks, tripped
from svc_risk.parameters import Parameters
from svc_risk.volatility import HourClose, sigma
from tradekit.bars import bar_start
from tradekit.units import BaseSize, ProductId, QuoteSize

# After an outage longer than this many bars the oldest stay without a mark; nothing was decided in them.
MOST_MARKS = 200

# One row at least: cash alone, or with each product that is held.
_HELD = text("""
    SELECT cash.amount AS cash, product_id, base_size
    FROM (SELECT (SELECT amount FROM risk_cash WHERE currency = :currency) AS amount) AS cash
    LEFT JOIN risk_positions ON base_size > 0
""")
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
        self, connection: Connection, account: AccountRow, moment: Moment, as_ofs: Sequence[datetime]
    ) -> Highs:
        """Marks every bar that has closed up to each of `as_ofs`, one after the other, and has no mark."""
        high = account.high_water_mark
        times = self._due(moment, as_ofs)
        rows = (await connection.execute(_HELD, {"currency": self.currency})).all() if times else ()
        cash = rows[0].cash if rows else None
        if cash is None:
            return Highs(high)
        held = {ProductId(row.product_id): BaseSize(row.base_size) for row in rows if row.product_id is not None}
        changes = await self._changes(connection, times[0])
        products = sorted(set(held) | {change.product_id for change in changes.held})
        hours = await read_hours(connection, products, self.granularity, times[0], times[-1], self.p)
        made: list[tuple[datetime, QuoteSize | None]] = []
        for time in times:
            marks = await read_marks(connection, products, self.granularity, time)
            prices = {product: mark.price for product, mark in marks.items()}
            sigmas = {product: self._sigma(hours.get(product, []), time) for product in products}
            mark = equity_mark(time, cash, held, changes, prices, sigmas, high, self.p)
            if mark is None:
                continue  # the next bar with prices is marked, and this one never was
            await self._store(connection, mark, moment)
            high = mark.high_water_mark
            made.append((time, high))
        await store.set_high_water_mark(connection, high)
        return Highs(account.high_water_mark, tuple(made))

    def _due(self, moment: Moment, as_ofs: Sequence[datetime]) -> list[datetime]:
        """Closes to mark. An as_of that runs ahead of the market by more than a bar marks nothing: it may be a lie."""
        bar, newest = timedelta(seconds=self.granularity), moment.marked_to
        times: list[datetime] = []
        for target in (bar_start(as_of, self.granularity) for as_of in as_ofs):
            if moment.market_time is None or target > moment.market_time + bar:
                continue
            count = 1 if newest is None else min(int((target - newest) / bar), MOST_MARKS)
            times += [target - bar * back for back in range(count - 1, -1, -1)]
            newest = times[-1] if times else newest
        return times

    async def _changes(self, connection: Connection, first: datetime) -> Changes:
        cash = await connection.execute(_CASH_CHANGES, {"currency": self.currency, "first": first})
        base = await connection.execute(_BASE_CHANGES, {"first": first})
        return Changes(
            [CashChange(row.as_of, row.amount) for row in cash.all()],
            [HoldingChange(row.as_of, row.product_id, row.amount) for row in base.all()],
        )

    def _sigma(self, closes: list[HourClose], as_of: datetime) -> float | None:
        return sigma(closes, as_of, self.p.vol_bars)

    async def _store(self, connection: Connection, mark: EquityMark, moment: Moment) -> None:
        await store.insert_mark(connection, mark)
        (at,) = (await read_account_at(connection, [mark.as_of], self.currency, moment.machine_time)).values()
        found = tripped(mark.equity, at.day_open, mark.high_water_mark, mark.as_of, self.p)
        await store.insert_locks(connection, new_locks(found, [lock for _, lock in at.locks]))
