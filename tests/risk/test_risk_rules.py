"""A rule is declared once: what a refusal tells is what GetLimits, the page of reasons and the settings tell."""

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svc_risk.assess import Assessment, assess
from svc_risk.limits import COOLDOWN_ENTRY, COOLDOWN_LOSS
from svc_risk.locks import cooldown_lock, tripped
from svc_risk.parameters import Parameters, faults
from svc_risk.rule import Effect
from svc_risk.rules import HARD_RULES, RULES, LimitInForce, limits_of
from svc_risk.rules_page import PAGE, written
from svc_risk.settings import RiskSettings
from svc_risk.snapshot import Lock, PastOrders, Request, Snapshot
from tests.risk.risk_cases import AS_OF, HOUR, D, btc, buy, eth, market, product, sell, snapshot
from tests.risk.risk_limits import explained
from tradekit.states import RiskDecision, Side, TradingState

P = Parameters()
OPEN = {"high_water_mark": None, "day_open": None}
SMALL = tuple(btc(product_id=f"A{n}-USD", base_size=D("0.0001")) for n in range(8))

# Code and scope of a rule's reason, a request that meets it, and what is changed of the worked example for that.
PROVOKED: tuple[tuple[str, str, Request, dict[str, Any]], ...] = (
    ("KILL_SWITCH", "account", buy(), {"trading_state": TradingState.REDUCING}),
    ("KILL_SWITCH", "account", sell(), {"trading_state": TradingState.HALTED, "holdings": (eth(),)}),
    ("INTERNAL", "request", buy(), {"market": market(sigma_24h=float("nan"))}),
    ("UNKNOWN_PRODUCT", "product:ETH-USD", buy(), {"product": None}),
    ("UNKNOWN_PRODUCT", "product:ETH-USD", sell(), {"product": None, "holdings": (eth(),)}),
    ("TRADING_DISABLED", "product:ETH-USD", buy(), {"product": product(tradable=False)}),
    ("EXPIRED_REQUEST", "request", buy(), {"expired": True}),
    ("EXPIRED_REQUEST", "request", sell(), {"expired": True, "holdings": (eth(),)}),
    ("STALE_DATA", "product:ETH-USD", buy(), {"market": market(last_close_time=AS_OF - timedelta(seconds=7201))}),
    ("STALE_DATA", "product:ETH-USD", sell(), {"market": market(last_close_time=None), "holdings": (eth(),)}),
    ("STALE_DATA", "product:BTC-USD", buy(), {"holdings": (btc(mark=None),)}),
    ("INSUFFICIENT_HISTORY", "product:ETH-USD", buy(), {"market": market(real_bars=299)}),
    ("STALE_ACCOUNT", "account", buy(), {"account_fresh": False}),
    ("ORDER_UNKNOWN", "product:ETH-USD", buy(), {"holdings": (btc(), eth("0", order_unknown=True))}),
    ("PRICE_COLLAR", "product:ETH-USD", buy(), {"market": market(last_close=D(2600))}),
    ("PRICE_COLLAR", "product:ETH-USD", buy(), {"market": market(last_close=D(2600), sigma_14d=0.1, sigma_24h=0.1)}),
    ("PRICE_COLLAR", "product:ETH-USD", sell(), {"market": market(last_close=None), "holdings": (eth(),)}),
    ("LOW_CONFIDENCE", "model", buy(confidence=0.1), {}),
    ("DAILY_LOSS", "account", buy(), {"cash": D(1560)}),
    ("DRAWDOWN", "account", buy(), {"cash": D(1420), "high_water_mark": D(2000), "day_open": None}),
    ("DRAWDOWN", "account", buy(), {"locks": (Lock("DRAWDOWN", "account", AS_OF, None, "0.2", "0.2", "ratio"),)}),
    ("COOLDOWN_LOSS", "product:ETH-USD", buy(), {"last_losing_exit": AS_OF - HOUR}),
    ("COOLDOWN_ENTRY", "product:ETH-USD", buy(), {"last_entry": AS_OF}),
    ("ORDER_RATE", "account", buy(), {"past_orders": tuple(PastOrders(f"A{n}-USD", AS_OF) for n in range(12))}),
    ("ORDER_RATE", "product:ETH-USD", buy(), {"past_orders": (PastOrders("ETH-USD", AS_OF),) * 3}),
    ("VOL_LIMIT", "product:ETH-USD", buy(), {"market": market(sigma_14d=2.51, sigma_24h=2.51)}),
    ("RISK_SCORE", "account", buy(), {"market": market(sigma_14d=2.4), "cash": D(100), **OPEN}),
    ("MAX_OPEN_POSITIONS", "account", buy(), {"holdings": SMALL, **OPEN}),
    ("VOL_TARGET", "product:ETH-USD", buy(), {"market": market(sigma_14d=0.95, sigma_24h=0.95)}),
    ("VOL_SHOCK", "product:ETH-USD", buy(), {"market": market(sigma_24h=1.6)}),
    ("SCORE_SCALED", "account", buy(), {"market": market(sigma_14d=1.5, sigma_24h=1.5)}),
    ("MAX_ORDER_NOTIONAL", "request", buy("251"), {}),
    ("MAX_POSITION", "product:ETH-USD", buy(), {"holdings": (eth("0.16"),), **OPEN}),
    ("GROSS_EXPOSURE", "account", buy(), {"holdings": (btc(base_size=D("0.0155")),), "cash": D(450), **OPEN}),
    ("CASH_RESERVE", "account", buy(), {"holdings": (btc(base_size=D("0.0185")),), "cash": D(150), **OPEN}),
    ("PORTFOLIO_HEAT", "account", buy(), {"holdings": (btc(sigma_14d=3.0),), **OPEN}),
    ("LIQUIDITY", "product:ETH-USD", buy(), {"market": market(median_quote_volume=D(5000))}),
    ("LIQUIDITY", "product:ETH-USD", buy(), {"market": market(median_quote_volume=D(0))}),
    ("MIN_NOTIONAL", "request", buy("9.99"), {}),
    ("MIN_NOTIONAL", "request", buy(), {"product": product(quote_min_size=D("100.01"))}),
    ("SELL_NOT_HELD", "product:ETH-USD", sell(), {}),
    ("SELL_NOT_HELD", "product:ETH-USD", sell("0.1"), {"holdings": (eth("0.1", open_sell_base=D("0.05")),)}),
    ("MIN_NOTIONAL", "request", sell(), {"holdings": (eth("0.0003"),)}),
    (
        "MIN_NOTIONAL",
        "request",
        sell(),
        {"holdings": (eth("0.02", mark=None),), "product": product(base_min_size=D(1))},
    ),
    ("DUST_CLOSED", "product:ETH-USD", sell("0.037"), {"holdings": (eth("0.04"),)}),
    ("DUST_CLOSED", "product:ETH-USD", sell(), {"holdings": (eth(),), "product": product(quote_min_size=D("50.01"))}),
)


def figures(found: Assessment, case: Snapshot) -> dict[str, float]:
    """The recorded figures that a formula of GetLimits may name; of a product that is not listed no minimum is known."""
    holding, listed = case.holding("ETH-USD"), case.product
    return {
        "sigma_14d": found.sigma_14d,
        "quote_min_size": float(listed.quote_min_size) if listed else 0.0,
        "base_min_size": float(listed.base_min_size) if listed else 0.0,
        "base_size": float(holding.base_size),
        "open_sell_base": float(holding.open_sell_base),
    }


def rules_of(request: Request, case: Snapshot, p: Parameters) -> set[int]:
    """The places in GetLimits of the rules that an assessment tells; fails where a reason is not one row's."""
    found = assess(request, case, p)
    rows = limits_of(p, 3600)
    told = set()
    for reason in found.reasons:
        effect = {row: row.on_buy if request.side is Side.BUY else row.on_sell for row in rows}
        ours = [row for row in rows if effect[row] is not Effect.NONE and row.scope == reason.scope.split(":")[0]]
        matching = explained(reason, ours, figures(found, case))
        assert len(matching) == 1, (reason, matching)
        if found.decision is not RiskDecision.REJECT:
            assert effect[matching[0]] is not Effect.REJECT, reason
        told.add(rows.index(matching[0]))
    return told


@pytest.mark.parametrize(("code", "scope", "request_", "changes"), PROVOKED)
def test_what_a_refusal_tells_is_what_is_listed(code, scope, request_, changes):
    told = [(reason.code, reason.scope) for reason in assess(request_, snapshot(**changes), P).reasons]
    assert (code, scope) in told
    assert rules_of(request_, snapshot(**changes), P)


def test_every_rule_is_provoked():
    met = set().union(*(rules_of(request, snapshot(**changes), P) for _, _, request, changes in PROVOKED))
    assert [RULES[place].words for place in sorted(set(range(len(RULES))) - met)] == []


@st.composite
def parameters(draw) -> Parameters:
    """Parameters whose limits are moved, where they still fit together."""
    movable = [field for field in fields(Parameters) if "weight" not in field.name]
    moved = {field.name: draw(_near(field)) for field in draw(st.lists(st.sampled_from(movable), max_size=12))}
    for name in list(moved):
        if faults(replace(P, **moved)):
            del moved[name]
    return replace(P, **moved)


def _near(field: Any) -> st.SearchStrategy[Any]:
    if field.type is int:
        return st.integers(1, 2 * field.default)
    factors = st.sampled_from(["0.1234567", "0.5", "0.77", "1.3", "2"])
    return factors.map(lambda factor: field.default * type(field.default)(factor))


def together(troubles: Iterable[tuple[str, str, Request, dict[str, Any]]]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for _, _, _, trouble in troubles:
        changes |= trouble
    return changes


@given(
    st.sampled_from([request for _, _, request, _ in PROVOKED]),
    st.lists(st.sampled_from(PROVOKED), max_size=6),
    st.decimals("1", "400", places=2),
    st.floats(0.01, 4.0),
    parameters(),
)
@settings(deadline=None, max_examples=300)
def test_every_refusal_tells_a_limit_that_is_listed(request, troubles, size, sigma, p):
    """Any requests in any troubles, under any parameters: code, unit and limit of each reason are one row's."""
    changes = together(troubles)
    changes.setdefault("market", market(sigma_14d=sigma, sigma_24h=sigma))
    wanted = replace(request, size=size if request.side is Side.BUY else size / 2500)
    rules_of(wanted, snapshot(**changes, stale_seconds=p.stale_seconds(3600)), p)


@given(st.lists(st.sampled_from(PROVOKED), max_size=8))
@settings(deadline=None, max_examples=60)
def test_refusals_are_told_in_the_order_of_the_list(troubles):
    found = assess(buy(), snapshot(**together(troubles)), P)
    order = [rule.code for rule in HARD_RULES]
    ranks = [order.index(reason.code) for reason in found.reasons if reason.code in order]
    assert ranks == sorted(ranks)


def test_what_a_lock_tells_is_what_is_listed():
    p = replace(P, daily_loss_ratio=D("0.0312"), drawdown_ratio=D("0.1100"), cooldown_loss_minutes=7)
    locks = [
        *tripped(D(50), D(100), D(100), AS_OF, p),
        cooldown_lock(COOLDOWN_LOSS, "ETH-USD", AS_OF, p.cooldown_loss_seconds),
        cooldown_lock(COOLDOWN_ENTRY, "ETH-USD", AS_OF, p.cooldown_entry_seconds),
    ]
    rows = limits_of(p, 3600)
    assert [[row.code for row in explained(lock, rows, {})] for lock in locks] == [
        ["DAILY_LOSS"], ["DRAWDOWN"], ["COOLDOWN_LOSS"], ["COOLDOWN_ENTRY"],
    ]  # fmt: skip


def test_limits_that_once_were_told_otherwise():
    rows: dict[tuple[str, str, str], LimitInForce] = {
        (row.code, row.unit, row.scope): row for row in limits_of(P, 3600)
    }
    assert rows["STALE_DATA", "seconds", "product"].value == "7200"
    assert rows["ORDER_RATE", "count", "account"].value == "10"
    assert rows["ORDER_RATE", "count", "product"].value == "2"
    assert rows["PRICE_COLLAR", "ratio", "product"].value == "max(0.02, 4*sigma_14d/sqrt(8760))"
    assert limits_of(P, 60)[5].value == "120"


def test_the_page_of_reasons_is_what_the_rules_say():
    assert PAGE.read_text() == written(PAGE.read_text()), "run python -m svc_risk.rules_page"


def test_every_parameter_is_a_setting_with_its_words_and_default():
    found = RiskSettings.model_fields
    for field in fields(Parameters):
        if field.name != "taker_fee":
            made = found[f"risk_{field.name}"]
            assert (made.annotation, made.default, made.description) == (
                field.type, field.default, field.metadata["words"],
            )  # fmt: skip
