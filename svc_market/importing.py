"""Stores the rows of an upload, a bounded batch at a time, and keeps the account of what became of each."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from schema.streams import CANDLES, notify
from svc_market import store
from svc_market.candles import Candle, Refusal, sift
from svc_market.feed import Feed
from svc_market.formats.base import UnusableFile
from svc_market.upload import Upload, unusable
from trading.market.v1 import market_service_pb2 as pb

_BATCH = 4000
_EXAMPLE_LENGTH = 200


class Account:
    """Counts of one import; received = stored + unchanged + refused + skipped."""

    def __init__(self) -> None:
        self.received = self.stored = self.unchanged = self.skipped = 0
        self._refused: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    @property
    def refused(self) -> int:
        return self._refused.total()

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        for refusal in refusals:
            self._refused[refusal.code] += 1
            self._examples.setdefault(refusal.code, refusal.text[:_EXAMPLE_LENGTH])

    def message(self, format_name: str) -> pb.ImportCandlesResponse:
        return pb.ImportCandlesResponse(
            received=self.received,
            stored=self.stored,
            unchanged=self.unchanged,
            skipped=self.skipped,
            refused=self.refused,
            refusals=[
                pb.RefusalCount(code=code, count=count, example=self._examples[code])
                for code, count in sorted(self._refused.items())
            ],
            format=format_name,
        )


async def store_upload(feed: Feed, upload: Upload, now: datetime) -> pb.ImportCandlesResponse:
    """Checks and stores all rows; the watermark stays, because history says nothing about the present."""
    account = Account()
    rows = upload.rows()
    while batch := await asyncio.to_thread(_take, rows):
        await _store(feed, upload, batch, now, account)
    return account.message(upload.format)


def _take(rows: Iterator[Candle | Refusal]) -> list[Candle | Refusal]:
    try:
        return list(islice(rows, _BATCH))
    except UnusableFile as error:
        raise unusable(error) from error


async def _store(
    feed: Feed, upload: Upload, batch: Sequence[Candle | Refusal], now: datetime, account: Account
) -> None:
    query = upload.query
    chosen = [row for row in batch if isinstance(row, Refusal) or query.wants(row)]
    named = {row.product_id for row in chosen if isinstance(row, Candle)}
    async with feed.engine.begin() as connection:
        increments = await store.price_increments(connection, named)
        sifted = sift(chosen, now, increments, await feed.has_told(connection))
        added = await store.add_sifted(connection, sifted, query.source)
        refused = (*sifted.refused, *added.conflicts)
        kept = max(store.REFUSALS_KEPT - account.refused, 0)
        await store.add_refusals(connection, refused[:kept], query.source)
        if added.stored:
            await notify(connection, CANDLES)
    account.received += len(batch)
    account.skipped += len(batch) - len(chosen)
    account.stored += added.stored
    account.unchanged += added.unchanged
    account.refuse(refused)
    feed.count(added.stored, refused, query.source)
