"""The gRPC servicer of MarketService: parse, ask the store or the feed, answer."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from exchange_client import ExchangeUnavailable
from meshkit import paging
from meshkit.errors import AlreadyInProgress, FailedPrecondition, InvalidRequest, Violation
from meshkit.grpc_types import ServicerContext
from meshkit.identity import current_caller
from meshkit.kit import Kit
from schema.requests import M, RequestKey, request_key, store_answer, stored_answer
from schema.streams import CANDLES, Watermark, read_watermark
from svc_market import store, wire
from svc_market.deletion import delete_candles, find
from svc_market.feed import STAGE, Feed, Fetch, Progress
from svc_market.importing import store_upload
from svc_market.paging import grid_span
from svc_market.settings import MarketSettings
from svc_market.store import StoredCandle
from svc_market.upload import receive
from svc_market.wire import BackfillQuery, ImportQuery, WatchQuery
from tradekit import services
from tradekit.bars import bar_close, bar_start
from tradekit.states import Venue
from tradekit.watching import Watched, frames, position
from trading.market.v1 import market_service_pb2 as pb
from trading.market.v1 import market_service_pb2_grpc as rpc

# Two million bars take the exchange's public rate about twenty minutes.
MOST_BARS_FETCHED = 2_000_000
WATCH_BATCH = 500


class MarketServicer(rpc.MarketServiceServicer):
    def __init__(self, kit: Kit[MarketSettings], feed: Feed) -> None:
        self._kit = kit
        self._feed = feed
        self._running: set[tuple[str, UUID]] = set()

    async def ListProducts(self, request: pb.ListProductsRequest, context: ServicerContext) -> pb.ListProductsResponse:
        page = wire.read_list_products(request)
        async with self._kit.autocommit.connect() as connection:
            rows = await store.list_products(connection, page.after, page.size + 1)
        answer = pb.ListProductsResponse(products=[wire.product_message(row) for row in rows[: page.size]])
        if len(rows) > page.size:
            position = {"product_id": answer.products[-1].product_id}
            answer.next_page_token = paging.encode(position, wire.PRODUCTS_SCOPE)
        return answer

    async def ListCandles(self, request: pb.ListCandlesRequest, context: ServicerContext) -> pb.ListCandlesResponse:
        query = wire.read_list_candles(request, self._kit.settings.granularity_seconds)
        first = query.start if query.after is None else bar_close(query.after, query.granularity)
        async with self._kit.autocommit.connect() as connection:
            await _require_known(connection, "product_id", [query.product_id])
            rows = await store.list_candles(
                connection, query.product_id, query.granularity, first, query.end, query.size + 1
            )
        answer = pb.ListCandlesResponse(candles=[wire.candle_message(row) for row in rows[: query.size]])
        if len(rows) > query.size:
            last = rows[query.size - 1].candle.start
            answer.next_page_token = paging.encode({"start": int(last.timestamp())}, query.scope)
        return answer

    async def WatchCandles(
        self, request: pb.WatchCandlesRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchCandlesResponse]:
        query = wire.read_watch(request, self._kit.settings.granularity_seconds)
        async with self._kit.autocommit.connect() as connection:
            await _require_known(connection, "product_ids", query.product_ids)
            after = position(request, await store.head(connection))
        watched = Watched(
            CANDLES,
            partial(self._candles_after, query),
            wire.batch_frame,
            partial(self._watermark, query.granularity),
            batch=WATCH_BATCH,
            spacing_seconds=0.0,
        )
        async for frame in frames(self._kit, after, watched, pb.WatchCandlesResponse):
            yield frame

    async def _candles_after(self, query: WatchQuery, after: int, limit: int) -> Sequence[StoredCandle]:
        if not query.candles:
            return ()
        async with self._kit.autocommit.connect() as connection:
            return await store.candles_after(connection, after, query.granularity, query.product_ids, limit)

    async def _watermark(self, granularity: int) -> Watermark | None:
        """The watermark speaks of the service's own granularity only. It moves with a wake-up of the candles' channel, also
        when no candle came: a bar in which nothing was traded is complete too."""
        if granularity != self._kit.settings.granularity_seconds:
            return None
        async with self._kit.autocommit.connect() as connection:
            return await read_watermark(connection, STAGE)

    async def ImportCandles(
        self, requests: AsyncIterator[pb.ImportCandlesRequest], context: ServicerContext
    ) -> pb.ImportCandlesResponse:
        async with receive(aiter(requests), self._admit) as upload:
            request_id = upload.query.request_id
            with self._alone(request_id):
                key = request_key(services.MARKET.name, "ImportCandles", request_id, upload.digest)
                stored = await self._answered(key, pb.ImportCandlesResponse)
                if stored is not None:
                    return stored
                answer = await store_upload(self._feed, upload, await self._import_time())
                async with self._kit.engine.begin() as connection:
                    await store_answer(connection, key, answer)
        self._kit.log.info("imported", source=upload.query.source, stored=answer.stored, refused=answer.refused)
        return answer

    async def BackfillCandles(
        self, request: pb.BackfillCandlesRequest, context: ServicerContext
    ) -> AsyncIterator[pb.BackfillCandlesResponse]:
        begun = self._kit.clock.monotonic()
        query = wire.read_backfill(request, self._kit.settings.granularity_seconds)
        key = request_key(services.MARKET.name, "BackfillCandles", query.request_id, request)
        with self._alone(query.request_id):
            stored = await self._answered(key, pb.BackfillCandlesResponse)
            if stored is not None:
                yield stored
                return
            final: list[pb.BackfillCandlesResponse] = []

            async def at_end(connection: AsyncConnection, progress: Progress) -> None:
                message = wire.progress_message(progress, self._kit.clock.monotonic() - begun, done=True)
                await store_answer(connection, key, message)
                final.append(message)

            async for progress in self._feed.fetch_and_store(await self._fetch(query), at_end):
                if not final:
                    yield wire.progress_message(progress, self._kit.clock.monotonic() - begun, done=False)
            yield final[0]

    async def DeleteCandles(
        self, request: pb.DeleteCandlesRequest, context: ServicerContext
    ) -> pb.DeleteCandlesResponse:
        query = wire.read_delete(request, self._kit.settings.granularity_seconds)
        if query.expected_count is None:
            async with self._kit.autocommit.connect() as connection:
                await _require_known(connection, "product_id", [query.product_id])
                found = await find(connection, query)
            return wire.deletion_message(found.count, found.first, found.last, found.sources, deleted=False)
        key = request_key(services.MARKET.name, "DeleteCandles", query.request_id, request)
        with self._alone(query.request_id):
            stored = await self._answered(key, pb.DeleteCandlesResponse)
            if stored is not None:
                return stored
            async with self._kit.engine.begin() as connection:
                await _require_known(connection, "product_id", [query.product_id])
                found = await delete_candles(connection, query, key.caller)
                answer = wire.deletion_message(found.count, found.first, found.last, found.sources, deleted=True)
                await store_answer(connection, key, answer)
        self._feed.deleted_from.add(query.product_id)
        self._kit.log.warning("candles_deleted", product=query.product_id, count=found.count, note=query.note)
        return answer

    async def _fetch(self, query: BackfillQuery) -> Fetch:
        """What to ask for: whole bars that are closed by the exchange's time, of products that it has."""
        if not self._feed.followed:
            await self._feed.refresh_products()
        unlisted = await self._feed.unlisted(query.product_ids)
        if unlisted:
            raise InvalidRequest([_unknown("product_ids", product_id) for product_id in unlisted])
        now = await self._feed.market_time()
        newest_close = bar_start(now, query.granularity)
        end = newest_close if query.end is None else min(query.end, newest_close)
        span = grid_span(query.start, end, query.granularity)
        starts = dict.fromkeys(query.product_ids or self._feed.followed, span.start)
        fetch = Fetch(starts, span.end, query.granularity, now)
        if fetch.total() > MOST_BARS_FETCHED:
            description = f"asks for {fetch.total()} bars; at most {MOST_BARS_FETCHED}, so split the period"
            raise InvalidRequest([Violation("start_time", "TOO_MANY_BARS", description)])
        return fetch

    def _admit(self, query: ImportQuery) -> None:
        """The bars of a made-up market lie under the same products and times as real ones; a series of both means nothing."""
        if self._kit.settings.market_simulated and not query.into_simulated:
            message = (
                "the market here is made up; real candles between its own would make nonsense of what its model learns."
                " Set into_simulated to mix them all the same"
            )
            raise FailedPrecondition("MARKET_SIMULATED", message)

    async def _import_time(self) -> datetime:
        """What counts as closed in a file: the exchange's time, so that a simulated market never sees its future.

        Where the exchange's time is wall time, an import does not need it to answer.
        """
        try:
            return await self._feed.market_time()
        except ExchangeUnavailable:
            if self._kit.settings.venue in (Venue.SIMULATED, Venue.REPLAY):
                raise
            return self._kit.clock.now()

    @contextmanager
    def _alone(self, request_id: UUID) -> Iterator[None]:
        """The same request is not worked on twice at once."""
        key = (current_caller().name, request_id)
        if key in self._running:
            raise AlreadyInProgress(request_id)
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    async def _answered(self, key: RequestKey, kind: type[M]) -> M | None:
        """The stored answer of a request that was made before."""
        async with self._kit.autocommit.connect() as connection:
            return await stored_answer(connection, key, kind)


async def _require_known(connection: AsyncConnection, field: str, product_ids: Collection[str]) -> None:
    unknown = await store.unknown_products(connection, product_ids)
    if unknown:
        raise InvalidRequest([_unknown(field, product_id) for product_id in unknown])


def _unknown(field: str, product_id: str) -> Violation:
    return Violation(field, "UNKNOWN_PRODUCT", f"{product_id} is not known here; ListProducts names what is followed")
