"""What is done next about an order, and what the exchange's word makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exchange_client import ExchangeOrder, KeyPermissions
from meshkit.errors import Misconfigured
from svc_executor.fate import OrderFacts, Step, conclude, has_our_terms, next_step
from svc_executor.intent import exact_body
from svc_executor.settings import ExecutorSettings
from svc_executor.venue_guard import check_live
from tests.executor.test_executor_books import fill
from tradekit.states import OrderState, Side

NOW = datetime(2025, 1, 1, tzinfo=UTC)
ABSENCE = timedelta(seconds=30)
ORDER = UUID(int=7)
SECONDS = st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds))


def facts(**changes: Any) -> OrderFacts:
    side = changes.pop("side", Side.BUY)
    values = {
        "order_id": ORDER,
        "product_id": "BTC-USD",
        "side": side,
        "size": Decimal("100.00"),
        "body": exact_body(ORDER, "BTC-USD", side, Decimal("100.00")),
        "state": OrderState.PENDING,
        "exchange_order_id": None,
        "as_of": NOW,
        "expire_at": NOW + timedelta(seconds=60),
        "sent_at": None,
        "now": NOW,
    }
    return OrderFacts(**{**values, **changes})


def seen(**changes: Any) -> ExchangeOrder:
    values = {
        "order_id": "x",
        "client_order_id": str(ORDER),
        "product_id": "BTC-USD",
        "side": "BUY",
        "configuration": {"market_market_ioc": {"quote_size": "100", "rfq_disabled": False}},
        "status": "FILLED",
        "filled_size": Decimal("0.5"),
        "filled_value": Decimal(50),
        "total_fees": Decimal(0),
        "number_of_fills": 1,
        "settled": True,
        "created_time": NOW,
        "reject_reason": "",
        "message": "",
    }
    return ExchangeOrder(**{**values, **changes})


@given(
    state=st.sampled_from(OrderState),
    side=st.sampled_from(Side),
    sent_at=st.none() | SECONDS,
    expire_at=SECONDS,
    known=st.booleans(),
    absent=st.booleans(),
)
def test_no_step_risks_a_second_order_or_forgets_a_first(
    state: OrderState, side: Side, sent_at: datetime | None, expire_at: datetime, known: bool, absent: bool
) -> None:
    order = facts(
        state=state, side=side, sent_at=sent_at, expire_at=expire_at, exchange_order_id="x" if known else None
    )
    step = next_step(order, absent, ABSENCE)
    assert (step is Step.DONE) == order.terminal
    if step is Step.SEND:
        assert not known
        assert absent or not order.doubtful
        assert side is Side.SELL or expire_at > NOW
    if step is Step.GIVE_UP:
        assert side is Side.BUY
        assert sent_at is None or NOW - sent_at >= ABSENCE
        assert absent or not order.doubtful
    if not order.terminal and known:
        assert step is Step.REFRESH


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": "other"},
        {"product_id": "ETH-USD"},
        {"side": "SELL"},
        {"configuration": {"market_market_ioc": {"quote_size": "100.01"}}},
        {"configuration": {"market_market_ioc": {"base_size": "100"}}},
        {"configuration": {"market_market_ioc": {"quote_size": "100", "base_size": "1"}}},
        {"configuration": {"limit_limit_gtc": {"quote_size": "100"}}},
        {"configuration": {}},
    ],
)
def test_only_our_own_terms_are_ours(changes: dict[str, Any]) -> None:
    assert has_our_terms(facts(), seen())
    assert not has_our_terms(facts(), seen(**changes))


WHOLE = fill("BUY", Decimal(100), Decimal("0.5"), Decimal(0))


@pytest.mark.parametrize(
    ("changes", "fills", "state", "reasons"),
    [
        ({}, [WHOLE], OrderState.FILLED, []),
        ({"settled": False}, [WHOLE], OrderState.OPEN, []),
        ({"status": "OPEN"}, [WHOLE], OrderState.OPEN, []),
        ({"status": "CANCEL_QUEUED"}, [WHOLE], OrderState.OPEN, []),
        ({}, [], OrderState.OPEN, []),
        ({}, [replace(WHOLE, size=Decimal("0.4"))], OrderState.OPEN, []),
        ({"status": "CANCELLED"}, [WHOLE], OrderState.CANCELLED, ["PARTLY_FILLED"]),
        ({"status": "CANCELLED", "filled_size": Decimal(0)}, [], OrderState.CANCELLED, ["NOTHING_FILLED"]),
        ({"status": "FILLED", "filled_size": Decimal(0)}, [], OrderState.CANCELLED, ["NOTHING_FILLED"]),
        ({"status": "FAILED", "filled_size": Decimal(0), "reject_reason": "R"}, [], OrderState.REJECTED, ["R"]),
    ],
)
def test_an_order_is_over_when_its_fills_add_up_and_have_settled(
    changes: dict[str, Any], fills: list[Any], state: OrderState, reasons: list[str]
) -> None:
    found = conclude(seen(**changes), fills)
    assert found.state is state
    assert [reason.code for reason in found.reasons] == reasons


def test_the_body_is_plain_text_of_exactly_one_size() -> None:
    body = exact_body(ORDER, "DOGE-USD", Side.SELL, Decimal("1E+2"))
    assert body == (
        f'{{"client_order_id":"{ORDER}","product_id":"DOGE-USD","side":"SELL",'
        '"order_configuration":{"market_market_ioc":{"base_size":"100"}}}'
    )


def test_real_money_needs_a_key_that_cannot_withdraw_and_a_confirmation_of_its_portfolio() -> None:
    good = KeyPermissions(can_view=True, can_trade=True, can_transfer=False, portfolio_uuid="p-1")
    check_live(good, "P-1")
    for bad, word in (
        (replace(good, can_transfer=True), "move money"),
        (replace(good, can_trade=False), "cannot trade"),
        (replace(good, portfolio_uuid=""), "LIVE_CONFIRM"),
        (replace(good, portfolio_uuid="p-2"), "LIVE_CONFIRM"),
    ):
        with pytest.raises(Misconfigured, match=word):
            check_live(bad, "p-1")


@pytest.mark.parametrize(
    "changes",
    [
        {"venue": "PAPER", "exchange_host": "api.coinbase.com"},
        {"venue": "SIMULATED", "exchange_host": "api.coinbase.com:443"},
        {"venue": "LIVE", "exchange_host": "127.0.0.1:8443", "live_confirm": "p"},
        {"venue": "LIVE", "exchange_host": "api.coinbase.com", "live_confirm": ""},
        {"venue": "SANDBOX", "exchange_host": "api.coinbase.com"},
        {"venue": "SIMULATED", "exchange_host": "api.coinbase.com."},
        {"venue": "SIMULATED", "exchange_host": "exchange.example:8443"},
        {"venue": "SIMULATED", "exchange_host": "127.0.0.1@api.coinbase.com"},
        {"venue": "SIMULATED", "exchange_host": "10.0.0.1:8443"},
        {"venue": "LIVE", "exchange_host": "api.coinbase.com:8443", "live_confirm": "p"},
        {"venue": "LIVE", "exchange_host": "api.coinbase.com", "live_confirm": "p", "exchange_ca_file": __file__},
        {"venue": "SANDBOX", "exchange_host": "api-sandbox.coinbase.com:8443"},
        {"products": "BTC-USD,ETH-EUR"},
        {"exchange_host": "https://127.0.0.1:8443"},
        {"exchange_key_file": None},
        {"absence_seconds": "5", "exchange_total_seconds": "10"},
    ],
)
def test_a_venue_and_a_host_that_do_not_belong_together_end_the_start(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = tmp_path / "key"
    file.write_text("{}")
    good = {"ticket_public_key_file": file, "exchange_key_file": file, "exchange_host": "127.0.0.1:8443"}
    good["halt_file"] = tmp_path / "halt"
    assert ExecutorSettings(**good)  # type: ignore[arg-type]
    live = {**good, "venue": "LIVE", "exchange_host": "API.coinbase.com.", "live_confirm": "p"}
    assert ExecutorSettings(**live).exchange_host == "api.coinbase.com"  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        ExecutorSettings(**{**good, **changes})
