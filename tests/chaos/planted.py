"""An executor with a bug: `python -m tests.chaos.planted`. A checker that stays silent about one has no teeth.

CHAOS_BUG names the bug. Each is one that somebody may well write.
"""

import json
import os
from dataclasses import replace
from typing import Any
from uuid import uuid4

from exchange_client import Refused, Unknown
from exchange_client.coinbase.client import CoinbaseClient
from meshkit.serve import serve
from svc_executor.cancelling import Cancelled, Cancelling
from svc_executor.order_changes import OrderChanges
from svc_executor.service import build
from svc_executor.settings import ExecutorSettings
from tradekit.reasons import Reason
from tradekit.states import OrderState

VARIABLE = "CHAOS_BUG"


def new_id_after_a_lost_reply() -> None:
    """What got no answer is sent once more, as a new order."""
    create = CoinbaseClient.create_order

    async def create_order(self: Any, body: bytes, *args: Any, **kwargs: Any) -> Any:
        outcome = await create(self, body, *args, **kwargs)
        if not isinstance(outcome, Unknown):
            return outcome
        again = {**json.loads(body), "client_order_id": str(uuid4())}
        await create(self, json.dumps(again).encode(), *args, **kwargs)
        return outcome

    CoinbaseClient.create_order = create_order  # type: ignore[method-assign]


def lost_reply_is_a_refusal() -> None:
    """What got no answer is taken not to be there."""
    create = CoinbaseClient.create_order

    async def create_order(self: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = await create(self, *args, **kwargs)
        return Refused("TIMEOUT", "no answer") if isinstance(outcome, Unknown) else outcome

    CoinbaseClient.create_order = create_order  # type: ignore[method-assign]


def cancel_not_waited_for() -> None:
    """What the exchange was asked to cancel is taken for cancelled, what it protected is sold beside it, and what is told later
    of an order that has ended is not heard: heard, it would be adopted and ended after all."""

    async def outcome(self: Any, before: Any, words: str) -> Cancelled:
        reason = Reason("CANCELLED_BY_OPERATOR", scope="request")
        ended = await self._driver._changes.end(before, OrderState.CANCELLED, reason)
        return Cancelled(ended, "CANCELLED", words)

    record = OrderChanges.record

    async def recorded(self: Any, order: Any, *args: Any) -> Any:
        return order if order.terminal else await record(self, order, *args)

    Cancelling._outcome = outcome  # type: ignore[method-assign]
    OrderChanges.record = recorded  # type: ignore[method-assign]


def fee_not_booked() -> None:
    """A fill that is recorded after a doubt is booked without its fee."""
    record = OrderChanges.record

    async def recorded(self: Any, order: Any, exchange_order_id: str, fills: Any, conclusion: Any) -> Any:
        if order.state.value == "UNKNOWN":
            fills = [replace(fill, commission=fill.commission * 0) for fill in fills]
        return await record(self, order, exchange_order_id, fills, conclusion)

    OrderChanges.record = recorded  # type: ignore[method-assign]


BUGS = {
    one.__name__: one
    for one in (new_id_after_a_lost_reply, lost_reply_is_a_refusal, cancel_not_waited_for, fee_not_booked)
}

if __name__ == "__main__":
    BUGS[os.environ[VARIABLE]]()
    serve(ExecutorSettings, build)
