"""Fetches history older than what is stored, after MARKET_HISTORY_BARS was raised: backwards, one page at a time.

New bars come first: between two looks at them each product gets one page. The exchange is asked once for every page, so
history that it does not have costs some requests after a start and nothing later.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from svc_market.feed import Feed, Fetch
from svc_market.paging import MOST_BUCKETS


@dataclass(frozen=True, slots=True)
class Missing:
    """What is left to ask of one product: bars that open at or after `goal` and before `end`."""

    goal: datetime
    end: datetime

    def page_start(self, granularity: int) -> datetime:
        """Where the newest page of it begins."""
        return max(self.goal, self.end - timedelta(seconds=granularity * MOST_BUCKETS))


class Deepening:
    """The older history that is still to come, by product."""

    def __init__(self, feed: Feed, log: Any) -> None:
        self._feed = feed
        self._log = log
        self._missing: dict[str, Missing] = {}
        self._planned: set[str] = set()

    def unplanned(self, product_ids: Iterable[str]) -> list[str]:
        """Those of the products whose stored history was not looked at yet."""
        return [product_id for product_id in product_ids if product_id not in self._planned]

    def plan(self, product_ids: Iterable[str], oldest: Mapping[str, datetime], goal: datetime) -> None:
        """Takes up products with their oldest stored bars; what had none is fetched whole by others."""
        self._planned |= set(product_ids)
        found = {product_id: Missing(goal, start) for product_id, start in oldest.items() if goal < start}
        self._missing |= found
        if found:
            self._log.info("older_history_wanted", products=sorted(found), since=goal.isoformat())

    async def step(self, now: datetime) -> None:
        """Fetches and stores the next page of each product; an error leaves it to be asked for again."""
        granularity = self._feed.settings.granularity_seconds
        for product_id, missing in list(self._missing.items()):
            start = missing.page_start(granularity)
            async for _ in self._feed.fetch_and_store(Fetch({product_id: start}, missing.end, granularity, now)):
                pass
            if start > missing.goal:
                self._missing[product_id] = Missing(missing.goal, start)
            else:
                del self._missing[product_id]
                self._log.info("older_history_fetched", product=product_id, since=start.isoformat())
