"""Stores the rows of an upload, a bounded batch at a time, and keeps the account of what became of each."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from candle_files.account import Account
from candle_files.rows import Aside, Refusal, Row, UnusableFile
from schema.streams import CANDLES, notify
from svc_market import store
from svc_market.candles import sift
from svc_market.feed import Feed
from svc_market.upload import Upload, unusable
from trading.market.v1 import market_service_pb2 as pb

_BATCH = 4000


async def store_upload(feed: Feed, upload: Upload, now: datetime) -> pb.ImportCandlesResponse:
    """Checks and stores all rows; the watermark stays, because history says nothing about the present."""
    account = Account()
    try:
        rows = upload.rows()
    except UnusableFile as error:
        raise unusable(error) from error
    while batch := await asyncio.to_thread(_take, rows):
        await _store(feed, upload, batch, now, account)
    return _message(account, upload.format)


def _message(account: Account, format_name: str) -> pb.ImportCandlesResponse:
    return pb.ImportCandlesResponse(
        received=account.rows,
        stored=account.stored,
        unchanged=account.unchanged,
        skipped=account.left_out,
        refused=account.refused,
        refusals=[
            pb.RefusalCount(code=code, count=count, example=account.examples[code])
            for code, count in sorted(account.refusals.items())
        ],
        format=format_name,
        lines=account.lines,
        headers=account.headers,
        blanks=account.blanks,
    )


def _take(rows: Iterator[Row]) -> list[Row]:
    try:
        return list(islice(rows, _BATCH))
    except UnusableFile as error:
        raise unusable(error) from error


async def _store(feed: Feed, upload: Upload, batch: Sequence[Row], now: datetime, account: Account) -> None:
    query = upload.query
    rows = []
    for row in batch:
        if isinstance(row, Aside):
            account.put_aside(row)
        elif isinstance(row, Refusal) or query.wants(row):
            rows.append(row)
        else:
            account.left_out += 1
    if not rows:
        return
    named = {row.product_id for row in rows if not isinstance(row, Refusal)}
    async with feed.engine.begin() as connection:
        increments = await store.price_increments(connection, named)
        sifted = sift(rows, now, increments, await feed.has_told(connection))
        added = await store.add_sifted(connection, sifted, query.source)
        refused = (*sifted.refused, *added.conflicts)
        kept = max(store.REFUSALS_KEPT - account.refused, 0)
        await store.add_refusals(connection, refused[:kept], query.source)
        if added.stored:
            await notify(connection, CANDLES)
    account.stored += added.stored
    account.unchanged += added.unchanged
    account.refuse(refused)
    feed.count(added.stored, refused, query.source)
