"""The simulated market: bars from a seed, without end, with prices on the product's tick.

Chunks are generated on demand and forgotten again; only the level at which each chunk starts is
kept. A level depends on the chunks before it back to the first, never on the order of asking.
"""

from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exchange_sim.generator import (
    CHUNK_SECONDS,
    CHUNK_STEPS,
    STEP_SECONDS,
    Character,
    Factor,
    Motion,
    factor,
    motion,
)
from exchange_sim.market import Candle, UnknownProduct
from exchange_sim.products import CATALOGUE, Product, listed

_VOLUME_DIGITS = 8
_MARKET_STREAM = "market"
# Each chunk gives back this share of the distance to the start price, so that a year of trend
# cannot carry a price to nothing.
_PULL_PER_CHUNK = 0.2
# Of each product; an older one is made again in milliseconds, and a year of all would be 30 MB.
_KEPT_CHUNKS = 4
# What the products share; each asks for all of a year when it begins.
_KEPT_FACTORS = 40

Rows = NDArray[np.int64]  # columns: open, high, low, close in ticks; volume in 1e-8 base units


class GeneratedBars:
    label = "SIMULATED"
    has_insides = True
    step = STEP_SECONDS
    last = None

    def __init__(self, seed: int, product_ids: Sequence[str], first: int) -> None:
        self._seed = seed
        self.first = first // STEP_SECONDS * STEP_SECONDS
        self._genesis = first // CHUNK_SECONDS
        self._products = {product_id: _known(product_id) for product_id in product_ids}
        self._levels = {product_id: [_start_level(product_id)] for product_id in product_ids}
        self._rows: OrderedDict[tuple[str, int], Rows] = OrderedDict()
        self._market: OrderedDict[int, Factor] = OrderedDict()

    def products(self) -> tuple[Product, ...]:
        return tuple(self._products.values())

    def bar(self, product_id: str, start: int) -> Candle | None:
        if start < self.first:
            return None
        index = start // STEP_SECONDS
        row = self._chunk(product_id, index // CHUNK_STEPS)[index % CHUNK_STEPS]
        return self._candle(self._products[product_id], start, row)

    def last_before(self, product_id: str, start: int) -> Candle | None:
        return self.bar(product_id, start - STEP_SECONDS)

    def bars(self, product_id: str, start: int, end: int) -> list[Candle]:
        return self.aggregate(product_id, STEP_SECONDS, start, end)

    def aggregate(self, product_id: str, granularity: int, start: int, end: int) -> list[Candle]:
        begin = -(-max(start, self.first) // STEP_SECONDS)
        stop = -(-end // STEP_SECONDS)
        if stop <= begin:
            return []
        rows = self._slice(product_id, begin, stop)
        width = granularity // STEP_SECONDS
        buckets = np.arange(begin, stop) // width
        edges = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
        ends = np.append(edges[1:], len(rows)) - 1
        folded = np.column_stack(
            (
                rows[edges, 0],
                np.maximum.reduceat(rows[:, 1], edges),
                np.minimum.reduceat(rows[:, 2], edges),
                rows[ends, 3],
                np.add.reduceat(rows[:, 4], edges),
            )
        )
        product = self._products[product_id]
        return [
            self._candle(product, int(bucket) * granularity, row)
            for bucket, row in zip(buckets[edges], folded, strict=True)
        ]

    def _candle(self, product: Product, start: int, row: NDArray[np.int64]) -> Candle:
        ticks: list[Any] = row.tolist()
        tick = product.price_increment
        prices = [Decimal(ticks[i]) * tick for i in range(4)]
        volume = Decimal(ticks[4]).scaleb(-_VOLUME_DIGITS)
        return Candle(start, prices[0], prices[1], prices[2], prices[3], volume)

    def _slice(self, product_id: str, begin: int, stop: int) -> Rows:
        parts = []
        for chunk in range(begin // CHUNK_STEPS, (stop - 1) // CHUNK_STEPS + 1):
            offset = chunk * CHUNK_STEPS
            parts.append(self._chunk(product_id, chunk)[max(0, begin - offset) : stop - offset])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _chunk(self, product_id: str, chunk: int) -> Rows:
        key = (product_id, chunk)
        rows = self._rows.get(key)
        if rows is None:
            levels = self._levels[product_id]
            for missing in range(self._genesis + len(levels) - 1, chunk):
                self._build(product_id, missing)
            rows = self._build(product_id, chunk)
        self._rows.move_to_end(key)
        return rows

    def _build(self, product_id: str, chunk: int) -> Rows:
        """Generates a chunk whose starting level is known, and notes the level of the next."""
        levels, position = self._levels[product_id], chunk - self._genesis
        market_id = self._products[product_id].market_id
        moved = motion(self._seed, market_id, chunk, _character(product_id), self._market_factor(chunk))
        pull = -_PULL_PER_CHUNK * (levels[position] - levels[0]) / CHUNK_STEPS
        path = levels[position] + np.concatenate(([0.0], np.cumsum(moved.returns + pull)))
        if position + 1 == len(levels):
            levels.append(float(path[-1]))
        rows = _rows(path, moved, float(self._products[product_id].price_increment))
        self._rows[product_id, chunk] = rows
        while len(self._rows) > _KEPT_CHUNKS * len(self._products):
            self._rows.popitem(last=False)
        return rows

    def _market_factor(self, chunk: int) -> Factor:
        found = self._market.get(chunk)
        if found is None:
            found = self._market[chunk] = factor(self._seed, _MARKET_STREAM, chunk)
            while len(self._market) > _KEPT_FACTORS:
                self._market.popitem(last=False)
        return found


def _rows(path: NDArray[np.float64], moved: Motion, tick: float) -> Rows:
    points = np.maximum(1, np.rint(np.exp(path) / tick))
    opens, closes = points[:-1], points[1:]
    high = np.rint(np.exp(np.maximum(path[:-1], path[1:]) + moved.wick_up) / tick)
    low = np.rint(np.exp(np.minimum(path[:-1], path[1:]) - moved.wick_down) / tick)
    highest = np.maximum(high, np.maximum(opens, closes))
    lowest = np.maximum(1, np.minimum(low, np.minimum(opens, closes)))
    volume = np.maximum(1, np.rint(moved.volume * 10.0**_VOLUME_DIGITS))
    return np.column_stack((opens, highest, lowest, closes, volume)).astype(np.int64)


def _known(product_id: str) -> Product:
    product = listed(product_id)
    if product is None:
        raise UnknownProduct(f"{product_id} is not in the simulated market; it knows {', '.join(CATALOGUE)}")
    return product


def _character(product_id: str) -> Character:
    listing = CATALOGUE[product_id.rpartition("-")[0]]
    return Character(listing.daily_volatility, listing.market_correlation, listing.daily_volume)


def _start_level(product_id: str) -> float:
    return float(np.log(CATALOGUE[product_id.rpartition("-")[0]].start_price))
