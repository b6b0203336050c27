"""Reads account and market as of a market time: set-based queries, each one statement, into the core's types.

Candles that close after `as_of` are not seen, so the same as_of reads the same market however late it is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.base import Time
from svc_risk.exposure import can_be_a_mark
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding
from svc_risk.volatility import SHOCK_HOURS, HourClose, Volatility, measure
from tradekit.decimals import ONE
from tradekit.exits import is_dust
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

_ONE_UNIT = BaseSize(ONE)

_HOLDINGS = text("""
    SELECT product_id, sum(base_size) AS base_size, sum(open_buy) AS open_buy, sum(open_sell) AS open_sell,
           sum(reserved_buy) AS reserved_buy, bool_or(order_unknown) AS order_unknown,
           max(base_increment) AS base_increment, max(base_min_size) AS base_min_size,
           max(quote_min_size) AS quote_min_size
    FROM (
      SELECT product_id, base_size, 0 AS open_buy, 0 AS open_sell, 0 AS reserved_buy,
             false AS order_unknown
      FROM risk_positions WHERE base_size > 0
      UNION ALL
      SELECT product_id, 0,
             CASE WHEN side = 'BUY' THEN greatest(quote_size - filled_value - total_fees, 0) ELSE 0 END,
             CASE WHEN side = 'SELL' THEN greatest(base_size - filled_size, 0) ELSE 0 END, 0, state = 'UNKNOWN'
      FROM risk_open_orders
      UNION ALL
      SELECT product_id, 0, 0, 0, quote_amount, false
      FROM risk_reservations WHERE side = 'BUY' AND state = 'HELD' AND expires_at > :machine_time
    ) AS parts LEFT JOIN risk_products USING (product_id)
    GROUP BY product_id ORDER BY product_id
""")
_CASH = text("SELECT amount FROM risk_cash WHERE currency = :currency")
_MARKS = text("""
    SELECT wanted.product_id, newest.start, newest.close
    FROM unnest(:products) AS wanted(product_id)
    CROSS JOIN LATERAL (
      SELECT start, close FROM risk_candles AS c
      WHERE c.product_id = wanted.product_id AND c.granularity = :granularity AND c.start <= :newest_start
      ORDER BY start DESC LIMIT 1
    ) AS newest
""").bindparams(bindparam("products", type_=ARRAY(Text())))
_HOURLY = text("""
    SELECT product_id, start, close::float8 AS close, (volume * close)::float8 AS quote_volume
    FROM risk_candles
    WHERE product_id = ANY(:products) AND granularity = :granularity AND start > :oldest AND start <= :newest_start
    ORDER BY product_id, start
""").bindparams(bindparam("products", type_=ARRAY(Text())), bindparam("oldest", type_=Time))
# Finer bars are folded into their hour: its last close, the time of it, and the hour's turnover.
_HOURS = text("""
    SELECT product_id, max(start) AS start, (array_agg(close ORDER BY start DESC))[1]::float8 AS close,
           sum(volume * close)::float8 AS quote_volume
    FROM risk_candles
    WHERE product_id = ANY(:products) AND granularity = :granularity AND start > :oldest AND start <= :newest_start
    GROUP BY product_id, floor(extract(epoch FROM start) / 3600)
    ORDER BY product_id, start
""").bindparams(bindparam("products", type_=ARRAY(Text())), bindparam("oldest", type_=Time))


@dataclass(frozen=True, slots=True)
class Mark:
    """Newest close of a product and the time it was true."""

    price: Price
    time: datetime


@dataclass(frozen=True, slots=True)
class AccountState:
    """Account and market together. `cash` is None while the ledger has no opening entry."""

    cash: QuoteSize | None
    holdings: tuple[Holding, ...]
    marks: dict[ProductId, Mark]
    volatility: dict[ProductId, Volatility]


class VolatilityMemory:
    """Volatilities of the newest market time, so that a bar's many requests measure each product once.

    Only what is complete is kept (the bar's own candle is there, the history is long enough): more cannot come.
    """

    def __init__(self) -> None:
        self._as_of: datetime | None = None
        self._known: dict[ProductId, Volatility] = {}

    def recall(self, as_of: datetime) -> dict[ProductId, Volatility]:
        """What is known of a market time."""
        return dict(self._known) if as_of == self._as_of else {}

    def keep(self, as_of: datetime, measured: dict[ProductId, Volatility]) -> None:
        """Remembers complete measurements; a newer market time replaces an older one."""
        if self._as_of is None or as_of > self._as_of:
            self._as_of, self._known = as_of, {}
        if as_of == self._as_of:
            self._known |= measured


async def read_account_state(
    connection: AsyncConnection,
    *,
    currency: str,
    granularity: int,
    as_of: datetime,
    machine_time: datetime,
    also: Sequence[ProductId],
    p: Parameters,
    memory: VolatilityMemory,
) -> AccountState:
    """The account with marks and volatility of everything that is exposure, and of the products in `also`."""
    cash = (await connection.execute(_CASH, {"currency": currency})).scalar_one_or_none()
    rows = (await connection.execute(_HOLDINGS, {"machine_time": machine_time})).all()
    products = sorted({row.product_id for row in rows} | set(also))
    marks = await read_marks(connection, products, granularity, as_of)
    volatility = memory.recall(as_of)
    missing = [product for product in products if product not in volatility]
    if missing:
        hours = await read_hours(connection, missing, granularity, as_of, as_of, p)
        measured = {product: measure(hours.get(product, ()), as_of, p.vol_bars) for product in missing}
        fresh = {product for product, mark in marks.items() if mark.time == as_of}
        memory.keep(as_of, {n: v for n, v in measured.items() if n in fresh and v.real_bars >= p.min_real_bars})
        volatility |= measured
    return AccountState(cash, tuple(_holding(row, marks, volatility) for row in rows), marks, volatility)


def _holding(row: Any, marks: dict[ProductId, Mark], volatility: dict[ProductId, Volatility]) -> Holding:
    mark, known = marks.get(row.product_id), volatility[row.product_id]
    price = mark.price if mark is not None and can_be_a_mark(mark.price, row.base_size) else None
    # A product that the exchange does not list has no rules: what is held of it is no dust.
    dust = row.base_increment is not None and is_dust(
        row.base_size, price, row.base_increment, row.base_min_size, row.quote_min_size
    )
    return Holding(
        product_id=row.product_id,
        base_size=row.base_size,
        mark=price,
        sigma_14d=known.sigma_14d,
        open_buy=row.open_buy,
        open_sell_base=row.open_sell,
        reserved_buy=row.reserved_buy,
        order_unknown=row.order_unknown,
        dust=dust,
    )


async def read_marks(
    connection: AsyncConnection, products: Sequence[ProductId], granularity: int, as_of: datetime
) -> dict[ProductId, Mark]:
    """Newest close of each product that had closed at `as_of`.

    One that is no price leaves its product without a mark, as if there had been no candle: the close before it is not
    the newest, and nobody knows what is.
    """
    bar = timedelta(seconds=granularity)
    given = {"products": list(products), "granularity": granularity, "newest_start": as_of - bar}
    rows = (await connection.execute(_MARKS, given)).all()
    return {row.product_id: Mark(row.close, row.start + bar) for row in rows if can_be_a_mark(row.close, _ONE_UNIT)}


async def read_hours(
    connection: AsyncConnection,
    products: Sequence[ProductId],
    granularity: int,
    first: datetime,
    last: datetime,
    p: Parameters,
) -> dict[ProductId, list[HourClose]]:
    """Hourly closes of each product that volatility needs for every time from `first` to `last`."""
    bar = timedelta(seconds=granularity)
    given = {
        "products": list(products),
        "granularity": granularity,
        # A day more than the span: the first return inside it begins before it, perhaps across a gap.
        "oldest": first - timedelta(hours=p.vol_bars + SHOCK_HOURS),
        "newest_start": last - bar,
    }
    found: dict[ProductId, list[HourClose]] = {}
    for row in (await connection.execute(_HOURLY if granularity >= 3600 else _HOURS, given)).all():
        found.setdefault(row.product_id, []).append(HourClose(row.start + bar, row.close, row.quote_volume))
    return found
