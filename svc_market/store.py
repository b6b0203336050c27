"""The SQL of crypto_prices, products and candle_refusals.

Candles are added under the lock of their stream, so that sequences stay gapless: a row that is stored already takes
none.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    Select,
    TableValuedAlias,
    Text,
    and_,
    cast,
    func,
    select,
    text,
    true,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from candle_files.checks import CONFLICT
from candle_files.rows import Candle, Refusal
from schema.market import candle_refusals, crypto_prices, products
from schema.operations import stream_heads
from schema.streams import CANDLES, take_sequences
from svc_market.candles import Sifted
from svc_market.paging import Span
from tradekit.products import Product

# Rows of a statement; bounds how long one writer holds the stream.
STORE_ROWS = 5000
REFUSALS_KEPT = 100


@dataclass(frozen=True, slots=True)
class StoredCandle:
    """A candle with where it came from and its place in the stream."""

    candle: Candle
    source: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Added:
    """What became of candles that were good: `newest` is the head of the stream after them."""

    stored: int
    unchanged: int
    conflicts: tuple[Refusal, ...]
    newest: int


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A followed product and when its rules were read."""

    product: Product
    observed_at: datetime


_ADD = text(
    """
    WITH given AS (
      SELECT * FROM unnest(
        CAST(:products AS text[]), CAST(:granularities AS integer[]), CAST(:starts AS timestamptz[]),
        CAST(:opens AS numeric[]), CAST(:highs AS numeric[]), CAST(:lows AS numeric[]),
        CAST(:closes AS numeric[]), CAST(:volumes AS numeric[])
      ) WITH ORDINALITY AS g(product_id, granularity, start, open, high, low, close, volume, place)
    ), compared AS (
      SELECT g.*, c.start IS NULL AS is_new,
             (c.open, c.high, c.low, c.close, c.volume)
               IS DISTINCT FROM (g.open, g.high, g.low, g.close, g.volume) AS differs
      FROM given g LEFT JOIN crypto_prices c
        ON c.product_id = g.product_id AND c.granularity = g.granularity AND c.start = g.start
    ), added AS (
      INSERT INTO crypto_prices (product_id, granularity, start, open, high, low, close, volume, source, sequence)
      SELECT product_id, granularity, start, open, high, low, close, volume, CAST(:source AS text),
             CAST(:first AS bigint) + row_number() OVER (ORDER BY start, granularity, product_id) - 1
      FROM compared WHERE is_new
      ON CONFLICT DO NOTHING
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM added) AS stored,
           (SELECT take_sequences(:stream, (SELECT count(*) FROM added))) AS first_taken,
           count(*) FILTER (WHERE NOT is_new AND NOT differs) AS unchanged,
           array_agg(place) FILTER (WHERE NOT is_new AND differs) AS conflicts
    FROM compared
    """
)


async def add_sifted(connection: AsyncConnection, sifted: Sifted, source: str) -> Added:
    """Adds any number of candles, in statements of bounded size; rows about a bar given before are compared with it."""
    parts = [
        rows[at : at + STORE_ROWS] for rows in (sifted.good, sifted.again) for at in range(0, len(rows), STORE_ROWS)
    ]
    total = await add_candles(connection, parts[0] if parts else (), source)
    for part in parts[1:]:
        more = await add_candles(connection, part, source)
        conflicts = (*total.conflicts, *more.conflicts)
        total = Added(total.stored + more.stored, total.unchanged + more.unchanged, conflicts, more.newest)
    return total


async def add_candles(connection: AsyncConnection, candles: Sequence[Candle], source: str) -> Added:
    """Adds candles; a bar that is stored with other values stays as it is and is a conflict. New bars differ.

    The lock of the stream comes first, so the comparison sees every candle that took a sequence before; how many are
    taken is known, and they are taken, only in the statement that adds.
    """
    first = (await take_sequences(connection, CANDLES, 0)).start
    if not candles:
        return Added(0, 0, (), first - 1)
    given = {
        "products": [candle.product_id for candle in candles],
        "granularities": [candle.granularity for candle in candles],
        "starts": [candle.start for candle in candles],
        "opens": [candle.open for candle in candles],
        "highs": [candle.high for candle in candles],
        "lows": [candle.low for candle in candles],
        "closes": [candle.close for candle in candles],
        "volumes": [candle.volume for candle in candles],
        "source": source,
        "first": first,
        "stream": CANDLES,
    }
    row = (await connection.execute(_ADD, given)).one()
    differing = (candles[place - 1] for place in row.conflicts or ())
    conflicts = tuple(Refusal(CONFLICT, candle.product_id, candle.text()) for candle in differing)
    return Added(row.stored, row.unchanged, conflicts, first + row.stored - 1)


async def add_refusals(connection: AsyncConnection, refusals: Sequence[Refusal], source: str) -> None:
    """Keeps refused rows for people to look at; a row that was refused before is kept once."""
    if not refusals:
        return
    kept = tuple_(candle_refusals.c.source, candle_refusals.c.code, candle_refusals.c.row_text)
    wanted = [(source, refusal.code, refusal.text) for refusal in refusals]
    found = await connection.execute(
        select(candle_refusals.c.source, candle_refusals.c.code, candle_refusals.c.row_text).where(kept.in_(wanted))
    )
    known = {tuple(row) for row in found}
    rows = {
        (refusal.code, refusal.text): {
            "product_id": refusal.product_id,
            "source": source,
            "code": refusal.code,
            "row_text": refusal.text,
        }
        for refusal in refusals
        if (source, refusal.code, refusal.text) not in known
    }
    if rows:
        await connection.execute(candle_refusals.insert(), list(rows.values()))


async def store_products(
    connection: AsyncConnection, found: Sequence[Product], followed: Collection[str], unlisted: Collection[str]
) -> None:
    """Writes the rules of products read now; `unlisted` are followed no longer and not tradable."""
    if found:
        rows = [{**_product_values(product), "followed": product.product_id in followed} for product in found]
        statement = insert(products).values([{**row, "observed_at": func.now()} for row in rows])
        changes = {name: statement.excluded[name] for name in (*rows[0], "observed_at") if name != "product_id"}
        await connection.execute(statement.on_conflict_do_update(index_elements=["product_id"], set_=changes))
    gone = products.c.product_id.not_in(list(followed)) & products.c.followed
    await connection.execute(update(products).where(gone).values(followed=False))
    if unlisted:
        lost = products.c.product_id.in_(list(unlisted))
        await connection.execute(update(products).where(lost).values(followed=False, tradable=False))


def _product_values(product: Product) -> dict[str, Any]:
    return {
        "product_id": product.product_id,
        "base_increment": product.base_increment,
        "quote_increment": product.quote_increment,
        "price_increment": product.price_increment,
        "base_min_size": product.base_min_size,
        "quote_min_size": product.quote_min_size,
        "tradable": product.tradable,
        "status": product.status,
    }


async def followed_products(connection: AsyncConnection) -> tuple[str, ...]:
    """Products that are followed, by id."""
    query = select(products.c.product_id).where(products.c.followed).order_by(products.c.product_id)
    return tuple((await connection.execute(query)).scalars())


async def list_products(connection: AsyncConnection, after: str, limit: int) -> list[ProductRow]:
    """Followed products with an id above `after`."""
    query = (
        select(products)
        .where(products.c.followed, products.c.product_id > after)
        .order_by(products.c.product_id)
        .limit(limit)
    )
    return [_product_row(row) for row in await connection.execute(query)]


def _product_row(row: Any) -> ProductRow:
    product = Product(
        product_id=row.product_id,
        base_increment=row.base_increment,
        quote_increment=row.quote_increment,
        price_increment=row.price_increment,
        base_min_size=row.base_min_size,
        quote_min_size=row.quote_min_size,
        tradable=row.tradable,
        status=row.status,
    )
    return ProductRow(product, row.observed_at)


async def price_increments(connection: AsyncConnection, product_ids: Collection[str]) -> dict[str, Decimal]:
    """The step of the price of each of the products that was read from the exchange once."""
    query = select(products.c.product_id, products.c.price_increment).where(products.c.product_id.in_(set(product_ids)))
    return {row.product_id: row.price_increment for row in await connection.execute(query)}


async def unknown_products(connection: AsyncConnection, product_ids: Collection[str]) -> list[str]:
    """Those of the ids that are neither a product read from the exchange nor have a candle."""
    wanted = set(product_ids)
    if not wanted:
        return []
    named = _named(wanted)
    has_candle = select(1).where(crypto_prices.c.product_id == named.c.product_id).limit(1).exists()
    query = union(
        select(products.c.product_id).where(products.c.product_id.in_(wanted)),
        select(named.c.product_id).where(has_candle),
    )
    return sorted(wanted - set((await connection.execute(query)).scalars()))


async def list_candles(
    connection: AsyncConnection,
    product_id: str,
    granularity: int,
    start: datetime | None,
    end: datetime | None,
    limit: int,
) -> list[StoredCandle]:
    """Candles of one product that open in [start, end), oldest first."""
    table = crypto_prices.c
    query = (
        select(crypto_prices)
        .where(
            table.product_id == product_id,
            table.granularity == granularity,
            table.start >= start if start else true(),
            table.start < end if end else true(),
        )
        .order_by(table.start)
        .limit(limit)
    )
    return [_stored(row) for row in await connection.execute(query)]


async def candles_after(
    connection: AsyncConnection, sequence: int, granularity: int, product_ids: Collection[str], limit: int
) -> list[StoredCandle]:
    """Candles stored after a sequence, in its order; no product ids means those that are followed."""
    followed: Select[tuple[Any, ...]] = select(products.c.product_id).where(products.c.followed)
    wanted = crypto_prices.c.product_id.in_(list(product_ids) if product_ids else followed)
    query = (
        select(crypto_prices)
        .where(and_(crypto_prices.c.sequence > sequence, crypto_prices.c.granularity == granularity, wanted))
        .order_by(crypto_prices.c.sequence)
        .limit(limit)
    )
    return [_stored(row) for row in await connection.execute(query)]


async def head(connection: AsyncConnection) -> int:
    """The newest sequence of the stream, 0 before the first."""
    query = select(stream_heads.c.head).where(stream_heads.c.stream == CANDLES)
    return (await connection.execute(query)).scalar_one_or_none() or 0


def _named(product_ids: Collection[str]) -> TableValuedAlias:
    """Product ids as a table of the query."""
    return func.unnest(cast(sorted(product_ids), ARRAY(Text))).table_valued("product_id").render_derived("named")


def _stored(row: Any) -> StoredCandle:
    values = (row.open, row.high, row.low, row.close, row.volume)
    return StoredCandle(Candle(row.product_id, row.granularity, row.start, *values), row.source, row.sequence)


async def newest_starts(
    connection: AsyncConnection, granularity: int, product_ids: Collection[str]
) -> dict[str, datetime]:
    """Open time of the newest candle of each product that has one; an ordered subquery is one look into the index."""
    named = _named(product_ids)
    newest = (
        select(crypto_prices.c.start)
        .where(crypto_prices.c.product_id == named.c.product_id, crypto_prices.c.granularity == granularity)
        .order_by(crypto_prices.c.start.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = await connection.execute(select(named.c.product_id, newest.label("start")))
    return {row.product_id: row.start for row in rows if row.start is not None}


async def gaps_since(
    connection: AsyncConnection, granularity: int, product_ids: Collection[str], goal: datetime
) -> dict[str, list[Span]]:
    """What is missing of each product from `goal` to its newest candle, ascending; `goal` lies on the grid.

    A product without a candle since then is not named.
    """
    step = timedelta(seconds=granularity)
    table = crypto_prices.c
    before = func.lag(table.start, 1, goal - step).over(partition_by=table.product_id, order_by=table.start)
    stored = (
        select(table.product_id, table.start, before.label("before"))
        .where(table.granularity == granularity, table.product_id.in_(list(product_ids)), table.start >= goal)
        .subquery()
    )
    query = (
        select(stored.c.product_id, stored.c.before, stored.c.start)
        .where(stored.c.start > stored.c.before + step)
        .order_by(stored.c.product_id, stored.c.start)
    )
    found: dict[str, list[Span]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.product_id, []).append(Span(row.before + step, row.start))
    return found
