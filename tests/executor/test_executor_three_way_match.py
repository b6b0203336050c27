"""What the executor books is what the monitor matches from the rows: equal to the last digit, and each difference by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from exchange_client import Exchange
from exchange_client.adapters import ADAPTERS, Adapter
from meshkit.hosts import Host
from meshkit.kit import Kit
from svc_monitor.feeds.match import AccountMatch, Matcher
from svc_monitor.settings import MonitorSettings
from tests.executor.issuer import Issuer, public_key_file, recommend, running
from tests.executor.second_exchange import FormExchange
from tests.support.stored import unlock_rows
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> FormExchange:
    exchange = FormExchange()

    def connect(_: object) -> Exchange:
        return exchange

    monkeypatch.setitem(ADAPTERS, "forms", Adapter(Host("forms.example"), None, 30, connect))  # type: ignore[arg-type]
    return exchange


@pytest.fixture
def environ(database: Any, ticket_key: Ed25519PrivateKey, tmp_path: Path, exchange: FormExchange) -> dict[str, str]:
    key = tmp_path / "key"
    key.write_text("secret")
    return {
        **database.env_of("executor"),
        "EXECUTOR_PORT": "0",
        "PRODUCTS": "BTC-USD",
        "DECISION_PROFILE": "EXERCISE",
        "EXCHANGE_NAME": "forms",
        "EXCHANGE_KEY_FILE": str(key),
        "EXCHANGE_TOTAL_SECONDS": "5",
        "EXCHANGE_TOKEN_SECONDS": "10",
        "RECONCILE_SECONDS": "300",
        "DRAIN_SECONDS": "0.5",
        "PROTECTIVE_EXITS": "OFF",
        "TICKET_PUBLIC_KEY_FILE": str(public_key_file(ticket_key, tmp_path)),
    }


@pytest.fixture
async def matcher(database: Any) -> AsyncIterator[Matcher]:
    settings = MonitorSettings(port=0, products="BTC-USD", **database.settings_of("monitor"))
    kit = Kit(settings)
    try:
        yield Matcher(settings, kit)
    finally:
        await kit.close()


async def test_what_is_booked_agrees_and_what_is_changed_is_named(
    exchange: FormExchange, environ: dict[str, str], issuer: Issuer, database: Any, matcher: Matcher
) -> None:
    async def write(statement: str) -> None:
        async with database.engine.begin() as connection:
            await connection.execute(text(statement))

    assert await matcher.found() == AccountMatch()
    async with running(environ) as executor:
        for _ in range(2):
            bought = await executor.execute(await issuer.request(recommend(Side.BUY, "99.99")))
            assert bought.state == pb.ORDER_STATE_FILLED
            part = str(Decimal(bought.filled_size.value) / 2)
            await executor.execute(await issuer.request(recommend(Side.SELL, part)))
            # Before and after the exchange was asked: what is booked since is counted for it.
            assert await matcher.found() == AccountMatch()
            assert (await executor.reconcile()).clean
            assert await matcher.found() == AccountMatch()
        await write("UPDATE positions SET realized_pnl = realized_pnl + 0.000000000000000001")
        (wrong,) = (await matcher.found()).from_fills
        assert wrong.what == "realised BTC-USD, USD" and wrong.ledger - wrong.fills == Decimal("1E-18")
        await write("UPDATE positions SET realized_pnl = realized_pnl - 0.000000000000000001")
        assert await matcher.found() == AccountMatch()
        exchange.wallets["USD"] -= 1
        assert not (await executor.reconcile()).clean
        found = await matcher.found()
        assert found.from_fills == ()
        assert [(one.what, one.ledger - (one.exchange or 0)) for one in found.from_exchange] == [("USD", Decimal(1))]
    # A fill that somebody changes moves no count; it is found when the rows are read whole again.
    await unlock_rows(database.engine, "fills")
    await write("UPDATE fills SET commission = commission + 1 WHERE side = 'BUY'")
    matcher._whole_at = float("-inf")
    assert {one.what for one in (await matcher.found()).from_fills} >= {"USD", "fees, USD"}
