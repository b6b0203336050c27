"""What must hold for every account and every request: never more than asked, never more for more risk, exits open."""

import math
from dataclasses import replace
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from svc_risk.assess import assess
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding, Snapshot
from tests.risk.risk_cases import D, btc, buy, eth, market, product, sell, snapshot
from tradekit.states import RiskDecision, TradingState

P = Parameters()
RELAXED = settings(deadline=None, max_examples=60)
money = st.decimals("0", "5000", places=2)
sigmas = st.floats(0.01, 4.0)


@st.composite
def accounts(draw) -> Snapshot:
    """Accounts of any shape, poor and rich, calm and wild; the reference price is at the market."""
    others = draw(st.integers(0, 7))
    holdings = tuple(
        Holding(
            f"A{number}-USD",
            draw(st.decimals("0.001", "3", places=3)),
            draw(st.decimals("1", "900", places=2)),
            draw(st.one_of(st.none(), sigmas)),
            open_buy=draw(st.sampled_from([D(0), D(50)])),
            reserved_buy=draw(st.sampled_from([D(0), D("33.33")])),
        )
        for number in range(others)
    )
    own = (eth(str(draw(st.decimals("0.001", "0.2", places=4)))),) if draw(st.booleans()) else ()
    sigma = draw(sigmas)
    return snapshot(
        cash=draw(money),
        holdings=holdings + own,
        market=market(
            sigma_14d=sigma, sigma_24h=sigma * draw(st.floats(0.1, 4)), real_bars=draw(st.integers(290, 336))
        ),
        high_water_mark=draw(st.one_of(st.none(), st.decimals("100", "9000", places=2))),
        day_open=draw(st.one_of(st.none(), st.decimals("100", "9000", places=2))),
    )


requests = st.builds(
    lambda size, confidence: buy(str(size), confidence=confidence),
    st.decimals("1", "400", places=2),
    st.one_of(st.none(), st.floats(0, 1)),
)


def allowed(request, account) -> Decimal:
    found = assess(request, account, P)
    assert (found.decision is RiskDecision.REJECT) == (found.adjusted_size == 0)
    return found.adjusted_size


@given(requests, accounts())
@RELAXED
def test_never_more_than_asked_and_never_past_a_cap(request, account):
    found = assess(request, account, P)
    assert 0 <= found.adjusted_size <= request.size
    if found.decision is RiskDecision.REJECT:
        assert found.adjusted_size == 0 and found.reasons
        return
    assert found.adjusted_size >= P.min_notional
    assert found.heat_after <= 0.06 + 1e-9
    assert found.exposure_after <= P.gross_exposure_ratio * found.equity
    spoken = sum((h.open_buy + h.reserved_buy for h in account.holdings), D(0)) * (1 + P.taker_fee)
    left = account.cash - spoken - found.adjusted_size * (1 + P.taker_fee)
    assert left >= P.cash_reserve_ratio * found.equity - D("0.000001")
    assert (found.decision is RiskDecision.REDUCE) == (found.adjusted_size < request.size)
    assert bool(found.reasons) == (found.decision is RiskDecision.REDUCE)


@given(requests, accounts())
@RELAXED
def test_nothing_but_finite_numbers_leaves(request, account):
    found = assess(request, account, P)
    parts = found.parts
    numbers = [parts.volatility, parts.heat, parts.exposure, parts.drawdown, parts.uncertainty]
    assert all(0 <= part <= 1 for part in numbers)
    assert 0 <= found.score <= 1 + 1e-12
    assert all(math.isfinite(value) for value in (found.heat_before, found.heat_after, found.sigma_14d))
    assert all(value.is_finite() for value in (found.equity, found.exposure_before, found.exposure_after, found.fee))


@given(requests, accounts(), st.floats(1, 3))
@RELAXED
def test_more_volatility_never_allows_more(request, account, factor):
    """Fortnight and day grow together: it is the market that is wilder, not the shock that is smaller."""
    assume(account.market.sigma_14d >= P.sigma_floor)
    view = account.market
    wilder = replace(view, sigma_14d=view.sigma_14d * factor, sigma_24h=view.sigma_24h * factor)
    holdings = tuple(
        replace(h, sigma_14d=None if h.sigma_14d is None else h.sigma_14d * factor) for h in account.holdings
    )
    assert allowed(request, replace(account, market=wilder, holdings=holdings)) <= allowed(request, account)


@given(requests, accounts(), st.decimals("0.01", "0.9", places=2))
@RELAXED
def test_more_exposure_and_heat_never_allow_more(request, account, share):
    """Part of the cash becomes a further position: equity stays, exposure and heat grow."""
    moved = account.cash * share
    more = Holding("ZZZ-USD", moved, D(1), 1.0)
    richer_in_risk = replace(account, cash=account.cash - moved, holdings=(*account.holdings, more))
    assert allowed(request, richer_in_risk) <= allowed(request, account)


@given(requests, accounts(), st.decimals("100", "9000", places=2), st.decimals("1", "3", places=2))
@RELAXED
def test_more_drawdown_never_allows_more(request, account, mark, factor):
    high, higher = replace(account, high_water_mark=mark), replace(account, high_water_mark=mark * factor)
    assert allowed(request, higher) <= allowed(request, high)


@given(requests, accounts(), st.floats(0, 1), st.floats(0, 1))
@RELAXED
def test_less_confidence_never_allows_more(request, account, confidence, share):
    sure, doubtful = replace(request, confidence=confidence), replace(request, confidence=confidence * share)
    assert allowed(doubtful, account) <= allowed(sure, account)


@given(requests, accounts(), st.sampled_from([D("0.01"), D("0.1"), D(10), D(1000)]))
@RELAXED
def test_all_money_scaled_gives_the_same_decision_scaled(request, account, factor):
    scaled = replace(
        account,
        cash=account.cash * factor,
        product=product(quote_increment=D("0.01") * factor, quote_min_size=factor),
        holdings=tuple(
            replace(
                h,
                base_size=h.base_size * factor,
                open_buy=h.open_buy * factor,
                reserved_buy=h.reserved_buy * factor,
            )
            for h in account.holdings
        ),
        market=replace(account.market, median_quote_volume=account.market.median_quote_volume * factor),
        high_water_mark=None if account.high_water_mark is None else account.high_water_mark * factor,
        day_open=None if account.day_open is None else account.day_open * factor,
    )
    p = replace(P, min_notional=P.min_notional * factor, max_order_notional=P.max_order_notional * factor)
    before = assess(request, account, P)
    after = assess(replace(request, size=request.size * factor), scaled, p)
    assert (after.decision, after.adjusted_size) == (before.decision, before.adjusted_size * factor)
    assert [reason.code for reason in after.reasons] == [reason.code for reason in before.reasons]
    assert after.score == before.score


@given(accounts(), st.sampled_from([TradingState.ACTIVE, TradingState.REDUCING]), st.floats(0, 1))
@RELAXED
def test_selling_all_is_always_possible(account, state, confidence):
    held = replace(account, trading_state=state, holdings=(btc(), eth("0.02")), account_fresh=False, expired=True)
    found = assess(sell("0.02", confidence=confidence), held, P)
    assert (found.decision, found.adjusted_size) == (RiskDecision.APPROVE, D("0.02"))
    halted = assess(sell("0.02"), replace(held, trading_state=TradingState.HALTED), P)
    assert halted.decision is RiskDecision.REJECT
