"""The exchange's two feeds as the executor follows them: changes of orders, and the prices that stops are judged by."""

from collections.abc import AsyncGenerator
from typing import Any

from exchange_client import FeedEvent, Feeds
from meshkit.kit import Kit
from meshkit.serve import Check, Task
from svc_executor.feed_keeper import FeedKeeper
from svc_executor.order_news import OrderNews
from svc_executor.prices import Prices

# The name of their health, after the service's own.
HEALTH = "feeds"


class ExecutorFeeds:
    """Feeds are followed while something depends on them: orders always, prices while one may make something happen."""

    def __init__(self, feeds: Feeds, kit: Kit[Any], silent_seconds: float, news: OrderNews, prices: Prices) -> None:
        def of_watched() -> AsyncGenerator[FeedEvent, None] | None:
            return feeds.prices(sorted(prices.watched)) if prices.watched else None

        self._news = news
        self._orders = FeedKeeper("orders", feeds.orders, news.hear, kit, silent_seconds)
        self._prices = FeedKeeper("prices", of_watched, prices.hear, kit, silent_seconds)
        prices.when_watched = self._prices.follow_other

    def orders_are_told(self) -> bool:
        """Whether a change of an order is told by itself."""
        return self._orders.whole

    def tasks(self) -> list[Task]:
        """What the process must own."""
        return [
            Task("order-feed", self._orders.run),
            Task("price-feed", self._prices.run),
            Task("order-news", self._news.run),
        ]

    def checks(self) -> list[Check]:
        """What must be true for the feeds to be healthy."""
        return [Check("orders", self._orders.check), Check("prices", self._prices.check)]
