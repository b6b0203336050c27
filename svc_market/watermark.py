"""Decides how far the market's watermark may move.

It promises that every followed product was asked for and stored up to it, so it only moves over a range that joins on
to it without a hole, for all followed products.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from svc_market.paging import Span


def reach(
    watermark: datetime | None,
    span: Span,
    asked: Collection[str],
    followed: Collection[str],
    newest_close: datetime,
) -> datetime | None:
    """Where the watermark stands after `span` was stored for the products `asked`; None if it does not move.

    `newest_close` is the close of the newest closed bar. The first watermark is set only by a range that ends there:
    an old period alone says nothing about the present.
    """
    if not followed or not set(followed) <= set(asked) or span.start >= span.end or span.end > newest_close:
        return None
    if watermark is None:
        return span.end if span.end == newest_close else None
    return span.end if span.start <= watermark < span.end else None


def begin(
    newest_stored: datetime | None,
    watermark: datetime | None,
    newest_close: datetime,
    granularity: int,
    history_bars: int,
) -> datetime:
    """First open time to ask one product for: after its newest candle, at most the history, and joined to the watermark.

    The bar before the watermark is asked again: a candle that the exchange published late is found, and one that it changed
    afterwards is counted as a conflict.
    """
    history = newest_close - timedelta(seconds=granularity * history_bars)
    after = history if newest_stored is None else max(history, newest_stored + timedelta(seconds=granularity))
    return after if watermark is None else min(after, watermark - timedelta(seconds=granularity))
