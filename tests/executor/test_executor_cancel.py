"""Cancelling: nothing is called cancelled that the exchange has not ended, and what is cancelled is not sent again."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.executor.issuer import Issuer, assert_ledger_holds, at_exchange, recommend, running
from tests.executor.venue import FaultProxy, Simulator
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb


def everything(note: str = "enough") -> pb.CancelOrdersRequest:
    return pb.CancelOrdersRequest(request_id=str(uuid4()), note=note)


async def test_an_order_of_open_fate_is_searched_for_and_never_sent_again(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """The exchange never had it: once that is certain the order ends as cancelled, by the operator's word."""
    async with running(environ) as executor:
        await executor.reconcile()
        proxy.hide_orders = True
        proxy.plan.append("drop_before")
        request = await issuer.request(recommend(Side.BUY, "10.00"))
        proxy.reads_fail = 1_000_000
        order = await executor.execute(request, timeout=5)
        assert order.state == pb.ORDER_STATE_UNKNOWN
        receipt = await executor.stub.CancelOrders(everything(), timeout=30)
        assert [one.result for one in receipt.outcomes] == [pb.CANCEL_RESULT_UNKNOWN]
        proxy.hide_orders, proxy.reads_fail = False, 0
        ended = await executor.until(order.order_id, pb.ORDER_STATE_CANCELLED, pb.ORDER_STATE_FILLED, seconds=60)
        assert (ended.state, ended.send_count) == (pb.ORDER_STATE_CANCELLED, 1)
        assert [reason.code for reason in ended.reasons] == ["CANCELLED_BY_OPERATOR"]
        assert not (await executor.stub.CancelOrders(everything())).outcomes
    assert await at_exchange(simulator, order.order_id) == []
    await assert_ledger_holds(database)


async def test_an_order_that_the_exchange_filled_meanwhile_is_told_as_done(
    environ: dict[str, str], issuer: Issuer, proxy: FaultProxy, database: Any
) -> None:
    async with running(environ) as executor:
        await executor.reconcile()
        proxy.plan.append("accept_drop")
        proxy.reads_fail = 1_000_000
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")), timeout=5)
        assert order.state == pb.ORDER_STATE_UNKNOWN
        proxy.reads_fail = 0
        receipt = await executor.stub.CancelOrders(everything(), timeout=30)
        for one in receipt.outcomes:  # none, if the reconciliation was faster
            assert one.result == pb.CANCEL_RESULT_ALREADY_DONE
        assert (await executor.until(order.order_id, pb.ORDER_STATE_FILLED)).send_count == 1
    await assert_ledger_holds(database)
