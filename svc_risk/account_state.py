"""Reads exposure now and the market as of market times: set-based queries, each one statement, into the core's types.

Candles that close after `as_of` are not seen, so the same as_of reads the same market however late it is asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, text

from meshkit.dedicated import Connection
from schema.base import Time
from svc_risk.exposed import AccountState, Exposed, Mark, Market
from svc_risk.exposure import can_be_a_mark
from svc_risk.parameters import Parameters
from svc_risk.volatility import SHOCK_HOURS, HourClose, Volatility, measure
from tradekit.decimals import ONE
from tradekit.sizes import NO_BASE, NO_QUOTE
from tradekit.units import BaseSize, ProductId

_ONE_UNIT = BaseSize(ONE)

# Everything that is exposure, and the products in `also`: each at each market time, with its newest close of then. Why each
# array is behind a SELECT: `schema.given_rows`. An order that is done at the exchange is about to sell what it sold and
# nobody booked yet; what protects a position gives way to an exit, whatever became of it.
_EXPOSURES = text("""
    WITH parts AS (
      SELECT product_id, base_size, 0 AS open_buy, 0 AS open_sell, 0 AS reserved_buy, false AS order_unknown
      FROM risk_positions WHERE base_size > 0
      UNION ALL
      SELECT product_id, 0,
             CASE WHEN side = 'BUY' THEN greatest(quote_size - filled_value - total_fees, 0) ELSE 0 END,
             CASE WHEN side = 'SELL' AND purpose <> 'PROTECTION'
                  THEN greatest(coalesce(done_size, base_size) - filled_size, 0) ELSE 0 END, 0, state = 'UNKNOWN'
      FROM risk_open_orders
      UNION ALL
      SELECT product_id, 0, 0, 0, quote_amount, false
      FROM risk_reservations WHERE side = 'BUY' AND state = 'HELD' AND expires_at > :machine_time
    ), exposed AS (
      SELECT product_id, sum(base_size) AS base_size, sum(open_buy) AS open_buy, sum(open_sell) AS open_sell,
             sum(reserved_buy) AS reserved_buy, bool_or(order_unknown) AS order_unknown
      FROM parts GROUP BY product_id
    ), wanted AS (
      SELECT product_id FROM exposed UNION SELECT product_id FROM unnest((SELECT :also)) AS given(product_id)
    )
    SELECT wanted.product_id, exposed.product_id IS NOT NULL AS is_exposed, base_size, open_buy, open_sell, reserved_buy,
           order_unknown, base_increment, base_min_size, quote_min_size, given.as_of, newest.start, newest.close
    FROM wanted CROSS JOIN unnest((SELECT :as_ofs), (SELECT :newest_starts)) AS given(as_of, newest_start)
    LEFT JOIN exposed ON exposed.product_id = wanted.product_id
    LEFT JOIN risk_products ON risk_products.product_id = wanted.product_id
    LEFT JOIN LATERAL (
      SELECT start, close FROM risk_candles AS c
      WHERE c.product_id = wanted.product_id AND c.granularity = :granularity AND c.start <= given.newest_start
      ORDER BY start DESC LIMIT 1
    ) AS newest ON true
""").bindparams(
    bindparam("also", type_=ARRAY(Text())),
    bindparam("as_ofs", type_=ARRAY(Time)),
    bindparam("newest_starts", type_=ARRAY(Time)),
    bindparam("machine_time", type_=Time),
)
_MARKS = text("""
    SELECT wanted.product_id, newest.start, newest.close
    FROM unnest((SELECT :products)) AS wanted(product_id)
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
    connection: Connection,
    *,
    granularity: int,
    as_ofs: Iterable[datetime],
    machine_time: datetime,
    also: Iterable[ProductId],
    p: Parameters,
    memory: VolatilityMemory,
) -> AccountState:
    """The account with marks and volatility of everything that is exposure, and of the products in `also`.

    One statement, and one more for each market time at which a volatility is not known yet.
    """
    times, bar = sorted(set(as_ofs)), timedelta(seconds=granularity)
    given = {
        "also": sorted(set(also)),
        "as_ofs": times,
        "newest_starts": [time - bar for time in times],
        "granularity": granularity,
        "machine_time": machine_time,
    }
    exposed: dict[ProductId, Exposed] = {}
    marks: dict[datetime, dict[ProductId, Mark]] = {time: {} for time in times}
    for row in (await connection.execute(_EXPOSURES, given)).all():
        exposed[row.product_id] = _exposed(row)
        if row.close is not None and can_be_a_mark(row.close, _ONE_UNIT):
            marks[row.as_of][row.product_id] = Mark(row.close, row.start + bar)
    market = {
        time: Market(
            marks[time], await read_volatilities(connection, sorted(exposed), granularity, time, marks[time], p, memory)
        )
        for time in times
    }
    return AccountState(exposed, market)


async def read_volatilities(
    connection: Connection,
    products: Sequence[ProductId],
    granularity: int,
    as_of: datetime,
    marks: Mapping[ProductId, Mark],
    p: Parameters,
    memory: VolatilityMemory,
) -> dict[ProductId, Volatility]:
    """The volatility of each product at a market time, remembered or measured; one statement if any is to be measured.

    `marks` are the newest closes of then: a product with one of this very time is complete.
    """
    known = memory.recall(as_of)
    missing = [product for product in products if product not in known]
    if missing:
        hours = await read_hours(connection, missing, granularity, as_of, as_of, p)
        measured = {product: measure(hours.get(product, ()), as_of, p.vol_bars) for product in missing}
        fresh = {product for product, mark in marks.items() if mark.time == as_of}
        memory.keep(as_of, {n: v for n, v in measured.items() if n in fresh and v.real_bars >= p.min_real_bars})
        known |= measured
    return known


def _exposed(row: Any) -> Exposed:
    return Exposed(
        product_id=row.product_id,
        is_exposed=row.is_exposed,
        base_size=row.base_size if row.is_exposed else NO_BASE,
        open_buy=row.open_buy if row.is_exposed else NO_QUOTE,
        open_sell=row.open_sell if row.is_exposed else NO_BASE,
        reserved_buy=row.reserved_buy if row.is_exposed else NO_QUOTE,
        order_unknown=bool(row.order_unknown),
        base_increment=row.base_increment,
        base_min_size=row.base_min_size,
        quote_min_size=row.quote_min_size,
    )


async def read_marks(
    connection: Connection, products: Sequence[ProductId], granularity: int, as_of: datetime
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
    connection: Connection,
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
