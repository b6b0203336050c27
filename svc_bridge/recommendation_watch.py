"""What one watcher of recommendations reads: what changed and the bridge's watermark, by one statement at each look.

`meshkit.watch.tail` asks for the watermark and then at once for the rows, because no watermark may be newer than the rows that
are seen with it. Of one statement they are of one moment.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from meshkit.watch import DEFAULT_BATCH
from schema.recommendation_rows import StoredRecommendation
from schema.streams import Watermark
from svc_bridge import store


class RecommendationWatch:
    """The looks of one watcher that has everything up to `after`."""

    def __init__(self, engine: AsyncEngine, after: int) -> None:
        self._autocommit = engine
        self._after = after
        self._seen: list[StoredRecommendation] | None = None

    async def watermark(self) -> Watermark | None:
        """The bridge's watermark; the rows of the same moment are kept for `rows_after`."""
        self._seen, watermark = await self._look(self._after, DEFAULT_BATCH)
        return watermark

    async def rows_after(self, after: int, limit: int) -> list[StoredRecommendation]:
        """What changed after a sequence, in its order: as of the watermark's moment, or now if none was read since the last."""
        seen, self._seen = self._seen, None
        if seen is None or (after, limit) != (self._after, DEFAULT_BATCH):
            seen, _ = await self._look(after, limit)
        self._after = seen[-1].sequence if seen else after
        return seen

    async def _look(self, after: int, limit: int) -> tuple[list[StoredRecommendation], Watermark | None]:
        async with self._autocommit.connect() as connection:
            return await store.changed_after(connection, after, limit)
