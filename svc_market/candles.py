"""Decides which candles may be stored beside those that are stored already.

What makes a candle good by itself is the same for everybody who reads candles: candle_files/checks.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from candle_files.checks import fault
from candle_files.rows import Candle, Refusal
from tradekit.bars import bar_close

NEWER_THAN_FEED = "NEWER_THAN_FEED"


@dataclass(frozen=True, slots=True)
class Followed:
    """What the exchange itself tells: candles of these products, so far up to the close time `told_until`.

    What closes later it has yet to tell; stored first from elsewhere, another candle would keep the exchange's own out.
    """

    product_ids: frozenset[str]
    granularity: int
    told_until: datetime

    def has_yet_to_tell(self, candle: Candle) -> bool:
        if candle.granularity != self.granularity or candle.product_id not in self.product_ids:
            return False
        return bar_close(candle.start, candle.granularity) > self.told_until


@dataclass(frozen=True, slots=True)
class Sifted:
    """Rows by what becomes of them: `again` are good rows about a bar that is in `good` already."""

    good: tuple[Candle, ...]
    again: tuple[Candle, ...]
    refused: tuple[Refusal, ...]


def sift(
    rows: Iterable[Candle | Refusal],
    now: datetime,
    increments: Mapping[str, Decimal],
    followed: Followed | None = None,
) -> Sifted:
    """Checks rows one by one; of several rows about one bar the first counts, the others are compared with it later.

    `increments` are the steps of the prices of the products that are known. `followed` is given for rows that do not
    come from the exchange, where one is followed.
    """
    good: dict[tuple[str, int, datetime], Candle] = {}
    again: list[Candle] = []
    refused: list[Refusal] = []
    for row in rows:
        code = row.code if isinstance(row, Refusal) else fault(row, now, increments.get(row.product_id))
        if isinstance(row, Candle) and code is None and followed is not None and followed.has_yet_to_tell(row):
            code = NEWER_THAN_FEED
        if isinstance(row, Refusal):
            refused.append(row)
        elif code is not None:
            refused.append(Refusal(code, row.product_id, row.text()))
        elif row.key in good:
            again.append(row)
        else:
            good[row.key] = row
    return Sifted(tuple(good.values()), tuple(again), tuple(refused))
