"""The executor trades at any exchange: an adapter of another form of order takes Coinbase's place by one line of a table."""

from __future__ import annotations

import ast
import dataclasses
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from sqlalchemy import select

from exchange_client import Exchange, models
from exchange_client.adapters import ADAPTERS, Adapter
from meshkit.hosts import Host
from schema.execution import orders
from schema.tables import metadata
from tests.executor.issuer import Issuer, assert_ledger_holds, public_key_file, recommend, running, settings_of
from tests.executor.second_exchange import FormExchange
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> FormExchange:
    """The second exchange, in the table of adapters as `forms`."""
    exchange = FormExchange()

    def connect(_: object) -> Exchange:
        return exchange

    monkeypatch.setitem(ADAPTERS, "forms", Adapter(Host("forms.example"), None, 30, connect))  # type: ignore[arg-type]
    return exchange


@pytest.fixture
def environ(database: Any, ticket_key: Ed25519PrivateKey, tmp_path: Path) -> dict[str, str]:
    """An executor's environment without anything of Coinbase."""
    key = tmp_path / "key"
    key.write_text("secret of another form")
    return {
        **database.env_of("executor"),
        "EXECUTOR_PORT": "0",
        "PRODUCTS": "BTC-USD",
        "VENUE": "SIMULATED",
        "DECISION_PROFILE": "EXERCISE",
        "EXCHANGE_NAME": "forms",
        "EXCHANGE_KEY_FILE": str(key),
        "EXCHANGE_TOKEN_SECONDS": "10",
        "EXCHANGE_TOTAL_SECONDS": "0.5",
        "RECONCILE_SECONDS": "0.3",
        "DRAIN_SECONDS": "0.5",
        "TICKET_PUBLIC_KEY_FILE": str(public_key_file(ticket_key, tmp_path)),
    }


async def stored_bodies(database: Any) -> list[bytes]:
    async with database.engine.connect() as connection:
        found = (
            await connection.execute(select(orders.c.body).where(orders.c.send_count > 0).order_by(orders.c.sequence))
        ).scalars()
        return [body.encode() for body in found]


async def test_a_buy_and_its_sale_go_to_another_exchange_in_its_own_words(
    exchange: FormExchange, environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    async with running(environ) as executor:
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "100.00")))
        assert bought.state == pb.ORDER_STATE_FILLED
        sold = await executor.execute(await issuer.request(recommend(Side.SELL, bought.filled_size.value)))
        assert sold.state == pb.ORDER_STATE_FILLED
        assert (await executor.reconcile()).clean
    reference = bought.order_id.replace("-", "")
    assert exchange.received[0] == f"ref={reference}&pair=XBT%2FUSD&do=buy&spend=100".encode()
    assert exchange.received[1].endswith(f"&do=sell&give={bought.filled_size.value}".encode())
    # What was stored before the send is what was sent.
    assert await stored_bodies(database) == exchange.received
    assert exchange.wallets["BTC"] == 0
    assert exchange.wallets["USD"] == 1000 - Decimal(bought.total_fees.value) - Decimal(sold.total_fees.value)
    assert exchange.closed
    await assert_ledger_holds(database)


async def test_an_order_whose_answer_was_lost_is_known_again_by_the_adapter_and_not_sent_twice(
    exchange: FormExchange, environ: dict[str, str], issuer: Issuer, database: Any
) -> None:
    exchange.lose_answers = 1
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "100.00")))
        assert order.state == pb.ORDER_STATE_FILLED
        assert order.send_count == 1
    assert len(exchange.received) == 1
    await assert_ledger_holds(database)


async def test_an_order_of_other_terms_is_not_taken_for_ours(
    exchange: FormExchange, environ: dict[str, str], issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = exchange._fill

    def taken(number: str, *rest: Any) -> None:
        fill(number, *rest)
        exchange.somebody_else_takes(number)

    monkeypatch.setattr(exchange, "_fill", taken)
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "100.00")))
    assert order.state == pb.ORDER_STATE_REJECTED
    assert [reason.code for reason in order.reasons] == ["CLIENT_ORDER_ID_TAKEN"]


def test_an_exchange_brings_its_own_hosts(exchange: FormExchange, environ: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="must be one of coinbase, forms"):
        settings_of({**environ, "EXCHANGE_NAME": "elsewhere"})
    with pytest.raises(ValidationError, match="forms has no sandbox"):
        settings_of({**environ, "VENUE": "SANDBOX"})
    files = dict.fromkeys(("MESH_TOKEN_FILE", "MESH_CALLERS_FILE"), environ["EXCHANGE_KEY_FILE"])
    live = {**environ, **files, "MESH_AUTH": "token", "VENUE": "LIVE", "DECISION_PROFILE": "EVIDENCE"}
    with pytest.raises(ValidationError, match=r"EXCHANGE_HOST=forms\.example"):
        settings_of({**live, "EXCHANGE_HOST": "api.coinbase.com"})


def texts_in(folder: str) -> set[str]:
    """Every word that a source of the folder writes as a text, apart from prose."""
    sources = [ast.parse(path.read_text()) for path in (ROOT / folder).rglob("*.py")]
    found = {node.value for tree in sources for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in found if isinstance(text, str) and re.fullmatch(r"\w+", text)}


def test_no_service_knows_a_word_of_coinbase() -> None:
    of_the_port = {
        one.name for cls in vars(models).values() if dataclasses.is_dataclass(cls) for one in dataclasses.fields(cls)
    }
    of_the_mesh = {column.name for table in metadata.tables.values() for column in table.columns}
    words = {one for one in texts_in("exchange_client/coinbase") if "_" in one} - of_the_port - of_the_mesh
    # `fee_tier` is the mesh's log entry, the ids are fields of its contracts.
    words -= {"order_ids", "product_ids", "fee_tier"}
    assert {"order_configuration", "market_market_ioc", "success_response"} <= words
    for service in ("svc_executor", "svc_market"):
        assert words & texts_in(service) == set()
        for path in (ROOT / service).rglob("*.py"):
            assert "coinbase" not in path.read_text().lower(), path
