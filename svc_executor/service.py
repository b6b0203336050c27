"""ExecutorService: parse, decide, store, answer."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from exchange_client import open_exchange
from meshkit.background import after
from meshkit.errors import NotFound, OutcomeUnknown, Unavailable
from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec, Task
from schema import streams
from schema.presence import schema_check
from schema.requests import once, request_key, stored_answer
from svc_executor import position_store, store, wire
from svc_executor.availability import Availability
from svc_executor.cancelling import Cancelling
from svc_executor.closing import Closing
from svc_executor.closing_again import ClosingAgain
from svc_executor.driver import OrderDriver
from svc_executor.entry_watch import EntryWatch
from svc_executor.feeds import HEALTH, ExecutorFeeds
from svc_executor.fees import FeeKeeper
from svc_executor.intake import ExchangeFacts, Intake
from svc_executor.ledger_service import Ledger
from svc_executor.live_key_check import check_live
from svc_executor.live_start import LiveStart
from svc_executor.locks import ReadersWriterLock
from svc_executor.operator_service import OperatorCalls
from svc_executor.order_news import OrderNews
from svc_executor.order_tracker import OrderTracker
from svc_executor.prices import Prices
from svc_executor.product_rules import ProductRules
from svc_executor.protector import Protector
from svc_executor.reconciler import Reconciler
from svc_executor.settings import ExecutorSettings
from svc_executor.ticket import load_public_key
from svc_executor.trading_switch import TradingSwitch
from tradekit import ledger_accounts, services
from tradekit.products import base_currency
from tradekit.states import Venue
from tradekit.units import QuoteSize
from tradekit.watching import ROW_SPACING_SECONDS, Watched, frames, position
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc
from trading.executor.v1 import ledger_pb2 as ledger_pb


class ExecutorServicer(pb_grpc.ExecutorServiceServicer):
    """The RPCs of the executor."""

    def __init__(
        self,
        settings: ExecutorSettings,
        kit: Kit[Any],
        intake: Intake,
        tracker: OrderTracker,
        reconciler: Reconciler,
        operator: OperatorCalls,
        ledger: Ledger,
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._intake = intake
        self._tracker = tracker
        self._reconciler = reconciler
        self._operator = operator
        self._ledger = ledger

    async def ExecuteRecommendation(
        self, request: pb.ExecuteRecommendationRequest, context: ServicerContext
    ) -> pb.ExecuteRecommendationResponse:
        """Writes the intent down, then tracks its order for as long as the caller waits."""
        wanted = wire.parse_execute(request)
        await self._reconciler.open_ledger()
        placed = await self._intake.order_for(wanted)
        order_id = placed.order_id
        try:
            order = await self._tracker.track(order_id, placed.sending) or await self._stored(order_id)
            return pb.ExecuteRecommendationResponse(order=wire.order_message(order))
        except Unavailable as error:
            # The intent is committed, so "did not happen" would not be true.
            raise OutcomeUnknown(
                f"order {order_id} is written down and its state cannot be told now: {error.message}",
                metadata={"order_id": str(order_id)},
            ) from error

    async def _stored(self, order_id: UUID) -> store.OrderRow:
        async with self._kit.autocommit.connect() as connection:
            order = await store.get_order(connection, order_id)
        if order is None:
            raise NotFound("order", order_id)
        return order

    async def GetOrder(self, request: pb.GetOrderRequest, context: ServicerContext) -> pb.GetOrderResponse:
        """One order by either of its ids."""
        name = wire.parse_get(request)
        async with self._kit.autocommit.connect() as connection:
            if name.order_id is not None:
                order = await store.get_order(connection, name.order_id)
            elif name.recommendation_id is not None:
                order = await store.order_of_recommendation(connection, name.recommendation_id)
            else:
                order = None
        if order is None:
            raise NotFound("order", name.order_id or name.recommendation_id)
        return pb.GetOrderResponse(order=wire.order_message(order))

    async def ListOrders(self, request: pb.ListOrdersRequest, context: ServicerContext) -> pb.ListOrdersResponse:
        """A page, newest first."""
        wanted = wire.parse_list(request)
        size = wanted.page.size
        async with self._kit.autocommit.connect() as connection:
            rows = await store.list_orders(connection, wanted.product_id, wanted.state, wanted.before, size + 1)
        token = wire.page_token(rows[size - 1], wanted.scope) if len(rows) > size else ""
        orders = [wire.order_message(row) for row in rows[:size]]
        return pb.ListOrdersResponse(orders=orders, next_page_token=token)

    async def WatchOrders(
        self, request: pb.WatchOrdersRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        """Changed orders after a sequence, then new changes."""
        async with self._kit.autocommit.connect() as connection:
            after = position(request, await store.head_sequence(connection))
        watched = Watched(streams.ORDERS, self._changed, _frame, spacing_seconds=ROW_SPACING_SECONDS)
        async for frame in frames(self._kit, after, watched, pb.WatchOrdersResponse):
            yield frame

    async def _changed(self, after: int, limit: int) -> list[pb.Order]:
        async with self._kit.autocommit.connect() as connection:
            orders = await store.changed_after(connection, after, limit)
        return [wire.order_message(order) for order in orders]

    async def ListPositions(
        self, request: pb.ListPositionsRequest, context: ServicerContext
    ) -> pb.ListPositionsResponse:
        """What is held, valued at the newest closed candles, and the account."""
        currency = self._settings.account_currency
        async with self._kit.autocommit.connect() as connection:
            standing = await position_store.read_standing(connection, self._settings.granularity_seconds)
        coins = {base_currency(row.product_id) for row in standing.positions}
        account = wire.AccountView(
            positions=standing.positions,
            marks=standing.marks,
            cash={name: own for name, own in standing.of(ledger_accounts.EXCHANGE).items() if name not in coins},
            currency=currency,
            unadopted=standing.of(ledger_accounts.UNADOPTED),
            opening_balance=QuoteSize(-standing.total(ledger_accounts.OPENING, currency)),
            transfers=QuoteSize(-standing.total(ledger_accounts.ADJUSTMENTS, currency)),
            total_fees=QuoteSize(standing.total(ledger_accounts.FEES, currency)),
            venue=self._settings.venue,
        )
        return wire.positions_message(account)

    async def Reconcile(self, request: pb.ReconcileRequest, context: ServicerContext) -> pb.ReconcileResponse:
        """One reconciliation now; the same request_id gives the stored answer."""
        request_id = wire.parse_reconcile(request)
        key = request_key(self._settings.service_name, "Reconcile", request_id, request)
        async with self._kit.autocommit.connect() as connection:
            stored = await stored_answer(connection, key, pb.ReconcileResponse)
        if stored is not None:
            return stored
        # Comparing twice does no harm; only the answer is kept.
        response = wire.reconcile_message(await self._reconciler.reconcile())

        async def compared() -> pb.ReconcileResponse:
            return response

        async with self._kit.engine.begin() as connection:
            answer, _ = await once(connection, key, pb.ReconcileResponse, compared)
        return answer

    async def SetTradingState(
        self, request: pb.SetTradingStateRequest, context: ServicerContext
    ) -> pb.SetTradingStateResponse:
        """Stops at once; lets go through the database."""
        return await self._operator.set_trading_state(request)

    async def GetTradingState(
        self, request: pb.GetTradingStateRequest, context: ServicerContext
    ) -> pb.GetTradingStateResponse:
        """What is in force here."""
        return self._operator.get_trading_state()

    async def CancelOrders(self, request: pb.CancelOrdersRequest, context: ServicerContext) -> pb.CancelOrdersResponse:
        """Ends what is not sent, cancels what rests."""
        await self._reconciler.owner.require()
        return await self._operator.cancel_orders(request)

    async def ClosePositions(
        self, request: pb.ClosePositionsRequest, context: ServicerContext
    ) -> pb.ClosePositionsResponse:
        """Sells what is held."""
        await self._reconciler.owner.require()
        return await self._operator.close_positions(request)

    async def ProtectPositions(
        self, request: pb.ProtectPositionsRequest, context: ServicerContext
    ) -> pb.ProtectPositionsResponse:
        """Does now what is done at every bar."""
        await self._reconciler.owner.require()
        return await self._operator.protect_positions(request)

    async def GetLedger(
        self, request: ledger_pb.GetLedgerRequest, context: ServicerContext
    ) -> ledger_pb.GetLedgerResponse:
        """The ledger beside the newest reconciliation."""
        return await self._ledger.get()

    async def AdjustLedger(
        self, request: ledger_pb.AdjustLedgerRequest, context: ServicerContext
    ) -> ledger_pb.AdjustLedgerResponse:
        """An operator's adjustment, previewed or booked."""
        return await self._ledger.adjust(request)

    async def AdoptHoldings(
        self, request: ledger_pb.AdoptHoldingsRequest, context: ServicerContext
    ) -> ledger_pb.AdoptHoldingsResponse:
        """Coins that were there become positions."""
        return await self._ledger.adopt(request)


def _frame(orders: Sequence[pb.Order]) -> pb.WatchOrdersResponse:
    return pb.WatchOrdersResponse(batch=pb.OrderBatch(orders=orders))


async def build(settings: ExecutorSettings, kit: Kit[ExecutorSettings]) -> ServiceSpec:
    """The executor as meshkit runs it; refuses to start with a key that must not spend real money."""
    key = load_public_key(settings.ticket_public_key_file)
    exchange = await open_exchange(settings.exchange_config())
    try:
        if settings.venue is Venue.LIVE:
            check_live(await exchange.key_permissions(), settings.live_confirm)
    except BaseException:
        await exchange.close()
        raise
    switch = TradingSwitch(kit, settings.halt_file)
    lock = ReadersWriterLock()
    driver = OrderDriver(kit.engine, kit.dedicated(), exchange, lock, switch, settings.absence, kit.log)
    fees = FeeKeeper(kit.engine, exchange, settings.taker_fee_setting, kit.clock, kit.log)
    reconciler = Reconciler(settings, kit, exchange, driver, lock, fees)
    rules, available = ProductRules(exchange, kit.log), Availability(exchange, kit.log)
    tracker = OrderTracker(kit, driver, reconciler)
    facts = ExchangeFacts(rules, available, driver.clock, fees)
    cancelling = Cancelling(kit.engine, exchange, driver, kit.log)
    prices = Prices(exchange, kit.clock, kit.log, settings.protection_poll_seconds)
    open_feeds = exchange.feeds(settings.feed_silent_seconds) if settings.follows_feeds else None
    news = OrderNews(kit, driver, reconciler)
    feeds = ExecutorFeeds(open_feeds, kit, settings.feed_silent_seconds, news, prices) if open_feeds else None
    told = feeds.orders_are_told if feeds else lambda: False
    entries = EntryWatch(kit, exchange, driver, cancelling, switch, told, settings.protection_poll_seconds)
    protector = Protector(
        settings, kit, exchange, rules, cancelling, driver, tracker, switch, available, entries, prices, told
    )
    intake = Intake(settings, kit.dedicated(), key, exchange, facts, switch, driver, tracker.begin, protector)
    later = ClosingAgain(kit.engine, kit.log)
    closing = Closing(settings, kit.engine, intake, rules, available, tracker, exchange.body_of, protector, later)
    operator = OperatorCalls(kit, switch, cancelling, closing, later, protector, entries)
    ledger = Ledger(settings, kit, exchange, reconciler)
    servicer = ExecutorServicer(settings, kit, intake, tracker, reconciler, operator, ledger)

    def owned(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        """Work that begins when the ledger is known to be no other's."""

        async def begun() -> None:
            await reconciler.owner.wait()
            await work()

        return begun

    # In a replay the market waits for whoever leads it, and he asks: nothing happens between two bars by itself.
    lockstep = settings.venue is Venue.REPLAY
    watch = [] if lockstep else [Task("protect", owned(protector.run)), Task("entries", owned(entries.run))]
    watch += [] if lockstep else [Task("closes", owned(partial(later.run, closing)))]
    if settings.venue is Venue.LIVE:
        watch.append(Task("live-start", LiveStart(kit, switch, reconciler.check_entries).run))
    schema = schema_check(kit)
    tasks = [
        Task("reconcile", reconciler.run),
        Task("trading-switch", switch.run),
        Task("halt-keeper", switch.keep),
        *watch,
        *(feeds.tasks() if feeds else ()),
    ]
    return ServiceSpec(
        servicers=[Registration(pb_grpc.add_ExecutorServiceServicer_to_server, servicer, services.EXECUTOR.full_name)],
        background=after(schema, tasks, kit),
        ready=[Check("database", kit.check_database), schema],
        entries=[Check("reconciliation", reconciler.check_entries)],
        others={HEALTH: feeds.checks()} if feeds else {},
        on_stop=exchange.close,
    )
