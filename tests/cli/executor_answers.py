"""An executor that answers from a list of fills and adjustments, over real gRPC: what `mesh trades`, `lots` and `export` read."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import grpc

from cli.instance_file import write_instance
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from tradekit.account_history import AccountFill, Held, in_booking_order, replay
from tradekit.decimals import CONTEXT, ZERO
from tradekit.sizes import price_of
from tradekit.wire import amount_message, side_number, timestamp_message
from trading.common.v1 import decimal_pb2, trade_pb2
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as rpc
from trading.executor.v1 import ledger_pb2

PAGE = 2
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass
class Answers(rpc.ExecutorServiceServicer):
    """A ledger with 10,000 USD that booked `fills` in the order of their sequence, and an exchange that agrees but for
    `exchange_has_more`. `settled`: when an order changed last, by its id, where that was not its newest fill."""

    fills: Sequence[AccountFill]
    adjustments: Sequence[ledger_pb2.LedgerAdjustment] = ()
    exchange_has_more: dict[str, Decimal] = field(default_factory=dict)
    unadopted: dict[str, Decimal] = field(default_factory=dict)
    adopted: dict[str, Held] = field(default_factory=dict)
    settled: dict[str, datetime] = field(default_factory=dict)
    changing: bool = False
    reconciled: bool = True
    asked: int = 0
    protective: Mapping[str, Sequence[pb.ProtectiveOrder]] = field(default_factory=dict)
    watches: bool = False
    slow_seconds: float = 0.0

    def ProtectPositions(self, request: pb.ProtectPositionsRequest, context: Any) -> pb.ProtectPositionsResponse:
        return pb.ProtectPositionsResponse(watches=self.watches)

    def ListOrders(self, request: pb.ListOrdersRequest, context: Any) -> pb.ListOrdersResponse:
        """Pages, newest first."""
        begin = int(request.page_token or 0)
        names = list(dict.fromkeys(fill.order_id for fill in self.fills))[::-1]
        orders = [order_of([fill for fill in self.fills if fill.order_id == name]) for name in names]
        for order in orders:
            if order.order_id in self.settled:
                order.update_time.CopyFrom(timestamp_message(self.settled[order.order_id]))
        more = begin + PAGE < len(orders)
        return pb.ListOrdersResponse(
            orders=orders[begin : begin + PAGE], next_page_token=str(begin + PAGE) if more else ""
        )

    def held(self) -> dict[str, Held]:
        found: dict[str, Held] = dict(replay(in_booking_order(self.fills)).positions)
        for name, more in self.adopted.items():
            found[name] = replace(found.get(name, Held()), size=more.size, cost=more.cost)
        return found

    def cash(self) -> Decimal:
        with localcontext(CONTEXT):
            return 10_000 + sum((fill.cash for fill in self.fills), ZERO)

    def ListPositions(self, request: pb.ListPositionsRequest, context: Any) -> pb.ListPositionsResponse:
        self.asked += 1
        time.sleep(self.slow_seconds)
        cash = self.cash() + self.asked if self.changing else self.cash()
        return pb.ListPositionsResponse(
            positions=[
                pb.Position(
                    product_id=name,
                    base_size=amount_message(one.size),
                    average_cost=amount_message(price_of(one.cost, one.size) if one.size else ZERO),
                    realized_pnl=amount_message(one.realized),
                    orders=self.protective.get(name, ()),
                )
                for name, one in self.held().items()
            ],
            cash=[decimal_pb2.Money(currency="USD", amount=amount_message(cash))],
            opening_balance=amount_message(Decimal(10_000)),
            total_fees=amount_message(sum((fill.fee for fill in self.fills), ZERO)),
            transfers=amount_message(sum((Decimal(one.cost.value) for one in self.adjustments), ZERO)),
            venue=trade_pb2.VENUE_LIVE,
        )

    def GetLedger(self, request: ledger_pb2.GetLedgerRequest, context: Any) -> ledger_pb2.GetLedgerResponse:
        own = {name.removesuffix("-USD"): one.size for name, one in self.held().items()} | {"USD": self.cash()}
        return ledger_pb2.GetLedgerResponse(
            balances=[
                ledger_pb2.LedgerBalance(
                    currency=name,
                    unadopted=amount_message(self.unadopted.get(name, ZERO)),
                    exchange=amount_message(
                        own.get(name, ZERO) + self.unadopted.get(name, ZERO) + self.exchange_has_more.get(name, ZERO)
                    ),
                )
                for name in {**own, **self.unadopted}
            ],
            adjustments=self.adjustments,
            open_time=timestamp_message(datetime(2024, 1, 1, tzinfo=UTC)),
            reconcile_time=timestamp_message(NOW) if self.reconciled else None,
            reconcile_booking_sequence=1_000 if self.reconciled else None,
            account_currency="USD",
        )


def order_of(fills: Sequence[AccountFill]) -> pb.Order:
    """The order that these fills are of."""
    first = fills[0]
    return pb.Order(
        order_id=first.order_id,
        product_id=first.product_id,
        side=side_number(first.side),
        state=pb.ORDER_STATE_FILLED,
        filled_value=amount_message(sum((fill.value for fill in fills), ZERO)),
        create_time=timestamp_message(first.time),
        update_time=timestamp_message(fills[-1].time + timedelta(seconds=1)),
        fills=[
            pb.Fill(
                fill_id=fill.fill_id,
                trade_id=fill.trade_id,
                price=amount_message(fill.price),
                size=amount_message(fill.size),
                commission=amount_message(fill.fee),
                liquidity=fill.liquidity,
                trade_time=timestamp_message(fill.time),
                booking_sequence=fill.booking_sequence,
            )
            for fill in fills
        ],
    )


@contextmanager
def serving(home: Path, answers: Answers) -> Iterator[None]:
    """An instance in `home` whose executor gives these answers."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    rpc.add_ExecutorServiceServicer_to_server(answers, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        at = MeshHome.at(home)
        at.root.mkdir(parents=True, exist_ok=True)
        instance = resolve(UpRequest(products="BTC-USD,ETH-USD"), None, {})
        write_instance(at, replace(instance, services={**instance.services, "executor": port}))
        yield
    finally:
        server.stop(None).wait()
