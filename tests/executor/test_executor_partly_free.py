"""A position of which only a part is free: what an exit does with it, what is left, and what a close waits for."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_client import ExchangeProduct, ExchangeRefused, ExchangeUnavailable
from meshkit.errors import FailedPrecondition, InvalidRequest, MeshError, Unavailable, Violation
from meshkit.together import together
from schema.clocks import Clocks
from schema.recommendation_terms import StoredTerms
from svc_executor.closing_again import ClosingAgain, waits
from svc_executor.entry_order import EntryRules
from svc_executor.holding import Holding
from svc_executor.intake_decision import Asked, Decisions, Facts, OrderRules
from svc_executor.intent import Intent
from svc_executor.protector import Protector
from svc_executor.reduce import left_to_sell, reduce_only
from svc_executor.wire import Execute
from tests.executor.issuer import recommend
from tradekit.recommendation import terms_hash
from tradekit.states import OrderType, RecommendationState, Side, TradingState, Venue

D = Decimal
amounts = st.decimals(0, 1000, places=3, allow_nan=False)
COIN = ExchangeProduct(
    "BTC-USD", "BTC", D("0.001"), D(1), D(1), D("0.01"), D(10**9), D(1), D(10**9), "online", tradable=True
)


@given(amounts, amounts, amounts, amounts)
def test_an_order_and_what_is_left_of_it_are_what_was_wanted_but_for_dust(
    wanted: D, held: D, selling: D, price: D
) -> None:
    holding = Holding(held, D(1), min(selling, held), price)
    try:
        size = reduce_only(wanted, holding, None, COIN)
    except FailedPrecondition:
        return
    rest = left_to_sell(wanted, size, holding, COIN)
    assert rest == 0 or (rest >= COIN.base_min_size and rest * price >= COIN.quote_min_size)
    assert size + rest <= held
    missing = min(wanted, held) - size - rest
    assert missing < COIN.base_min_size or missing * price < COIN.quote_min_size


@pytest.mark.parametrize(
    ("size", "released", "sells"), [("2", True, "1"), ("2", False, None), ("1", False, "1"), ("1.001", False, "1")]
)
def test_an_exit_sells_no_part_while_a_bracket_holds_the_rest(size: str, released: bool, sells: str | None) -> None:
    item = recommend(Side.SELL, size)
    now = datetime.now(UTC)
    stored = StoredTerms(item, terms_hash(item), RecommendationState.EXECUTING, cancelled=False)
    holding = Holding(D(2), D(2), D(1), D(100))
    facts = Facts(TradingState.ACTIVE, Clocks(now, now), None, stored, (), (), holding)
    rules = OrderRules(Venue.SIMULATED, lambda _: "", EntryRules(OrderType.MARKET, D(0)), D(0))
    asked = Asked(Execute(item, item.size, ""), None, COIN, D(1), None, released=released)
    decide = Decisions(TradingState.ACTIVE, (), rules)
    if sells is None:
        with pytest.raises(FailedPrecondition, match="NOTHING_AVAILABLE"):
            decide.of(asked, facts)
    else:
        intent = decide.of(asked, facts)
        assert isinstance(intent, Intent) and intent.size == D(sells)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unavailable("DATABASE_UNAVAILABLE", "x"), True),
        (ExchangeUnavailable("/products", "x"), True),
        (ExchangeRefused("/products", "403"), True),
        (ExchangeRefused("/products", "404", missing=True), True),
        (InvalidRequest([Violation("product_id", "UNKNOWN_PRODUCT", "x")]), True),
        (FailedPrecondition("NOTHING_AVAILABLE", "x"), True),
        (FailedPrecondition("NOT_HELD", "x"), False),
        (FailedPrecondition("TRADING_HALTED", "x"), False),
    ],
)
def test_only_a_halt_and_nothing_held_end_a_close_at_once(error: MeshError, expected: bool) -> None:
    assert waits(error) is expected


async def test_the_first_error_is_told_as_itself_when_all_are_done() -> None:
    done = []

    async def one(name: str) -> str:
        done.append(name)
        if name in "bc":
            raise Unavailable("DATABASE_UNAVAILABLE", name)
        return name

    with pytest.raises(Unavailable, match="b"):
        await together(map(one, "abcd"))
    assert done == list("abcd")
    assert await together(map(one, "ad")) == ["a", "d"]


class Log:
    """Hears nothing."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


@pytest.mark.parametrize(
    "error", [RuntimeError(), ExchangeRefused("/products", "403"), ExceptionGroup("", [OSError()])]
)
async def test_a_waiting_close_whose_try_fails_waits_on(error: Exception) -> None:
    class Fails:
        async def again(self, one: Any) -> None:
            raise error

    now = datetime.now(UTC)
    one: Any = SimpleNamespace(order_id=uuid4(), product_id="BTC-USD", now=now, created_at=now, reasons=())
    later = ClosingAgain.__new__(ClosingAgain)
    later._log = Log()
    assert await later._try(Fails(), one)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([(Side.SELL, True), (Side.SELL, True)], True),
        ([(Side.SELL, True), (Side.SELL, False)], False),
        # An entry holds none of the coins.
        ([(Side.BUY, False)], True),
        (Unavailable("DATABASE_UNAVAILABLE", "x"), False),
    ],
)
async def test_what_was_withdrawn_is_released_when_none_of_it_can_sell(
    monkeypatch: pytest.MonkeyPatch, others: Any, expected: bool
) -> None:
    class Nothing:
        async def __aenter__(self) -> None: ...
        async def __aexit__(self, *_: Any) -> None: ...

    async def withdraw(*_: Any) -> Any:
        if isinstance(others, MeshError):
            raise others
        return [SimpleNamespace(order=SimpleNamespace(side=side), over=over) for side, over in others]

    async def none(*_: Any, **__: Any) -> Any:
        return None

    async def held(*_: Any, **__: Any) -> Any:
        return [SimpleNamespace(held=SimpleNamespace(standing=[SimpleNamespace(order_id=uuid4(), trigger=None)]))]

    async def critical(work: Any) -> Any:
        return await work

    monkeypatch.setattr("svc_executor.protector.store.get_order", none)
    protector: Any = Protector.__new__(Protector)
    protector._kit = SimpleNamespace(autocommit=SimpleNamespace(connect=Nothing), critical=critical, log=Log())
    protector._held = held
    protector._cancelling = SimpleNamespace(withdraw=withdraw)
    assert await protector._release("BTC-USD", uuid4(), []) is expected
