"""What an executed order costs the database: two transactions of two statements each, and less where orders come together."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from schema.execution import fills, ledger_entries, orders
from svc_executor import wire
from tests.executor.instant_exchange import KINDS, rooms
from tests.executor.issuer import Issuer, assert_ledger_holds, recommend, running
from tests.executor.selling import without_ticket
from tests.support.statements import statements
from tradekit import ids
from tradekit.states import OrderState, Side
from trading.executor.v1 import executor_service_pb2 as pb

ONE_ORDER = {"intent_facts": 1, "write_intents": 1, "lock_orders": 1, "record_orders": 1}
PATH = ("intent_facts", "write_intents", "lock_orders", "record_orders")


async def test_an_entry_and_an_exit_cost_two_transactions_of_two_statements(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    async with running({**environ, "RECONCILE_SECONDS": "300"}) as executor:
        # The product's rules, the exchange's time and the ledger's opening are known from here on.
        await executor.reconcile()
        held = (await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")))).filled_size.value
        for item in (recommend(Side.BUY, "10.00"), recommend(Side.SELL, held)):
            request = await issuer.request(item)
            with statements(database.engine, KINDS) as found:
                order = await executor.execute(request)
            assert order.state == pb.ORDER_STATE_FILLED
            # The switch and the health of entries are looked at by time.
            by_time = {
                kind for kind in found.statements if kind.startswith(("SELECT executor_trading", "SELECT reconc"))
            }
            assert found.without(*by_time) == ONE_ORDER
            assert found.transactions_without(*by_time) == 2


async def test_orders_that_come_together_share_transactions(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    count = 20
    async with rooms(environ, issuer) as executor:
        wanted = [recommend(Side.BUY, "100.00", f"C{number}-USD") for number in range(count)]
        requests = [wire.parse_execute(await issuer.request(item)) for item in wanted]
        with statements(database.engine, KINDS) as found:
            made = await asyncio.gather(*map(executor.execute, requests))
        assert {order.state for order in made} == {OrderState.FILLED}
        assert set(found.statements) == set(PATH)
        # Alone each would cost four in two transactions. How many come together depends on who is late.
        assert sum(found.statements.values()) <= count
        assert found.transactions <= count // 2
        assert len(set(executor.exchange.sent)) == len(executor.exchange.sent) == count
        # The exchange is asked for them together as well.
        assert executor.exchange.listed + executor.exchange.looked_at <= count // 2

        leaving = [recommend(Side.SELL, str(order.filled_size), order.product_id) for order in made]
        requests = [wire.parse_execute(await without_ticket(issuer, item)) for item in leaving]
        with statements(database.engine, KINDS) as found:
            sold = await asyncio.gather(*map(executor.execute, requests))
        assert {order.state for order in sold} == {OrderState.FILLED}
        assert sum(found.statements.values()) <= count
    await assert_ledger_holds(database)


async def test_an_order_that_the_exchange_does_not_list_yet_is_asked_for_alone(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    async with rooms(environ, issuer) as executor:
        wanted = [recommend(Side.BUY, "100.00", f"C{number}-USD") for number in range(12)]
        executor.exchange.unlisted = {f"x-{ids.order_id(item.recommendation_id)}" for item in wanted[::2]}
        requests = [wire.parse_execute(await issuer.request(item)) for item in wanted]
        made = await asyncio.gather(*map(executor.execute, requests))
        assert {order.state for order in made} == {OrderState.FILLED}
        assert executor.exchange.listed > 0
        assert executor.exchange.looked_at >= len(executor.exchange.unlisted)
    await assert_ledger_holds(database)


async def test_totals_and_fills_of_the_answer_are_those_of_the_tables_to_the_last_digit(
    environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    async with rooms(environ, issuer) as executor:
        order = await executor.execute(wire.parse_execute(await issuer.request(recommend(Side.BUY, "99.99", "C1-USD"))))
        read = await executor.driver.drive(order.order_id)
        assert replace(order, now=read.now) == read
    quote = select(func.sum(func.abs(ledger_entries.c.amount))).where(
        ledger_entries.c.order_id == order.order_id,
        ledger_entries.c.account == "trading",
        ledger_entries.c.currency == "USD",
    )
    async with database.engine.connect() as connection:
        rows = (await connection.execute(select(fills).order_by(fills.c.trade_time, fills.c.fill_id))).all()
        value = (await connection.execute(quote)).scalar_one()
        stored = (await connection.execute(select(orders))).one()
    told = [(one.fill_id, one.price, one.size, one.commission, one.trade_time) for one in order.fills]
    assert told == [(row.fill_id, row.price, row.size, row.commission, row.trade_time) for row in rows]
    sums = (sum(row.size for row in rows), value, sum((row.commission for row in rows), Decimal(0)))
    assert (order.filled_size, order.filled_value, order.total_fees) == sums
    assert (stored.filled_size, stored.filled_value, stored.total_fees) == sums
    assert len(rows) == 2
