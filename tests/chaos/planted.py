"""An executor with a bug: `python -m tests.chaos.planted`. A checker that stays silent about one has no teeth.

CHAOS_BUG names the bug. Each is one that somebody may well write.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from exchange_client import Refused, Unknown
from exchange_client.coinbase.client import CoinbaseClient
from meshkit.serve import serve
from svc_executor.order_changes import OrderChanges
from svc_executor.protector import Protector
from svc_executor.service import build
from svc_executor.settings import ExecutorSettings

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


def exit_beside_the_bracket() -> None:
    """An exit does not wait for the end of what protects the position."""

    @asynccontextmanager
    async def released(self: Any, product_id: str, by: Any) -> AsyncIterator[None]:
        yield

    Protector.released = released  # type: ignore[method-assign,assignment]


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
    for one in (new_id_after_a_lost_reply, lost_reply_is_a_refusal, exit_beside_the_bracket, fee_not_booked)
}

if __name__ == "__main__":
    BUGS[os.environ[VARIABLE]]()
    serve(ExecutorSettings, build)
