"""The arithmetic of the ledger as properties: nothing is lost, nothing appears, profit is what changed."""

from __future__ import annotations

from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from svc_executor.ledger import Position, apply_fill, book_fill, ledger_of, opening_entries
from tests.executor.exchange_fills import fill
from tradekit.decimals import CONTEXT
from tradekit.ledger_accounts import EXCHANGE

PRICE = st.decimals("0.01", "99999", places=2, allow_nan=False)
SIZE = st.decimals("0.00000001", "500", places=8, allow_nan=False)
RATE = st.sampled_from([Decimal("0"), Decimal("0.005"), Decimal("0.009"), Decimal("0.0123")])
TRADES = st.lists(st.tuples(st.booleans(), PRICE, SIZE, RATE), min_size=1, max_size=25)


@given(trades=TRADES, mark=PRICE)
def test_equity_changes_by_realized_and_unrealized_profit_to_the_last_digit(
    trades: list[tuple[bool, Decimal, Decimal, Decimal]], mark: Decimal
) -> None:
    position, balances = Position(), {"USD": Decimal(0), "BTC": Decimal(0)}
    realized_total = Decimal(0)
    with localcontext(CONTEXT):
        for buy, price, wish, rate in trades:
            size = wish if buy else min(wish, position.base_size)
            if size == 0:
                continue
            booked = book_fill(fill("BUY" if buy else "SELL", price, size, rate))
            entries = ledger_of(booked)
            for currency in ("USD", "BTC"):
                assert sum(entry.amount for entry in entries if entry.currency == currency) == 0
            for entry in entries:
                if entry.account == EXCHANGE:
                    balances[entry.currency] += entry.amount
            position, realized = apply_fill(position, booked)
            realized_total += realized
            assert position.base_size >= 0
            assert position.cost >= 0
            assert position.base_size == balances["BTC"]
            if position.base_size == 0:
                assert position.cost == 0
        equity = balances["USD"] + position.base_size * mark
        unrealized = position.base_size * mark - position.cost
        assert equity == realized_total + unrealized
        assert position.realized_pnl == realized_total


def test_a_sale_beyond_the_ledger_costs_nothing_more_and_holds_nothing_less_than_zero() -> None:
    held, _ = apply_fill(Position(), book_fill(fill("BUY", Decimal(100), Decimal(1), Decimal(0))))
    after, realized = apply_fill(held, book_fill(fill("SELL", Decimal(110), Decimal(3), Decimal(0))))
    assert (after.base_size, after.cost, realized) == (0, 0, 230)


def test_a_fill_told_in_quote_units_is_booked_in_base_units() -> None:
    told = fill("BUY", Decimal(50), Decimal(10), Decimal(0), size_in_quote=True, commission=Decimal("0.1"))
    booked = book_fill(told)
    assert (booked.size, booked.value, booked.commission) == (Decimal("0.2"), Decimal(10), Decimal("0.1"))


def test_the_opening_takes_the_cash_and_adopts_nothing_else() -> None:
    entries = opening_entries({"USD": Decimal(500), "BTC": Decimal(2), "EUR": Decimal(7), "ETH": Decimal(0)}, "USD")
    for currency in ("USD", "BTC", "EUR", "ETH"):
        assert sum(entry.amount for entry in entries if entry.currency == currency) == 0
    kept = {(entry.account, entry.currency): entry.amount for entry in entries if entry.account != "opening"}
    assert kept == {("exchange", "USD"): 500, ("unadopted", "BTC"): 2, ("unadopted", "EUR"): 7}
