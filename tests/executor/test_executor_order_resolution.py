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

from exchange_client import Bracket, ExchangeOrder, KeyPermissions, OrderTerms, SameTerms
from exchange_client.coinbase.order_body import body_of, same_terms
from meshkit.errors import Misconfigured
from svc_executor.live_key_check import check_live
from svc_executor.order_resolution import (
    Circumstances,
    OrderFacts,
    Step,
    conclude,
    next_step,
)
from svc_executor.settings import ExecutorSettings
from tests.executor.exchange_fills import fill
from tradekit.recommendation import EXIT_RETRIES
from tradekit.states import OrderState, Side, TradingState

NOW = datetime(2025, 1, 1, tzinfo=UTC)
ABSENCE = timedelta(seconds=140)
ORDER = UUID(int=7)
SECONDS = st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds))


def facts(**changes: Any) -> OrderFacts:
    side = changes.pop("side", Side.BUY)
    values = {
        "order_id": ORDER,
        "product_id": "BTC-USD",
        "side": side,
        "size": Decimal("100.00"),
        "state": OrderState.PENDING,
        "exchange_order_id": None,
        "bracket": None,
        "limit": None,
        "cancel_reason": None,
        "tried_since": NOW - timedelta(seconds=1),
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
        "settled": True,
        "created_time": NOW,
        "reject_reason": "",
        "message": "",
    }
    return ExchangeOrder(**{**values, **changes})


def possible(order: OrderFacts) -> OrderFacts:
    """What waits here was never sent."""
    waits = order.state is OrderState.WAITING
    return replace(order, sent_at=None, exchange_order_id=None) if waits else order


FACTS = st.builds(
    facts,
    state=st.sampled_from(OrderState),
    side=st.sampled_from(Side),
    sent_at=st.none() | SECONDS,
    tried_since=st.sampled_from([NOW, NOW - timedelta(hours=23), NOW - EXIT_RETRIES]),
    expire_at=SECONDS,
    exchange_order_id=st.none() | st.just("x"),
    cancel_reason=st.sampled_from([None, "CANCELLED_BY_OPERATOR"]),
).map(possible)
CIRCUMSTANCES = st.builds(
    Circumstances,
    trading=st.sampled_from(TradingState),
    permitted=st.booleans(),
    absent=st.booleans(),
    waited=st.integers(0, 300).map(lambda seconds: timedelta(seconds=seconds)),
)


@given(order=FACTS, circumstances=CIRCUMSTANCES)
def test_no_step_risks_a_second_order_or_forgets_a_first(order: OrderFacts, circumstances: Circumstances) -> None:
    step = next_step(order, circumstances, ABSENCE)
    assert (step is Step.DONE) == order.terminal
    if order.state is OrderState.WAITING:
        assert step is (Step.CANCEL if order.cancel_requested else Step.WAIT)
    if not order.terminal and order.exchange_order_id:
        assert step is Step.REFRESH
    if step is Step.SEND:
        assert order.exchange_order_id is None
        assert circumstances.absent or not order.doubtful
        assert order.side is Side.SELL or order.expire_at > NOW
    if step in (Step.GIVE_UP, Step.CANCEL):
        # It ends without the exchange's word only where no send can arrive any more.
        assert not order.doubtful or (circumstances.absent and circumstances.waited >= ABSENCE)
    if step is Step.GIVE_UP and order.side is Side.SELL:
        assert NOW - order.tried_since >= EXIT_RETRIES


@given(order=FACTS, circumstances=CIRCUMSTANCES)
def test_nothing_is_sent_against_the_trading_state_a_cancel_or_this_processs_own_switch(
    order: OrderFacts, circumstances: Circumstances
) -> None:
    step = next_step(order, circumstances, ABSENCE)
    if step is Step.SEND:
        assert circumstances.trading.allows(order.side)
        assert circumstances.permitted
        assert not order.cancel_requested
    if step is Step.HALT:
        assert not order.doubtful
        assert not circumstances.trading.allows(order.side)
    sent_or_to_be = not order.terminal and not order.exchange_order_id and order.state is not OrderState.WAITING
    if not circumstances.trading.allows(order.side) and sent_or_to_be:
        # Known not to be made: over. In doubt: searched for, and never sent.
        assert step in (
            (Step.SEARCH, Step.WAIT, Step.GIVE_UP, Step.CANCEL) if order.doubtful else (Step.HALT, Step.CANCEL)
        )


@given(order=FACTS, circumstances=CIRCUMSTANCES)
def test_resuming_lets_an_order_in_doubt_go_on_as_if_nothing_had_been(
    order: OrderFacts, circumstances: Circumstances
) -> None:
    resumed = next_step(order, replace(circumstances, trading=TradingState.ACTIVE, permitted=True), ABSENCE)
    halted = next_step(order, replace(circumstances, trading=TradingState.HALTED), ABSENCE)
    if order.doubtful:
        assert halted is resumed or (resumed is Step.SEND and halted is Step.WAIT)


TERMS = {"quote_size": "100", "rfq_disabled": False}


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({}, SameTerms.OURS),
        ({"configuration": {"market_market_ioc": {**TERMS, "base_size": "0"}}}, SameTerms.OURS),
        ({"configuration": {"market_market_ioc": {**TERMS, "base_size": ""}}}, SameTerms.OURS),
        ({"configuration": {"market_market_ioc": {**TERMS, "base_size": None}}}, SameTerms.OURS),
        ({"configuration": {"market_market_ioc": TERMS, "limit_limit_gtc": None}}, SameTerms.OURS),
        ({"configuration": {"market_market_ioc": TERMS, "added_in_2027": {"x": "1"}}}, SameTerms.OURS),
        ({"configuration": {"market_market_ioc": {"quote_size": "1E+2"}}}, SameTerms.OURS),
        ({"product_id": "ETH-USD"}, SameTerms.OTHER),
        ({"side": "SELL"}, SameTerms.OTHER),
        ({"configuration": {"market_market_ioc": {"quote_size": "100.01"}}}, SameTerms.OTHER),
        ({"client_order_id": "other"}, SameTerms.UNREADABLE),
        ({"client_order_id": ""}, SameTerms.UNREADABLE),
        ({"side": "UNKNOWN_ORDER_SIDE"}, SameTerms.UNREADABLE),
        ({"configuration": {}}, SameTerms.UNREADABLE),
        ({"product_id": "ETH-USD", "configuration": {}}, SameTerms.UNREADABLE),
        ({"configuration": {"market_market_ioc": None}}, SameTerms.UNREADABLE),
        ({"configuration": {"market_market_ioc": {}}}, SameTerms.UNREADABLE),
        ({"configuration": {"market_market_ioc": {"base_size": "100"}}}, SameTerms.UNREADABLE),
        ({"configuration": {"limit_limit_gtc": {"quote_size": "100"}}}, SameTerms.UNREADABLE),
        *(
            ({"configuration": {"market_market_ioc": {"quote_size": size}}}, SameTerms.UNREADABLE)
            for size in ("0", "", None, "NaN", "Infinity", "-100", "hundred", [], True)
        ),
    ],
)
def test_only_a_whole_order_that_contradicts_has_other_terms(changes: dict[str, Any], terms: SameTerms) -> None:
    assert same_terms(facts().terms, seen(**changes)) is terms


BRACKET = {"base_size": "2", "limit_price": "110", "stop_trigger_price": "95"}


@pytest.mark.parametrize(
    ("told", "terms"),
    [
        (BRACKET, SameTerms.OURS),
        ({**BRACKET, "limit_price": "110.00", "stop_trigger_price": "95.0"}, SameTerms.OURS),
        ({**BRACKET, "stop_trigger_price": "94"}, SameTerms.OTHER),
        ({**BRACKET, "limit_price": "111"}, SameTerms.OTHER),
        ({**BRACKET, "base_size": "1"}, SameTerms.OTHER),
        ({**BRACKET, "limit_price": ""}, SameTerms.UNREADABLE),
        ({"base_size": "2"}, SameTerms.UNREADABLE),
    ],
)
def test_a_bracket_is_ours_with_both_of_its_prices(told: dict[str, str], terms: SameTerms) -> None:
    ours = facts(side=Side.SELL, size=Decimal(2), bracket=Bracket(Decimal(95), Decimal(110))).terms
    found = seen(side="SELL", configuration={"trigger_bracket_gtc": told})
    assert same_terms(ours, found) is terms
    # A market order under the id of a bracket says nothing of the bracket.
    assert same_terms(ours, seen(side="SELL", configuration={"market_market_ioc": {"base_size": "2"}})) is (
        SameTerms.UNREADABLE
    )


WHOLE = fill("BUY", Decimal(100), Decimal("0.5"), Decimal(0))


@pytest.mark.parametrize(
    ("changes", "fills", "state", "reasons"),
    [
        ({}, [WHOLE], OrderState.FILLED, []),
        ({"settled": False}, [WHOLE], OrderState.FILLED, []),
        ({"settled": False}, [], OrderState.OPEN, []),
        ({"status": "OPEN"}, [WHOLE], OrderState.OPEN, []),
        ({"status": "CANCEL_QUEUED"}, [WHOLE], OrderState.OPEN, []),
        ({}, [], OrderState.OPEN, []),
        ({}, [replace(WHOLE, size=Decimal("0.4"))], OrderState.OPEN, []),
        ({"status": "CANCELLED"}, [WHOLE], OrderState.CANCELLED, ["PARTLY_FILLED"]),
        ({"status": "CANCELLED", "filled_size": Decimal(0)}, [], OrderState.CANCELLED, ["NOTHING_FILLED"]),
        ({"status": "EXPIRED", "filled_size": Decimal(0)}, [], OrderState.CANCELLED, ["LIFE_OVER", "NOTHING_FILLED"]),
        ({"status": "FILLED", "filled_size": Decimal(0)}, [], OrderState.OPEN, []),
        ({"status": "FAILED", "filled_size": Decimal(0), "reject_reason": "R"}, [], OrderState.REJECTED, ["R"]),
    ],
)
def test_an_order_is_over_when_its_fills_add_up(
    changes: dict[str, Any], fills: list[Any], state: OrderState, reasons: list[str]
) -> None:
    found = conclude(seen(**changes), fills)
    assert found.state is state
    assert [reason.code for reason in found.reasons] == reasons


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED", "FAILED"])
def test_what_is_done_ends_at_once_and_is_watched_until_it_has_settled(status: str) -> None:
    found = seen(status=status, filled_size=Decimal(0), settled=False)
    ended = conclude(found, [])
    assert ended.state in (OrderState.CANCELLED, OrderState.REJECTED)
    assert (ended.done, ended.done_size, ended.final) == (True, 0, False)
    assert conclude(replace(found, settled=True), []).final
    partly = conclude(seen(status=status, settled=False), [WHOLE])
    assert (partly.state, partly.done_size, partly.final) == (OrderState.CANCELLED, WHOLE.size, False)


def test_what_an_order_that_is_done_has_filled_is_known_before_its_fills_are() -> None:
    missing = conclude(seen(status="CANCELLED", settled=False), [])
    assert (missing.state, missing.done, missing.done_size) == (OrderState.OPEN, True, WHOLE.size)
    # Nobody says how much: it may be all of it.
    contradicted = conclude(seen(filled_size=Decimal(0)), [])
    assert (contradicted.state, contradicted.done, contradicted.done_size) == (OrderState.OPEN, True, None)
    for status in ("OPEN", "PENDING", "CANCEL_QUEUED", "UNKNOWN_ORDER_STATUS"):
        assert not conclude(seen(status=status), [WHOLE]).done


def test_the_body_is_plain_text_of_exactly_one_size() -> None:
    body = body_of(OrderTerms(ORDER, "DOGE-USD", Side.SELL, Decimal("1E+2")))
    assert body == (
        f'{{"client_order_id":"{ORDER}","product_id":"DOGE-USD","side":"SELL",'
        '"order_configuration":{"market_market_ioc":{"base_size":"100"}}}'
    )


def test_the_body_of_a_bracket_has_both_prices_in_plain_text() -> None:
    bracket = Bracket(Decimal("9.5E+1"), Decimal("110.50"))
    body = body_of(OrderTerms(ORDER, "DOGE-USD", Side.SELL, Decimal(2), bracket))
    assert body == (
        f'{{"client_order_id":"{ORDER}","product_id":"DOGE-USD","side":"SELL","order_configuration":'
        '{"trigger_bracket_gtc":{"base_size":"2","limit_price":"110.5","stop_trigger_price":"95"}}}'
    )


def test_what_waits_is_neither_sent_nor_searched_for() -> None:
    waits = facts(side=Side.SELL, state=OrderState.WAITING, tried_since=NOW - EXIT_RETRIES)
    halted = Circumstances(TradingState.HALTED, permitted=False, absent=False, waited=timedelta(0))
    for circumstances in (halted, replace(halted, trading=TradingState.ACTIVE, permitted=True)):
        assert next_step(waits, circumstances, ABSENCE) is Step.WAIT
        assert next_step(replace(waits, cancel_reason="EXIT_DECIDED"), circumstances, ABSENCE) is Step.CANCEL


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
        {"absence_seconds": "129", "exchange_total_seconds": "10"},
        {"absence_seconds": "30", "exchange_total_seconds": "10", "exchange_token_seconds": "21"},
        {"exchange_token_seconds": "121"},
        {"venue": "LIVE", "exchange_host": "api.coinbase.com", "live_confirm": "p", "mesh_auth": "off"},
    ],
)
def test_a_venue_and_a_host_that_do_not_belong_together_end_the_start(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = tmp_path / "key"
    file.write_text("{}")
    good = {"ticket_public_key_file": file, "exchange_key_file": file, "exchange_host": "127.0.0.1:8443"}
    good["halt_file"] = tmp_path / "halt"
    assert ExecutorSettings(**good)  # type: ignore[arg-type]
    good |= {"mesh_auth": "token", "mesh_token_file": file, "mesh_callers_file": file}
    live = {**good, "venue": "LIVE", "exchange_host": "API.coinbase.com.", "live_confirm": "p"}
    assert ExecutorSettings(**live).exchange_host == "api.coinbase.com"  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        ExecutorSettings(**{**good, **changes})
