"""A start with real money: only exits leave until its account is reconciled, an operator's word stays, and a ledger of another
venue or portfolio is never continued. The exchange is one in memory, with an adapter whose live host it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from refusals import refused
from sqlalchemy import text

from exchange_client import Exchange
from exchange_client.adapters import ADAPTERS, Adapter
from meshkit.hosts import Host
from svc_executor.ledger_owner import fault_of
from svc_executor.trading_switch import InForce
from tests.executor.issuer import Issuer, Running, public_key_file, recommend, running
from tests.executor.second_exchange import FormExchange
from tests.executor.switching import in_force, stored_state, turn, until
from tests.support.identities import identities, presented
from tradekit.halt_file import Halt
from tradekit.states import Side, TradingState, Venue
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc
from trading.risk.v1 import risk_service_pb2 as risk_pb

SIMULATED = {"VENUE": "SIMULATED", "MESH_AUTH": "off", "EXCHANGE_HOST": "127.0.0.1:8443"}


class QuietExchange(FormExchange):
    """Tells its wallets once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.tells = asyncio.Event()

    async def accounts(self) -> Any:
        await self.tells.wait()
        return await super().accounts()


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> QuietExchange:
    exchange = QuietExchange()

    def connect(_: object) -> Exchange:
        return exchange

    monkeypatch.setitem(ADAPTERS, "forms", Adapter(Host("forms.example"), None, 30, connect))  # type: ignore[arg-type]
    return exchange


@pytest.fixture
def live(database: Any, ticket_key: Ed25519PrivateKey, tmp_path: Path, exchange: QuietExchange) -> dict[str, str]:
    """The environment of an executor with real money at the exchange in memory."""
    key = tmp_path / "key"
    key.write_text("secret")
    files = identities(tmp_path)
    return {
        **database.env_of("executor"),
        "EXECUTOR_PORT": "0",
        "PRODUCTS": "BTC-USD",
        "VENUE": "LIVE",
        "DECISION_PROFILE": "EVIDENCE",
        "LIVE_CONFIRM": "main",
        "HALT_FILE": str(tmp_path / "halt.json"),
        "MESH_AUTH": "token",
        "MESH_TOKEN_FILE": str(files.token("executor")),
        "MESH_CALLERS_FILE": str(files.callers),
        "EXCHANGE_NAME": "forms",
        "EXCHANGE_HOST": "forms.example",
        "EXCHANGE_KEY_FILE": str(key),
        "EXCHANGE_TOKEN_SECONDS": "10",
        "EXCHANGE_TOTAL_SECONDS": "0.5",
        "RECONCILE_SECONDS": "0.3",
        "DRAIN_SECONDS": "0.5",
        "PROTECTIVE_EXITS": "OFF",
        "TICKET_PUBLIC_KEY_FILE": str(public_key_file(ticket_key, tmp_path)),
    }


class _Shown(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details._replace(metadata=grpc.aio.Metadata(*self._metadata)), request)


@asynccontextmanager
async def live_executor(environ: dict[str, str], folder: Path, identity: str = "operator") -> AsyncIterator[Running]:
    async with running(environ) as plain:
        shown = [_Shown(presented(identities(folder), identity))]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plain.port}", interceptors=shown) as channel:
            yield Running(pb_grpc.ExecutorServiceStub(channel), plain.port)


async def reason(executor: Running) -> str:
    return str((await executor.stub.GetTradingState(pb.GetTradingStateRequest(), timeout=5)).reason)


async def test_entries_leave_only_once_the_start_is_reconciled(
    live: dict[str, str], exchange: QuietExchange, database: Any, tmp_path: Path
) -> None:
    async with live_executor(live, tmp_path) as executor:
        await until(lambda: stored_state(database), "REDUCING")
        await until(lambda: in_force(executor), "REDUCING")
        assert await reason(executor) == "LIVE_START"
        # Nobody ends it by a word: entries would leave on an account that nobody has looked at.
        error = await refused(executor.stub.SetTradingState(turn("ACTIVE"), timeout=10))
        assert error.reason == "TRADING_HALTED" and "not reconciled" in error.message
        assert await stored_state(database) == "REDUCING"
        exchange.tells.set()
        await until(lambda: in_force(executor), "ACTIVE")
        assert (await reason(executor), await stored_state(database)) == ("", "ACTIVE")
        # An operator's word works as ever afterwards.
        assert (await executor.stub.SetTradingState(turn("HALTED"), timeout=10)).stored
    # The next start finds a halt, and leaves it: it was not its own.
    async with live_executor(live, tmp_path) as executor:
        await until(lambda: in_force(executor), "HALTED")
        assert await reason(executor) == ""
        assert (await executor.reconcile()).clean
        await until(lambda: loosened(executor), True)


async def loosened(executor: Running) -> bool:
    """Whether an operator may say ACTIVE by now; until the start has ended nobody may, and nothing has loosened by itself."""
    assert await in_force(executor) != "ACTIVE"
    try:
        answer = await executor.stub.SetTradingState(turn("ACTIVE"), timeout=10)
    except grpc.aio.AioRpcError:
        return False
    assert answer.previous_state != risk_pb.TRADING_STATE_ACTIVE
    return True


async def test_what_an_operator_says_during_the_start_stays_after_it(
    live: dict[str, str], exchange: QuietExchange, database: Any, tmp_path: Path
) -> None:
    async with live_executor(live, tmp_path) as executor:
        await until(lambda: stored_state(database), "REDUCING")
        assert (await executor.stub.SetTradingState(turn("REDUCING", "by hand"), timeout=10)).stored
        assert await reason(executor) == ""
        exchange.tells.set()
        await until(lambda: loosened(executor), True)
        await until(lambda: stored_state(database), "ACTIVE")


async def test_an_account_that_differs_keeps_entries_shut_and_exits_open(
    live: dict[str, str], exchange: QuietExchange, issuer: Issuer, database: Any, tmp_path: Path
) -> None:
    exchange.tells.set()
    async with live_executor(live, tmp_path, "orchestrator") as executor:
        await until(lambda: in_force(executor), "ACTIVE")
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "100.00")))
        assert bought.state == pb.ORDER_STATE_FILLED
    exchange.wallets["USD"] -= 7
    async with live_executor(live, tmp_path, "orchestrator") as executor:
        await until(lambda: reason(executor), "LIVE_START")
        error = await refused(executor.execute(await issuer.request(recommend(Side.BUY, "100.00"))))
        assert error.reason == "TRADING_HALTED"
        sold = await executor.execute(await issuer.request(recommend(Side.SELL, bought.filled_size.value)))
        assert sold.state == pb.ORDER_STATE_FILLED
        assert await reason(executor) == "LIVE_START"
        exchange.wallets["USD"] += 7
        await until(lambda: in_force(executor), "ACTIVE")


async def test_the_ledger_of_another_venue_or_portfolio_is_not_touched(
    live: dict[str, str], exchange: QuietExchange, database: Any, tmp_path: Path
) -> None:
    exchange.tells.set()
    async with running({**live, **SIMULATED}) as executor:
        assert (await executor.reconcile()).clean
    exchange.wallets["USD"] = Decimal(5)
    async with live_executor(live, tmp_path) as executor:
        error = await refused(executor.reconcile())
        assert "ledger of VENUE=SIMULATED, not of VENUE=LIVE" in error.message
        for call in (
            executor.stub.ClosePositions(
                pb.ClosePositionsRequest(request_id="0197f3a0-0000-7000-8000-000000000001", note="x")
            ),
            executor.stub.CancelOrders(
                pb.CancelOrdersRequest(request_id="0197f3a0-0000-7000-8000-000000000002", note="x")
            ),
        ):
            assert "VENUE=SIMULATED" in (await refused(call)).message
        assert await in_force(executor) == "REDUCING"
    async with database.engine.connect() as connection:
        compared = text("SELECT count(*) FROM reconciliations WHERE NOT clean")
        assert (await connection.execute(compared)).scalar_one() == 0
    async with running({**live, **SIMULATED}) as executor:
        assert [balance.currency for balance in (await executor.reconcile()).balances if not balance.agrees] == ["USD"]


def test_whose_ledger_it_is() -> None:
    assert fault_of(None, "", Venue.LIVE, "p") == fault_of("LIVE", "p", Venue.LIVE, "p") == ""
    assert fault_of("LIVE", "", Venue.LIVE, "p") == fault_of("PAPER", "", Venue.PAPER, "") == ""
    assert "VENUE=PAPER" in fault_of("PAPER", "", Venue.LIVE, "p")
    assert "portfolio p, not of q" in fault_of("LIVE", "p", Venue.LIVE, "q")


@pytest.mark.parametrize(
    ("local", "stored", "by_start", "starting", "expected"),
    [
        (None, None, False, "s", ("REDUCING", "LIVE_START", "s")),
        (None, "ACTIVE", False, "s", ("REDUCING", "LIVE_START", "s")),
        (None, "REDUCING", True, "s", ("REDUCING", "LIVE_START", "s")),
        (None, "REDUCING", True, "", ("REDUCING", "LIVE_START", "stored")),
        (None, "REDUCING", False, "s", ("REDUCING", "", "stored")),
        (None, "HALTED", False, "s", ("HALTED", "", "stored")),
        ("HALTED", "REDUCING", True, "s", ("HALTED", "", "local")),
        ("REDUCING", "ACTIVE", False, "s", ("REDUCING", "", "local")),
        (None, "ACTIVE", False, "", ("ACTIVE", "", "stored")),
    ],
)
def test_the_strictest_word_holds_and_whose_it_is_is_told(
    local: str | None, stored: str | None, by_start: bool, starting: str, expected: tuple[str, str, str]
) -> None:
    halt = Halt(TradingState(local), "local") if local else None
    found = InForce(halt, TradingState(stored) if stored else None, "stored", True, starting, by_start)
    assert (found.state.value, found.reason, found.note) == expected
