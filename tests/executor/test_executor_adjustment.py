"""Adjustments as properties: every booking sums to zero, positions follow the ledger, and nothing is earned by booking."""

from __future__ import annotations

from decimal import Decimal, localcontext

from hypothesis import given, settings
from hypothesis import strategies as st

from svc_executor.adjustment import Refusal, Standing, adjust, adopt
from svc_executor.ledger import Entry
from tradekit.decimals import CONTEXT
from tradekit.ledger_accounts import ADJUSTMENTS, EXCHANGE, UNADOPTED

# An adjustment of nothing is refused where it comes in.
AMOUNT = st.decimals("-50", "50", places=8, allow_nan=False).filter(bool)
COST = st.one_of(st.none(), st.decimals("0", "99999", places=2, allow_nan=False))
STEPS = st.lists(st.tuples(st.booleans(), AMOUNT, COST), max_size=20)


def total(entries: list[Entry], account: str, currency: str) -> Decimal:
    return sum((e.amount for e in entries if (e.account, e.currency) == (account, currency)), Decimal(0))


@settings(deadline=None)
@given(steps=STEPS, mark=st.decimals("1", "99999", places=2, allow_nan=False))
def test_any_adjustments_balance_and_the_position_follows(
    steps: list[tuple[bool, Decimal, Decimal | None]], mark: Decimal
) -> None:
    standing = Standing("BTC", Decimal(0), Decimal(0), "BTC-USD", mark=mark)
    entries: list[Entry] = []
    with localcontext(CONTEXT):
        for adopts, amount, cost in steps:
            before = standing
            try:
                booking = adopt(standing, cost, "USD") if adopts else adjust(standing, amount, cost, "USD")
            except Refusal:
                continue
            for currency in ("BTC", "USD"):
                assert sum(e.amount for e in booking.entries if e.currency == currency) == 0
            entries += booking.entries
            standing = booking.after
            assert standing.total - before.total == (0 if adopts else amount)
            assert standing.position.realized_pnl == 0
            moved = (standing.position.base_size - before.position.base_size) * mark
            assert abs(booking.equity_change - moved) <= Decimal("1e-18")
            assert booking.cost == standing.position.cost - before.position.cost
        held = standing.position
        assert held.base_size == standing.own == total(entries, EXCHANGE, "BTC") >= 0
        assert standing.unadopted == total(entries, UNADOPTED, "BTC") >= 0
        assert held.cost == -total(entries, ADJUSTMENTS, "USD") >= 0
        if held.base_size == 0:
            assert held.cost == 0


def test_what_goes_out_is_first_what_was_never_adopted() -> None:
    standing = adjust(Standing("BTC", Decimal(0), Decimal(0), "BTC-USD"), Decimal(2), Decimal(100), "USD").after
    standing = adjust(standing, Decimal(1), None, "USD").after
    assert (standing.own, standing.unadopted) == (2, 1)
    out = adjust(standing, Decimal(-2), None, "USD")
    assert (out.after.own, out.after.unadopted, out.cost) == (1, 0, -50)
