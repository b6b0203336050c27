"""Brings one order nearer to its end: sends, searches, asks again, records. Every send is counted and committed first.

What the network did never decides an order's outcome; only the exchange's own word does. An order that this call could not
settle stays as the row says, and the reconciler drives it again.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from exchange_client import (
    Accepted,
    CreateOutcome,
    Exchange,
    ExchangeFill,
    ExchangeOrder,
    ExchangeRefused,
    ExchangeUnavailable,
    NotSent,
    Refused,
    SameTerms,
    Unknown,
)
from meshkit.backoff import Backoff
from meshkit.dedicated import Dedicated
from meshkit.errors import Unavailable
from svc_executor.exchange_clock import ExchangeClock
from svc_executor.locks import KeyedLocks, ReadersWriterLock, Watches
from svc_executor.order_changes import OrderChanges
from svc_executor.order_lookups import OrderLookups
from svc_executor.order_resolution import (
    Circumstances,
    Step,
    adds_up,
    conclude,
    never_made,
    next_step,
)
from svc_executor.store import OrderRow
from tradekit.decimals import plain
from tradekit.reasons import Reason
from tradekit.states import OrderState, Side, TradingState

SENDS_PER_DRIVE = 3
_LOOKS_AFTER_ACCEPTANCE = 5
_UNMADE = (OrderState.PENDING, OrderState.UNKNOWN)


class Permit(Protocol):
    """What this process knows of the trading state, without the database."""

    def allows(self, side: Side) -> bool:
        """Whether an order of this side may leave now."""


@dataclass(frozen=True, slots=True)
class FirstSend:
    """An order whose first send was counted in the transaction of its intent, as the row was then. `born`: the exchange
    client's `wall_seconds` before the count. `claim`: by `OrderDriver.claims`, since before that transaction."""

    order: OrderRow
    born: float
    claim: AsyncExitStack


class OrderDriver:
    """Works on orders, each by one task at a time. `absence`: see `svc_executor.order_resolution`."""

    def __init__(
        self,
        engine: AsyncEngine,
        dedicated: Dedicated,
        exchange: Exchange,
        lock: ReadersWriterLock,
        permit: Permit,
        absence: timedelta,
        log: Any,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes = OrderChanges(engine, dedicated, log)
        self._exchange = exchange
        self.clock = ExchangeClock(exchange, log, monotonic)
        self._lock = lock
        self._permit = permit
        self._absence = absence
        self._log = log
        self._random = random.Random()
        self._watches = Watches(monotonic)
        # Of orders whose earlier send is in doubt, what the exchange said to a later one. Lost in a restart, asked for once more.
        self._refusals: dict[UUID, Reason] = {}
        self._lookups = OrderLookups(exchange)
        self.busy = KeyedLocks()
        self._ended: Callable[[OrderRow], None] = lambda _: None
        self._rests: Callable[[OrderRow], None] = lambda _: None

    def when_ended(self, heard: Callable[[OrderRow], None]) -> None:
        """Who hears of every order that is done, perhaps more than once."""
        self._ended = heard

    def when_entry_rests(self, heard: Callable[[OrderRow], None]) -> None:
        """Who hears of every entry with a limit that is not done after it was worked on, each time."""
        self._rests = heard

    async def drive(self, order_id: UUID) -> OrderRow:
        """The order after everything that could be done about it now."""
        async with self.busy.hold(order_id), self._lock.shared():
            return await self._settled(order_id, self._drive(order_id))

    @asynccontextmanager
    async def claims(self, order_ids: Iterable[UUID]) -> AsyncIterator[dict[UUID, AsyncExitStack]]:
        """Takes orders that are about to be written down to work, but for those that somebody works on already. A claim that
        is not handed on by the end is given back. Whoever sees the count of a send in the row sees so as well that it is in
        good hands, and no send waits any more once it is counted.
        """
        async with self._lock.shared(), AsyncExitStack() as unused:
            claimed = {}
            for order_id in order_ids:
                claim = await self.busy.claim(order_id)
                if claim is not None:
                    claimed[order_id] = await unused.enter_async_context(claim)
                    claim.enter_context(self._lock.beside())
            yield claimed

    async def send_first(self, first: FirstSend) -> OrderRow:
        """As `drive`, for an order that was just written down and counted: it is sent without reading it again."""
        async with first.claim:
            return await self._settled(first.order.order_id, self._begin(first))

    async def _settled(self, order_id: UUID, work: Coroutine[Any, Any, OrderRow]) -> OrderRow:
        try:
            order = await work
        except (ExchangeUnavailable, ExchangeRefused) as error:
            self._log.warning("order_not_settled", order_id=str(order_id), why=error.message)
            order, _ = await self._changes.read(order_id)
        if order.terminal:
            self._watches.forget(order_id)
            self._refusals.pop(order_id, None)
            self._ended(order)
        elif order.limit is not None:
            self._rests(order)
        return order

    async def _begin(self, first: FirstSend) -> OrderRow:
        uncounted = replace(first.order, send_count=0, sent_at=None)
        return await self._create(uncounted, first.order, first.born, alone=True) or await self._drive(
            uncounted.order_id, sends=1
        )

    async def _drive(self, order_id: UUID, sends: int = 0) -> OrderRow:
        """`sends` that were made just now, before this."""
        backoff = Backoff(0.1, 2.0, self._random)
        # How long the order had been in doubt when the search began that did not find it.
        absent: timedelta | None = None
        while True:
            order, trading = await self._changes.read(order_id)
            waited = self._waited(order)
            refusal = self._refusals.get(order_id)
            permitted = self._permit.allows(order.side)
            circumstances = Circumstances(
                trading, permitted, absent is not None, absent or timedelta(0), refusal is not None
            )
            match next_step(order.facts, circumstances, self._absence):
                case Step.DONE | Step.WAIT:
                    return order
                case Step.REFRESH:
                    return await self._refresh(order)
                case Step.GIVE_UP:
                    why = refusal or Reason("NOT_SENT", scope="request")
                    return await self._changes.end(order, OrderState.REJECTED, why)
                case Step.CANCEL:
                    return await self._changes.end(order, OrderState.CANCELLED, order.facts.why_cancelled[0])
                case Step.HALT:
                    return await self._changes.end(order, OrderState.REJECTED, _halted(trading))
                case Step.SEARCH:
                    order = await self._changes.in_doubt(order)
                    found = await self._lookups.search(order)
                    if found is not None:
                        return await self._take_over(order, found)
                    absent = waited
                case Step.SEND:
                    if sends == SENDS_PER_DRIVE:
                        return order
                    if sends:
                        await asyncio.sleep(backoff.next_seconds())
                    sends += 1
                    settled = await self._send(order, circumstances)
                    if settled is not None:
                        return settled
                    absent = None

    def _waited(self, order: OrderRow) -> timedelta:
        """How long this process has seen the newest send of open outcome: no clock that can be set shortens it."""
        return timedelta(seconds=self._watches.age(order.order_id, order.sent_at)) if order.sent_at else timedelta(0)

    # ---- sending -----------------------------------------------------------------------------------------------------

    async def _send(self, order: OrderRow, circumstances: Circumstances) -> OrderRow | None:
        """One send. The order where that settled the question of sending, None where the next step must be found."""
        past = await self.clock.past()
        # Before the send is counted: no token of it lives longer after the count than a token's life.
        born = self._exchange.wall_seconds()
        counted = await self._changes.count_send(order, past)
        if counted is None:
            return None
        # Whether no earlier send may have made it.
        alone = never_made(order.facts, circumstances, self._absence)
        return await self._create(order, counted, born, alone=alone)

    async def _create(self, order: OrderRow, counted: OrderRow, born: float, *, alone: bool) -> OrderRow | None:
        """The order, `counted` after its send was: sent, and what came of it. `alone`: no earlier send may have made it."""
        outcome = await self._exchange.create_order(
            counted.body.encode(), permit=lambda: self._permit.allows(order.side), born=born
        )
        self._log.info(
            "order_sent", order_id=str(order.order_id), count=counted.send_count, outcome=type(outcome).__name__
        )
        return await self._after_send(order, counted, outcome, alone=alone)

    async def _after_send(
        self, order: OrderRow, counted: OrderRow, outcome: CreateOutcome, *, alone: bool
    ) -> OrderRow | None:
        match outcome:
            case Accepted(exchange_order_id, client_order_id) if client_order_id == str(order.order_id):
                return await self._accepted(counted, exchange_order_id)
            case Accepted() | Unknown():
                self._log.warning("order_in_doubt", order_id=str(order.order_id), outcome=str(outcome)[:200])
                await self._changes.in_doubt(counted)
                return None
            case Refused(reason, message):
                refusal = Reason(reason, observed=message[:100], scope="exchange")
                return await self._not_made(order, counted, refusal, alone=alone)
            case NotSent(why, permanent=True):
                refusal = Reason("BAD_REQUEST", observed=why[:100], scope="exchange")
                return await self._not_made(order, counted, refusal, alone=alone)
            case NotSent(why):
                self._log.warning("order_not_sent", order_id=str(order.order_id), why=why)
                await self._changes.forget_send(order, counted)
                return None

    async def _not_made(self, order: OrderRow, counted: OrderRow, reason: Reason, *, alone: bool) -> OrderRow:
        """This send made no order. That settles it unless an earlier send may have."""
        if alone:
            return await self._changes.end(counted, OrderState.REJECTED, reason)
        self._log.warning("refused_after_doubt", order_id=str(order.order_id), reason=reason.code)
        self._refusals[order.order_id] = reason
        return await self._changes.forget_send(order, counted)

    async def _accepted(self, order: OrderRow, exchange_order_id: str) -> OrderRow:
        """An order with our id exists; only a look at it proves that it is ours."""
        backoff, urgent = Backoff(0.05, 1.0, self._random), order.side is Side.SELL
        for _ in range(_LOOKS_AFTER_ACCEPTANCE):
            # Asked for at the same time. Fills that are not those of the order as it was seen are asked for again.
            found, fills = await asyncio.gather(
                self._lookups.order(exchange_order_id, urgent=urgent),
                self._lookups.fills(exchange_order_id, urgent=urgent),
                return_exceptions=True,
            )
            if isinstance(found, ExchangeUnavailable | ExchangeRefused):
                self._log.warning("accepted_not_seen", order_id=str(order.order_id), why=found.message)
                break
            if isinstance(found, BaseException):
                raise found
            if found is not None:
                return await self._take_over(order, found, None if isinstance(fills, BaseException) else fills)
            await asyncio.sleep(backoff.next_seconds())
        # The exchange's word that there is one: it is asked for by its id from now on, never sent again nor given up.
        return await self._changes.in_doubt(order, exchange_order_id)

    # ---- the exchange's word -----------------------------------------------------------------------------------------

    async def _refresh(self, order: OrderRow) -> OrderRow:
        found = await self._exchange.order(order.exchange_order_id or "")
        if found is None or self._terms(order, found) is SameTerms.UNREADABLE:
            found = await self._lookups.search(order) or found
        return order if found is None else await self._take_over(order, found)

    async def _take_over(
        self, order: OrderRow, found: ExchangeOrder, told: Sequence[ExchangeFill] | None = None
    ) -> OrderRow:
        """Records what the exchange has of our order. `told`: its fills, asked for when the order was."""
        terms = self._terms(order, found)
        if terms is SameTerms.OTHER:
            again = await self._exchange.order(found.order_id)
            terms = self._terms(order, again) if again is not None else SameTerms.UNREADABLE
            found, told = again or found, None
        if terms is SameTerms.OTHER and order.state in _UNMADE:
            return await self._taken(order, found)
        if terms is not SameTerms.OURS:
            self._log.error("order_unreadable", order_id=str(order.order_id), exchange_order_id=found.order_id)
            return await self._changes.in_doubt(order)
        fills = await self._fills(order, found, told) if found.filled_size > 0 else []
        concluded = conclude(found, fills, order.facts.why_cancelled)
        return await self._changes.record(order, found.order_id, fills, concluded)

    def _terms(self, order: OrderRow, found: ExchangeOrder) -> SameTerms:
        return self._exchange.same_terms(order.facts.terms, found)

    async def _taken(self, order: OrderRow, found: ExchangeOrder) -> OrderRow:
        """An order of other terms under our id, seen twice, means that ours was never made. Whose it is, a person must find
        out: what it filled is in no ledger of ours."""
        told = f"{found.order_id}: {found.side} {found.product_id}, filled {plain(found.filled_size)}"
        self._log.error("client_order_id_taken", order_id=str(order.order_id), by=told)
        return await self._changes.end(
            order, OrderState.REJECTED, Reason("CLIENT_ORDER_ID_TAKEN", observed=told, scope="exchange")
        )

    async def _fills(
        self, order: OrderRow, found: ExchangeOrder, told: Sequence[ExchangeFill] | None
    ) -> list[ExchangeFill]:
        """The fills that can be booked. What is left out is missing in the sum, so that the order does not end."""
        if told is None or not adds_up(found, told):
            told = await self._exchange.fills([found.order_id])
        kept = []
        for fill in told:
            ours = fill.product_id == order.product_id and fill.side == order.side.value
            if ours and fill.trade_type == "FILL":
                kept.append(fill)
            else:
                # Reversals and corrections are in the exchange's schema, undocumented; the comparison will show them.
                self._log.error("unbooked_fill", fill_id=fill.entry_id, trade_type=fill.trade_type)
        return kept

    # ---- after the end -----------------------------------------------------------------------------------------------

    async def adopt_late(self) -> None:
        """Looks whether the exchange has an order that ended without its last word, and takes it over. ExchangeUnavailable."""
        found = await self._lookups.watched(await self._changes.watched())
        # Another's order under our id was told when ours ended.
        ours = [
            (order, one) for order, one in found if _is_news(order, one) and self._terms(order, one) is SameTerms.OURS
        ]
        failed = await asyncio.gather(*(self._adopt(order, one) for order, one in ours))
        for outage in filter(None, failed):
            raise outage

    async def _adopt(self, order: OrderRow, found: ExchangeOrder) -> Unavailable | None:
        """One that cannot be taken over must not keep the others, nor the comparison of balances, from being worked on; an outage
        is given back."""
        try:
            told = await self._lookups.fills(found.order_id, urgent=False) if found.filled_size > 0 else None
            async with self.busy.hold(order.order_id), self._lock.shared():
                await self._take_over(order, found, told)
        except Unavailable as outage:
            return outage
        except Exception as error:
            self._log.error("order_not_adopted", order_id=str(order.order_id), exc_info=error)
        return None


def _is_news(order: OrderRow, found: ExchangeOrder) -> bool:
    """Whether the exchange says anything else of an order that has ended; that it has settled is the last that it says."""
    same = order.done_at is not None and found.terminal and found.filled_size == order.filled_size
    return found.settled or not same


def _halted(trading: TradingState) -> Reason:
    return Reason("KILL_SWITCH", limit=TradingState.ACTIVE.value, observed=trading.value, scope="account")
