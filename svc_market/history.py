"""Backfills what is missing of the history that is wanted: older bars after MARKET_HISTORY_BARS was raised, and holes.

It looks at gaps between stored bars, not at the oldest one, which may lie anywhere. New bars come first: between two looks
at them each product gets one page, newest first. The exchange is asked once for every page, so bars that it does not have
cost some requests after a start and nothing later.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from svc_market.feed import Feed, Fetch
from svc_market.paging import MOST_BUCKETS, Span


@dataclass(frozen=True, slots=True)
class Page:
    """One request, and the gaps in it that are to be filled; what is stored between them is left alone."""

    span: Span
    gaps: tuple[Span, ...]


def plan_pages(gaps: Sequence[Span], granularity: int, most: int = MOST_BUCKETS) -> list[Page]:
    """Requests of at most `most` buckets that cover the gaps, newest first; gaps ascending, apart, on the grid."""
    length, left, pages = timedelta(seconds=granularity * most), list(gaps), []
    while left:
        end = left[-1].end
        floor, taken = end - length, []
        while left and left[-1].end > floor:
            gap = left.pop()
            if gap.start < floor:
                left.append(Span(gap.start, floor))
                gap = Span(floor, gap.end)
            taken.append(gap)
        pages.append(Page(Span(taken[-1].start, end), tuple(reversed(taken))))
    return pages


class HistoryBackfill:
    """The missing history that is still to come, by product."""

    def __init__(self, feed: Feed, log: Any) -> None:
        self._feed = feed
        self._log = log
        self._pages: dict[str, list[Page]] = {}
        self._planned: set[str] = set()

    def unplanned(self, product_ids: Iterable[str]) -> list[str]:
        """Those of the products whose stored history was not looked at yet, or had candles deleted since."""
        self._planned -= self._feed.deleted_from
        self._feed.deleted_from.clear()
        return [product_id for product_id in product_ids if product_id not in self._planned]

    def plan(self, product_ids: Iterable[str], gaps: Mapping[str, Sequence[Span]]) -> None:
        """Takes up products with what is missing before their newest bar; what has no bar is fetched whole by others."""
        self._planned |= set(product_ids)
        granularity = self._feed.settings.granularity_seconds
        found = {product_id: plan_pages(missing, granularity) for product_id, missing in gaps.items() if missing}
        self._pages |= found
        if found:
            since = min(missing[0].start for missing in gaps.values() if missing)
            self._log.info("missing_history_wanted", products=sorted(found), since=since.isoformat())

    async def step(self, now: datetime) -> None:
        """Fetches and stores the next page of each product; an error leaves it to be asked for again."""
        granularity = self._feed.settings.granularity_seconds
        for product_id, pages in list(self._pages.items()):
            page = pages[0]
            fetch = Fetch({product_id: page.span.start}, page.span.end, granularity, now, page.gaps)
            async for _ in self._feed.fetch_and_store(fetch):
                pass
            del pages[0]
            if not pages:
                del self._pages[product_id]
                self._log.info("missing_history_fetched", product=product_id, since=page.span.start.isoformat())
