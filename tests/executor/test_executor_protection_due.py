"""What is to be sold because its time has come: also where coins are not free yet or fills not listed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, text

from schema.execution import ledger_adjustments
from svc_executor.protection_step import Due, next_step
from svc_executor.protection_store import read_held
from tests.executor.issuer import Issuer, assert_ledger_holds, recommend
from tests.executor.positions import NOW, PLAN, QUIET, RULES, held, product, standing
from tests.executor.protecting import done, operated, rests
from tests.executor.selling import bought, without_ticket
from tests.executor.venue import FaultProxy
from tradekit.states import ExitTrigger, Side
from trading.executor.v1 import executor_service_pb2 as pb

D = Decimal


@pytest.fixture
def protecting(environ: dict[str, str]) -> dict[str, str]:
    """An executor's environment that does nothing by a schedule."""
    return {**environ, "PROTECTIVE_EXITS": "BRACKET", "RECONCILE_SECONDS": "120"}


def test_what_is_due_and_not_free_yet_is_not_kept_by_another_plan() -> None:
    over = Due(D(1), replace(PLAN, exit_time=NOW), ExitTrigger.TIME_LIMIT)
    one = held("3", standing=(standing("2"),), plan=PLAN, due=(over,))
    assert next_step(one, product(), replace(QUIET, free=D(0)), RULES) is None
    step = next_step(one, product(), replace(QUIET, free=D(1)), RULES)
    assert step is not None
    # What could not be sold at any time is protected with the rest.
    dust = replace(over, left=D("0.0001"))
    assert next_step(replace(one, due=(dust,)), product(), replace(QUIET, free=D(0)), RULES) is not None


ENDED = {"state": "OPEN", "cancel_reason": "TIME_LIMIT", "left": "0.25", "done": True}


@pytest.mark.parametrize(
    ("row", "is_due"),
    [
        ({}, True),
        ({"state": "CANCELLED"}, True),
        # It filled whole, or nobody says how much of it did; and it is not done.
        ({"left": "0"}, False),
        ({"left": None}, False),
        ({"done": False}, False),
    ],
)
async def test_a_bracket_that_ended_for_its_time_is_due_though_its_fills_are_not_listed(
    protecting: dict[str, str], issuer: Issuer, database: Any, row: Mapping[str, Any], is_due: bool
) -> None:
    async with operated(protecting) as executor:
        await bought(executor, issuer)
        bracket = await rests(executor)
        given = {**ENDED, **row}
        size = D(bracket.base_size.value)
        left = None if given["left"] is None else size * D(given["left"])
        async with database.engine.connect() as connection:
            await connection.execute(
                text(
                    "UPDATE orders SET state = :state, cancel_reason = :cancel_reason, updated_at = clock_timestamp(), "
                    "cancel_requested_at = now(), done_size = :done_size, "
                    "done_at = CASE WHEN :done THEN clock_timestamp() END WHERE order_id = :order"
                ),
                {
                    **{name: given[name] for name in ("state", "cancel_reason", "done")},
                    "done_size": None if left is None or not given["done"] else size - left,
                    "order": bracket.order_id,
                },
            )
            (found,) = await read_held(connection, 3600, None, lambda _: False, with_high=False)
            assert [one.left for one in found.held.due] == ([left] if is_due else [])
            # Somebody sold it by hand, and an operator booked that.
            ids = {"adjustment_id": uuid4(), "request_id": uuid4(), "body_sha256": "", "note": "", "caller": "operator"}
            gone = {
                "kind": "TRADE",
                "cost": D(0),
                "amount": D(-1),
                "currency": "BTC",
                "equity_change": D(0),
                "answer": {},
            }
            await connection.execute(insert(ledger_adjustments).values(**gone, **ids))
            (found,) = await read_held(connection, 3600, None, lambda _: False, with_high=False)
            assert not found.held.due
            await connection.rollback()
    await assert_ledger_holds(database)


async def test_an_exit_is_sent_though_the_exchange_does_not_list_what_rests(
    protecting: dict[str, str], issuer: Issuer, proxy: FaultProxy, database: Any
) -> None:
    """Something rests meanwhile, and the next reconciliation by the schedule is far away."""
    async with operated({**protecting, "FEEDS": "false"}) as executor:
        await bought(executor, issuer)
        await rests(executor)
        entry = await bought(executor, issuer, product="ETH-USD")
        async with asyncio.timeout(60):
            while len((await executor.stub.ListOrders(pb.ListOrdersRequest(state=pb.ORDER_STATE_OPEN))).orders) < 2:
                await asyncio.sleep(0.05)
        proxy.lists_fail = True
        # The bracket in its way is cancelled first.
        proxy.plan.extend(["none", *["refuse_429"] * 3])
        item = recommend(Side.SELL, entry.filled_size.value, "ETH-USD")
        exit_ = await executor.execute(await without_ticket(issuer, item))
        assert exit_.state == pb.ORDER_STATE_PENDING
        async with asyncio.timeout(30):
            assert (await done(executor, exit_.order_id)).state == pb.ORDER_STATE_FILLED
        proxy.lists_fail = False
        async with asyncio.timeout(30):
            while not (await executor.reconcile()).clean:
                await asyncio.sleep(0.2)
    await assert_ledger_holds(database)
