"""Closes that could not be carried out at once: tried again until their order is made, somebody ends them, or a day is over.

They are rows, so a restart forgets none, and each is an alert while it waits. Nothing protects what one of them is to sell: a
new bracket would hold the coins that it waits for.
"""

import asyncio
import random
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from meshkit import database
from meshkit.backoff import Backoff
from meshkit.errors import MeshError
from meshkit.together import together
from schema.execution import waiting_closes
from svc_executor import closing_store, store
from svc_executor.closing_store import WaitingClose
from tradekit.reasons import Reason
from tradekit.recommendation import EXIT_RETRIES
from tradekit.units import BaseSize, ProductId

LONGEST_PAUSE_SECONDS = 30.0
# The pauses grow from here: most of what is waited for is a cancel that the exchange has not carried out yet.
_FIRST_PAUSE_SECONDS = 1.0
AGAIN = Reason(
    "CLOSE_WAITS",
    observed=f"tried again, at most {LONGEST_PAUSE_SECONDS:.0f} s apart, for a day; mesh halt --cancel ends it",
)


# What ends a close at once. A refusal of a read need not be the exchange's, and a list of its products may lack one.
_ENDS = frozenset({"TRADING_HALTED", "NOT_HELD"})


def waits(error: MeshError) -> bool:
    """Whether what kept a close of something that is held from being carried out may be over by itself."""
    return error.reason not in _ENDS


class Retried(Protocol):
    """Who carries closes out: `svc_executor.closing.Closing`."""

    async def again(self, one: WaitingClose) -> tuple[Reason, ...] | None:
        """One more try; None where its order is made, else why not. MeshError where it cannot be carried out."""


class ClosingAgain:
    """Keeps and tries what waits."""

    def __init__(self, engine: AsyncEngine, log: Any) -> None:
        self._engine = engine
        self._autocommit = database.autocommit(engine)
        self._log = log
        self._random = random.Random()
        self._new = asyncio.Event()
        # Those that the loop knows of; what is new is tried soon.
        self._tried: set[UUID] = set()

    async def put_off(
        self, order_id: UUID, product_id: ProductId, size: BaseSize, note: str, why: tuple[Reason, ...]
    ) -> bool:
        """A close waits from now on; False where it has ended before. Unavailable."""
        async with self._engine.begin() as connection:
            await store.lock_account(connection)
            waiting = await closing_store.put_off(connection, order_id, product_id, size, note, why)
        if order_id not in self._tried:
            self.look_soon()
        if waiting:
            self._log.warning("close_waits", order_id=str(order_id), product_id=product_id, why=why[0].code)
        return waiting

    def look_soon(self) -> None:
        """Something waits that the loop does not know of yet."""
        self._new.set()

    async def give_up(self, product_id: ProductId | None, order_id: UUID | None) -> list[WaitingClose]:
        """An operator ends those of a product, one by the id of its order, or all."""
        which = [] if product_id is None else [waiting_closes.c.product_id == product_id]
        which += [] if order_id is None else [waiting_closes.c.order_id == order_id]
        async with self._engine.begin() as connection:
            await store.lock_account(connection)
            return await closing_store.end(connection, *which, reasons=[Reason("CANCELLED_BY_OPERATOR")])

    async def run(self, closing: Retried) -> None:
        """Tries for ever."""
        backoff = Backoff(_FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, self._random)
        while True:
            self._new.clear()
            try:
                left = await self._try_all(closing)
            except MeshError as error:
                self._log.warning("closes_not_read", why=error.message)
                left = True
            except Exception as error:
                self._log.error("closes_not_tried", exc_info=error)
                left = True
            if not left:
                backoff.reset()
                await self._new.wait()
            with suppress(TimeoutError):
                # Not `wait_for`: in Python 3.11 it may take the cancellation of this task for its own.
                async with asyncio.timeout(backoff.next_seconds()):
                    await self._new.wait()
                backoff.reset()
                await asyncio.sleep(_FIRST_PAUSE_SECONDS)

    async def _try_all(self, closing: Retried) -> bool:
        """True if something waits on."""
        async with self._autocommit.connect() as connection:
            found = await closing_store.waiting(connection)
        self._tried = {one.order_id for one in found}
        return any(await together(self._try(closing, one) for one in found))

    async def _try(self, closing: Retried, one: WaitingClose) -> bool:
        """True if it waits on. One that fails must not keep the others from their try."""
        told = {"order_id": str(one.order_id), "product_id": one.product_id}
        try:
            return await self._try_once(closing, one, told)
        except MeshError as error:
            self._log.warning("close_not_tried", **told, why=error.message)
        except Exception as error:
            self._log.error("close_not_tried", **told, exc_info=error)
        return True

    async def _try_once(self, closing: Retried, one: WaitingClose, told: dict[str, str]) -> bool:
        try:
            if one.now - one.created_at >= EXIT_RETRIES:
                await self._end(one, (Reason("RETRIES_EXHAUSTED"), *one.reasons))
                self._log.error("close_given_up", **told, why=[reason.code for reason in one.reasons])
                return False
            why = await closing.again(one)
            if why is not None:
                await self.put_off(one.order_id, one.product_id, one.size, one.note, why)
            return why is not None
        except MeshError as error:
            if waits(error):
                raise
            await self._end(one, (Reason(error.reason, observed=error.message[:200]),))
            self._log.warning("close_ended", **told, why=error.message)
            return False

    async def _end(self, one: WaitingClose, reasons: tuple[Reason, ...]) -> None:
        async with self._engine.begin() as connection:
            await closing_store.end(connection, waiting_closes.c.order_id == one.order_id, reasons=reasons)
