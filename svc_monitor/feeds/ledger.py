"""What the executor says of the ledger beside the exchange: differences, orders of others, fees."""

from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from tradekit.ledger_words import LedgerWords, words_of
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc
from trading.executor.v1 import ledger_pb2 as pb

PACE = Pace(5.0)
STALE_SECONDS = 20.0


def feed(channel: Any, kit: Kit[Any]) -> tuple[Feed[LedgerWords], Task]:
    """The feed and its task."""
    kept: Feed[LedgerWords] = Feed("ledger", STALE_SECONDS, kit)
    stub = pb_grpc.ExecutorServiceStub(channel)

    async def ask() -> LedgerWords:
        return words_of(await stub.GetLedger(pb.GetLedgerRequest(), timeout=CALL_TIMEOUT_SECONDS))

    return kept, polled(kept, PACE, ask)
