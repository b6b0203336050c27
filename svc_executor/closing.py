"""An operator's way out that needs no other service: sells what is held, one order for each product."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meshkit import database
from meshkit.errors import MeshError, OutcomeUnknown, Unavailable
from meshkit.together import together
from schema.clocks import read_clocks
from schema.execution import waiting_closes
from svc_executor import closing_store, intent_store, store
from svc_executor.availability import Availability
from svc_executor.closing_again import AGAIN, ClosingAgain, waits
from svc_executor.closing_store import WaitingClose
from svc_executor.holding import read_holding
from svc_executor.intake import Intake, Protected
from svc_executor.intent import BodyOf, close_intent
from svc_executor.intent_store import NewIntent
from svc_executor.order_tracker import OrderTracker
from svc_executor.product_rules import ProductRules
from svc_executor.reduce import left_to_sell, reduce_only
from svc_executor.settings import ExecutorSettings
from tradekit import ids
from tradekit.reasons import Reason
from tradekit.sizes import NO_BASE, NO_PRICE_KNOWN
from tradekit.states import Side, Venue
from tradekit.units import BaseSize, ProductId

# Of the caller's minute; an order that takes longer goes on and is reported as it stands.
_TRACK_SECONDS = 40.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Close:
    """What an operator wants closed; no products means everything held."""

    request_id: UUID
    product_ids: tuple[ProductId, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Closed:
    """What came of one position: `order_id` None where no order could be made, or none is known of; `why` says so. Of one with
    an order, `why` says that a part of it waits."""

    product_id: ProductId
    held: BaseSize
    order_id: UUID | None
    why: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedClose:
    """One position to sell. `size`: what was held when it was asked for, or what was left of that. `waited`: this is a further
    try."""

    order_id: UUID
    product_id: ProductId
    size: BaseSize
    note: str
    waited: bool = False


class Closing:
    """Makes and tracks the orders of closes."""

    def __init__(
        self,
        settings: ExecutorSettings,
        engine: AsyncEngine,
        intake: Intake,
        rules: ProductRules,
        available: Availability,
        tracker: OrderTracker,
        body_of: BodyOf,
        protected: Protected,
        later: ClosingAgain,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._autocommit = database.autocommit(engine)
        self._intake = intake
        self._rules = rules
        self._available = available
        self._tracker = tracker
        self._body_of = body_of
        self._protected = protected
        self._later = later

    async def close(self, wanted: Close) -> list[Closed]:
        """One result for each product, in the order asked for, or by name. TRADING_HALTED for all of them while that is so."""
        async with self._autocommit.connect() as connection:
            self._intake.require_open((await store.read_trading_state(connection)).state, Side.SELL)
            held = await store.held(connection)
            products = wanted.product_ids or await self._everything(connection, wanted.request_id, held)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(product_id: ProductId) -> Closed:
            async with turns:
                return await self._close(wanted, product_id, held.get(product_id, NO_BASE))

        return await together(map(one, products))

    async def _everything(
        self, connection: AsyncConnection, request_id: UUID, held: Mapping[ProductId, BaseSize]
    ) -> tuple[ProductId, ...]:
        """What is held, and what this request has sold already if it is asked again."""
        order_of = {name: ids.close_order_id(request_id, name) for name in held}
        made = {order.order_id for order in await store.orders_by_id(connection, list(order_of.values()))}
        return tuple(name for name in sorted(held) if held[name] > 0 or order_of[name] in made)

    async def _close(self, wanted: Close, product_id: ProductId, held: BaseSize) -> Closed:
        order_id = ids.close_order_id(wanted.request_id, product_id)
        # One position that cannot be sold must not keep the others from it.
        why = await self._order(WantedClose(order_id, product_id, held, wanted.note))
        if why:
            return Closed(product_id, held, None, why)
        # The order is written down: an outage from here on changes only what can be told of it now.
        with suppress(MeshError):
            await self._tracker.track(order_id, longest_seconds=_TRACK_SECONDS)
        return Closed(product_id, held, order_id, await self._rest_waits(order_id))

    async def _rest_waits(self, order_id: UUID) -> tuple[Reason, ...]:
        with suppress(Unavailable):
            async with self._autocommit.connect() as connection:
                if await closing_store.waits(connection, ids.close_rest_order_id(order_id)):
                    return (_not_all(order_id), AGAIN)
        return ()

    async def _is_written(self, order_id: UUID) -> bool | None:
        """None where the database does not say."""
        try:
            async with self._autocommit.connect() as connection:
                return await store.get_order(connection, order_id) is not None
        except Unavailable:
            return None

    async def _order(self, one: WantedClose) -> tuple[Reason, ...]:
        """Writes the order down; where there is none, why not. It waits then, if that may be over by itself."""
        try:
            async with self._protected.released(one.product_id, one.order_id):
                try:
                    await self._write(one)
                except MeshError as error:
                    # Before anything protects it again, which would hold what this one waits for.
                    return await self._put_off(one, error)
        except MeshError as error:
            return await self._put_off(one, error)
        return ()

    async def _put_off(self, one: WantedClose, error: MeshError) -> tuple[Reason, ...]:
        why = _why(error, one.product_id)
        if isinstance(error, Unavailable):
            # Its last word may have been lost after the database had taken the order.
            written = await self._is_written(one.order_id)
            if written:
                self._later.look_soon()
                return ()
            why = why if written is False else _why(_not_known(error), one.product_id)
        # In a replay nothing happens by itself.
        if not waits(error) or one.size <= 0 or self._settings.venue is Venue.REPLAY:
            return why
        try:
            waiting = await self._later.put_off(one.order_id, one.product_id, one.size, one.note, why)
        except Unavailable:
            return why
        return (*why, AGAIN) if waiting else why

    async def again(self, waiting: WaitingClose) -> tuple[Reason, ...] | None:
        """One that waits, once more; None where its order is made, else why it waits on. MeshError where it can never be."""
        async with self._autocommit.connect() as connection:
            self._intake.require_open((await store.read_trading_state(connection)).state, Side.SELL)
        one = WantedClose(waiting.order_id, waiting.product_id, waiting.size, waiting.note, waited=True)
        async with self._protected.released(one.product_id, one.order_id):
            try:
                await self._write(one)
            except MeshError as error:
                if not waits(error):
                    raise
                return _why(error, one.product_id)
        if await self._is_written(one.order_id):
            with suppress(MeshError):
                await self._tracker.track(one.order_id)
        return None

    async def _write(self, one: WantedClose) -> None:
        """Sells what is free. What is not waits from the same moment on, under an id of its own."""
        product = await self._rules.of(one.product_id, Side.SELL)
        available = await self._available.of(one.product_id)
        async with self._engine.begin() as connection:
            self._intake.require_open(await store.lock_account(connection), Side.SELL)
            if one.waited and not await closing_store.waits(connection, one.order_id):
                # Somebody ended it meanwhile.
                return
            await closing_store.end(connection, waiting_closes.c.order_id == one.order_id)
            if await store.get_order(connection, one.order_id) is not None:
                return
            holding = await read_holding(connection, one.product_id, self._settings.granularity_seconds)
            # What was bought since one that waited was asked for is not meant.
            wanted = one.size if one.waited else holding.held
            size = reduce_only(wanted, holding, available, product)
            clocks = await read_clocks(connection)
            now = clocks.market or clocks.machine
            price = holding.price or NO_PRICE_KNOWN
            intent = close_intent(
                one.order_id, one.product_id, size, self._settings.venue, now, price, one.note, self._body_of
            )
            await intent_store.write_intents(connection, [NewIntent(intent)])
            rest = left_to_sell(wanted, size, holding, product)
            if rest <= 0 or self._settings.venue is Venue.REPLAY:
                return
            rest_id = ids.close_rest_order_id(one.order_id)
            await closing_store.put_off(connection, rest_id, one.product_id, rest, one.note, [_not_all(one.order_id)])
        self._later.look_soon()


def _not_all(order_id: UUID) -> Reason:
    return Reason("NOT_ALL_AVAILABLE", scope=f"order:{order_id}")


def _not_known(error: Unavailable) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"whether the order was written down is not known, as {error.message}; ask again, same request_id"
    )


def _why(error: MeshError, product_id: ProductId) -> tuple[Reason, ...]:
    """An error as reasons. The fields of broken rules are those of a recommendation, which whoever closes never made; what
    they describe is true all the same.
    """
    told = [(one.rule, one.description) for one in error.violations] or [(error.reason, error.message)]
    return tuple(Reason(code, observed=text[:200], scope=f"product:{product_id}") for code, text in told)
