"""Marks the equity at every bar's close, so that loss and drawdown trip their locks even while nobody trades.

Called under the account lock, by each assessment before it decides and by a task of its own at every new market
watermark: whoever comes first marks, the other finds it done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, text

from meshkit.dedicated import Connection
from schema.base import Time
from svc_risk import store
from svc_risk.account_at import read_account_at
from svc_risk.account_state import VolatilityMemory, read_hours, read_marks, read_volatilities
from svc_risk.equity import CashChange, Changes, EquityMark, HoldingChange, equity_mark
from svc_risk.exposed import Mark
from svc_risk.known import AccountRow, Highs, Moment
from svc_risk.locks import new_locks, tripped
from svc_risk.parameters import Parameters
from svc_risk.volatility import sigma
from tradekit.bars import bar_start
from tradekit.units import BaseSize, ProductId, QuoteSize

# After an outage longer than this many bars the oldest stay without a mark; nothing was decided in them.
MOST_MARKS = 200

# Cash and holdings now, which have no time, and what fills moved, by the time of their decision; cash has no product. What an
# operator brought in or took out counts as if it had always been so: the marks and the high-water mark are shifted when it is
# booked (`risk_transfer`), and taking it back here would look like a loss.
_BOOKS = text("""
    SELECT NULL::timestamptz AS as_of, NULL::text AS product_id, amount FROM risk_cash WHERE currency = :currency
    UNION ALL
    SELECT NULL, product_id, base_size FROM risk_positions WHERE base_size > 0
    UNION ALL
    SELECT as_of, NULL, sum(amount) FROM risk_cash_changes WHERE currency = :currency AND as_of >= :first GROUP BY as_of
    UNION ALL
    SELECT as_of, product_id, sum(CASE WHEN side = 'BUY' THEN size ELSE -size END) FROM risk_fills
    WHERE as_of >= :first GROUP BY as_of, product_id
""").bindparams(bindparam("first", type_=Time))


@dataclass(frozen=True, slots=True)
class Books:
    """The account now, and what changed since the first bar that is to be marked. `cash` None: it has no opening entry."""

    cash: QuoteSize | None
    held: Mapping[ProductId, BaseSize]
    changes: Changes

    @property
    def products(self) -> list[ProductId]:
        """All that is held, or was."""
        return sorted({*self.held, *(change.product_id for change in self.changes.held)})


@dataclass(frozen=True, slots=True)
class Marker:
    """Marks one account, in one currency, on one grid of bars."""

    currency: str
    granularity: int
    p: Parameters
    memory: VolatilityMemory

    async def mark_up_to(
        self, connection: Connection, account: AccountRow, moment: Moment, as_ofs: Sequence[datetime]
    ) -> Highs:
        """Marks every bar that has closed up to each of `as_ofs`, one after the other, and has no mark."""
        high = account.high_water_mark
        times = self._due(moment, as_ofs)
        books = await self._books(connection, times[0]) if times else None
        if books is None or books.cash is None:
            return Highs(high)
        made: list[tuple[datetime, QuoteSize | None]] = []
        for time, marks, sigmas in await self._market(connection, books.products, times):
            prices = {product: mark.price for product, mark in marks.items()}
            mark = equity_mark(time, books.cash, books.held, books.changes, prices, sigmas, high, self.p)
            if mark is None:
                continue  # the next bar with prices is marked, and this one never was
            await self._store(connection, mark, moment)
            high = mark.high_water_mark
            made.append((time, high))
        if high != account.high_water_mark:
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

    async def _books(self, connection: Connection, first: datetime) -> Books:
        rows = (await connection.execute(_BOOKS, {"currency": self.currency, "first": first})).all()
        now, later = [row for row in rows if row.as_of is None], [row for row in rows if row.as_of is not None]
        return Books(
            cash=next((row.amount for row in now if row.product_id is None), None),
            held={ProductId(row.product_id): BaseSize(row.amount) for row in now if row.product_id is not None},
            changes=Changes(
                [CashChange(row.as_of, row.amount) for row in later if row.product_id is None],
                [HoldingChange(row.as_of, row.product_id, row.amount) for row in later if row.product_id is not None],
            ),
        )

    async def _market(
        self, connection: Connection, products: Sequence[ProductId], times: Sequence[datetime]
    ) -> list[tuple[datetime, dict[ProductId, Mark], dict[ProductId, float | None]]]:
        """Each time with the newest closes of then and the volatilities up to then."""
        if not products:
            return [(time, {}, {}) for time in times]
        marks = {time: await read_marks(connection, products, self.granularity, time) for time in times}
        if len(times) == 1:
            # The bar's assessments need the same volatilities: who comes first measures them for both.
            (time,) = times
            found = await read_volatilities(
                connection, products, self.granularity, time, marks[time], self.p, self.memory
            )
            return [(time, marks[time], {product: one.sigma_14d for product, one in found.items()})]
        hours = await read_hours(connection, products, self.granularity, times[0], times[-1], self.p)
        return [
            (time, marks[time], {product: sigma(hours.get(product, ()), time, self.p.vol_bars) for product in products})
            for time in times
        ]

    async def _store(self, connection: Connection, mark: EquityMark, moment: Moment) -> None:
        await store.insert_mark(connection, mark)
        (at,) = (await read_account_at(connection, [mark.as_of], self.currency, moment.machine_time)).values()
        found = tripped(mark.equity, at.day_open, mark.high_water_mark, mark.as_of, self.p)
        await store.insert_locks(connection, new_locks(found, [lock for _, lock in at.locks]))
