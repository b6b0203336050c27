"""Writes down what was decided about a position: an order that protects it, or that one which waited is to be sold now.

The account is locked, its trading state was looked at, and what is written was decided by rows read under that lock.
"""

from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.clocks import read_clocks
from svc_executor import intent_store, store
from svc_executor.intent import BodyOf, Protection, protective_intent
from svc_executor.intent_store import NewIntent
from svc_executor.protection_step import Held, Protect, Standing
from svc_executor.store import OrderRow
from tradekit import ids
from tradekit.reasons import Reason
from tradekit.states import ExitTrigger, OrderState, Venue


async def write(connection: AsyncConnection, held: Held, step: Protect, venue: Venue, body_of: BodyOf) -> OrderRow:
    """The new order, and the end of the one that waited in its place, if any."""
    entry = held.entry_order_id if step.successor_of is None else step.successor_of.entry_order_id
    if isinstance(step.successor_of, Standing):
        await _end_waiting(connection, step.successor_of.order_id)
    clocks = await read_clocks(connection)
    intent = protective_intent(
        ids.protective_order_id(held.product_id, entry, held.tried_for(entry).made + 1),
        held.product_id,
        step.size,
        Protection(entry, step.plan, step.order_type, step.trigger),
        venue,
        clocks.market or clocks.machine,
        body_of,
    )
    written = await intent_store.write_intents(connection, [NewIntent(intent)])
    return written[intent.order_id]


async def _end_waiting(connection: AsyncConnection, order_id: UUID) -> None:
    order = await store.lock_order(connection, order_id)
    why = Reason("PROTECTION_CHANGED", scope=f"order:{order_id}")
    await store.end_order(connection, order, OrderState.CANCELLED, [why])


async def trigger_order(connection: AsyncConnection, order_id: UUID, trigger: ExitTrigger) -> OrderRow | None:
    """WAITING → PENDING; None where it does not wait (any more). The account is locked, its trading state was looked at."""
    order = await store.lock_order(connection, order_id)
    if order.state is not OrderState.WAITING or order.cancel_requested_at is not None:
        return None
    return await store.change_order(
        connection,
        order_id,
        state=OrderState.PENDING.value,
        trigger=trigger.value,
        triggered_at=func.clock_timestamp(),
    )
