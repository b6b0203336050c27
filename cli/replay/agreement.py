"""Compares the ledger with the exchange at the end of a replay: orders one by one, balances to the last digit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from cli.calls import operator_channel
from cli.plan import MeshPlan
from exchange_client import ExchangeConfig, open_exchange
from tradekit import ids, services
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc


@dataclass(frozen=True, slots=True)
class Agreement:
    """Orders the exchange accepted, and each currency's balance by both sides."""

    exchange_orders: int
    balances: Sequence[tuple[str, Decimal, Decimal]]

    @property
    def balances_equal(self) -> bool:
        """True if every currency agrees to the last digit."""
        return all(ledger == exchange for _, ledger, exchange in self.balances)


async def compare(plan: MeshPlan) -> Agreement:
    """Asks the executor for a reconciliation and the exchange for its orders."""
    async with operator_channel(plan.home, plan.ports.address(services.EXECUTOR)) as channel:
        stub = executor_grpc.ExecutorServiceStub(channel)
        request = executor_pb.ReconcileRequest(request_id=str(ids.new_request_id()))
        found = await stub.Reconcile(request, timeout=60)
    balances = [(line.currency, Decimal(line.ledger.value), Decimal(line.exchange.value)) for line in found.balances]
    config = ExchangeConfig(
        plan.simulator_host,
        plan.simulator_ca,
        plan.keys.exchange_api_key,
        private_per_second=1000.0,
        public_per_second=1000.0,
    )
    exchange = await open_exchange(config)
    try:
        accepted = await exchange.orders(datetime(2009, 1, 3, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    finally:
        await exchange.close()
    return Agreement(len(accepted), balances)
