"""Decisions of the pure core, rule by rule: the worked example to the digit, then each limit at and past its edge."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from svc_risk.assess import assess, must_wait
from svc_risk.pacing import tokens_left
from svc_risk.parameters import Parameters, faults
from svc_risk.score import score_shown
from svc_risk.snapshot import Inputs, Lock, PastOrders, inputs_from_json, inputs_to_json
from tests.risk.risk_cases import AS_OF, HOUR, D, btc, buy, eth, market, product, sell, snapshot
from tradekit.exits import is_dust
from tradekit.states import RiskDecision, TradingState

P = Parameters()


def codes(assessment):
    return [reason.code for reason in assessment.reasons]


def test_worked_example():
    found = assess(buy(), snapshot(), P)
    assert found.score == pytest.approx(0.299880, abs=1e-6)
    assert score_shown(found.score) == "0.30"
    assert (found.decision, found.adjusted_size) == (RiskDecision.APPROVE, D("100.00"))
    assert found.parts.volatility == pytest.approx(0.4)
    assert found.parts.heat == pytest.approx(0.201518, abs=1e-6)
    assert found.parts.exposure == pytest.approx(0.3)
    assert found.parts.drawdown == pytest.approx(0.2)
    assert found.parts.uncertainty == pytest.approx(0.19)
    assert found.heat_after == pytest.approx(0.0120911, abs=1e-7)
    assert (found.equity, found.exposure_before, found.exposure_after) == (D(2000), D(380), D(480))
    assert found.reasons == ()


def test_score_is_shown_half_even():
    assert [score_shown(value) for value in (0.125, 0.375, 0.29988, 1.0)] == ["0.12", "0.38", "0.30", "1.00"]


def test_a_wild_product_is_reduced_by_the_volatility_target():
    found = assess(buy(), snapshot(market=market(sigma_14d=0.95, sigma_24h=0.95)), P)
    assert (found.decision, found.adjusted_size) == (RiskDecision.REDUCE, D("63.15"))
    assert codes(found) == ["VOL_TARGET"]


def test_a_shock_halves_the_size_only_above_its_ratio():
    at_edge = assess(buy(), snapshot(market=market(sigma_24h=1.5)), P)
    beyond = assess(buy(), snapshot(market=market(sigma_24h=1.5001)), P)
    assert at_edge.adjusted_size == D(100)
    assert (beyond.adjusted_size, codes(beyond)) == (D(50), ["VOL_SHOCK"])


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("KILL_SWITCH", {"trading_state": TradingState.REDUCING}),
        ("KILL_SWITCH", {"trading_state": TradingState.HALTED}),
        ("UNKNOWN_PRODUCT", {"product": None}),
        ("TRADING_DISABLED", {"product": product(tradable=False)}),
        ("EXPIRED_REQUEST", {"expired": True}),
        ("STALE_DATA", {"market": market(last_close_time=AS_OF - timedelta(seconds=7201))}),
        ("STALE_DATA", {"holdings": (btc(mark=None),)}),
        ("STALE_ACCOUNT", {"account_fresh": False}),
        ("INSUFFICIENT_HISTORY", {"market": market(real_bars=299)}),
        ("INSUFFICIENT_HISTORY", {"market": market(sigma_14d=None)}),
        ("ORDER_UNKNOWN", {"holdings": (btc(), eth("0", order_unknown=True))}),
        ("PRICE_COLLAR", {"market": market(last_close=D("2600"))}),
        ("DAILY_LOSS", {"cash": D(1560), "day_open": D(2000)}),
        ("DRAWDOWN", {"cash": D(1420), "high_water_mark": D(2000), "day_open": None}),
        ("DRAWDOWN", {"locks": (Lock("DRAWDOWN", "account", AS_OF, None, "0.1", "0.1", "ratio"),)}),
        ("DAILY_LOSS", {"locks": (Lock("DAILY_LOSS", "account", AS_OF, AS_OF + HOUR, "0.03", "0.03", "ratio"),)}),
        ("COOLDOWN_LOSS", {"last_losing_exit": AS_OF - timedelta(hours=3, minutes=59)}),
        ("COOLDOWN_ENTRY", {"last_entry": AS_OF - timedelta(minutes=29)}),
        ("ORDER_RATE", {"past_orders": (PastOrders("ETH-USD", AS_OF),) * 2}),
        ("ORDER_RATE", {"past_orders": tuple(PastOrders(f"A{n}-USD", AS_OF) for n in range(10))}),
        ("VOL_LIMIT", {"market": market(sigma_14d=2.51, sigma_24h=2.51)}),
        (
            "MAX_OPEN_POSITIONS",
            {
                "holdings": tuple(btc(product_id=f"A{n}-USD", base_size=D("0.0001")) for n in range(8)),
                "day_open": None,
                "high_water_mark": None,
            },
        ),
        ("INTERNAL", {"market": market(sigma_24h=float("nan"))}),
        ("INTERNAL", {"market": market(sigma_14d=float("inf"))}),
        ("MIN_NOTIONAL", {"product": product(quote_min_size=D("100.01"))}),
    ],
)
def test_hard_rule_rejects_an_entry(code, changes):
    found = assess(buy(), snapshot(**changes), P)
    assert (found.decision, found.adjusted_size) == (RiskDecision.REJECT, D(0))
    assert codes(found)[0] == code
    assert all(abs(value) < 1e9 for value in (found.score, found.heat_after, found.sigma_14d))


@pytest.mark.parametrize(
    "changes",
    [
        {"market": market(last_close_time=AS_OF - timedelta(seconds=7200))},
        {"market": market(real_bars=300)},
        {"last_losing_exit": AS_OF - timedelta(hours=4)},
        {"last_entry": AS_OF - timedelta(minutes=30)},
        {"past_orders": (PastOrders("ETH-USD", AS_OF - timedelta(seconds=60)),) * 2},
        {"past_orders": (PastOrders("ETH-USD", AS_OF),)},
        {"holdings": tuple(btc(product_id=f"A{n}-USD", base_size=D("0.0005")) for n in range(7))},
        {"product": product(quote_min_size=D("100"))},
        {"day_open": D(1500), "high_water_mark": None},
    ],
)
def test_the_safe_side_of_an_edge_is_allowed(changes):
    assert assess(buy(), snapshot(**changes), P).decision is RiskDecision.APPROVE


def test_low_confidence_and_the_operators_lack_of_it():
    assert codes(assess(buy(confidence=0.399), snapshot(), P)) == ["LOW_CONFIDENCE"]
    assert assess(buy(confidence=0.40), snapshot(), P).decision is RiskDecision.APPROVE
    operator = assess(buy(confidence=None), snapshot(), P)
    assert operator.decision is RiskDecision.APPROVE
    assert operator.parts.uncertainty == 0.5


def test_all_failed_rules_are_told_in_their_order():
    many = snapshot(
        trading_state=TradingState.REDUCING,
        expired=True,
        market=market(real_bars=3, sigma_14d=2.6),
        last_entry=AS_OF,
        cash=D(0),
    )
    found = codes(assess(buy(confidence=0.1), many, P))
    rules = [
        "KILL_SWITCH", "EXPIRED_REQUEST", "INSUFFICIENT_HISTORY", "LOW_CONFIDENCE", "DAILY_LOSS", "DRAWDOWN",
        "COOLDOWN_ENTRY", "VOL_LIMIT",
    ]  # fmt: skip
    assert found[: len(rules)] == rules
    assert "CASH_RESERVE" in found


@pytest.mark.parametrize(
    ("code", "size", "changes", "allowed"),
    [
        ("MAX_ORDER_NOTIONAL", "251", {}, "250.00"),
        ("GROSS_EXPOSURE", "100", {"holdings": (btc(base_size=D("0.0155")),), "cash": D(450)}, "50.00"),
        ("LIQUIDITY", "100", {"market": market(median_quote_volume=D("5000"))}, "50.00"),
    ],
)
def test_cap_reduces_and_says_so_first(code, size, changes, allowed):
    found = assess(buy(size), snapshot(high_water_mark=None, day_open=None, **changes), P)
    assert (found.decision, codes(found)[0]) == (RiskDecision.REDUCE, code)
    assert found.adjusted_size == D(allowed)


def test_position_cap_counts_orders_and_reservations():
    held = eth("0.08", open_buy=D(80), reserved_buy=D(60))
    found = assess(buy(), snapshot(holdings=(held,), cash=D(1800), high_water_mark=None, day_open=None), P)
    # Equity is 2,000 less the fees that are still to come, 20 % of it less 340.
    room = (D(2000) - D(140) * P.taker_fee) * D("0.2") - D(340)
    assert (found.decision, codes(found)[0]) == (RiskDecision.REDUCE, "MAX_POSITION")
    assert found.adjusted_size == room.quantize(D("0.01"), "ROUND_DOWN")


def test_heat_cap_binds_where_stops_are_wide():
    tight = replace(P, heat_cap_ratio=D("0.011"))
    found = assess(buy(), snapshot(), tight)
    assert (found.decision, codes(found)[0]) == (RiskDecision.REDUCE, "PORTFOLIO_HEAT")
    assert found.heat_after <= 0.011


def test_cash_reserve_leaves_room_for_the_fee():
    poor = snapshot(holdings=(btc(base_size=D("0.0185")),), cash=D(150), high_water_mark=None, day_open=None)
    loose = replace(P, gross_exposure_ratio=D("0.99"), cash_reserve_ratio=D("0.01"), heat_cap_ratio=D("0.5"))
    found = assess(buy("200"), poor, loose)
    assert codes(found)[0] == "CASH_RESERVE"
    assert D(150) - found.adjusted_size * (1 + P.taker_fee) >= D(20)
    assert D(150) - (found.adjusted_size + D("0.01")) * (1 + P.taker_fee) < D(20)


# ---- exits -----------------------------------------------------------------------------------------------------------


def worst(**changes):
    """Every lock, no data, no money: nothing of it may hold an exit."""
    made = {
        "trading_state": TradingState.REDUCING,
        "holdings": (eth(mark=None, sigma_14d=None),),
        "market": market(last_close=None, last_close_time=None, sigma_14d=None, sigma_24h=float("nan"), real_bars=0),
        "high_water_mark": D(100000),
        "day_open": D(100000),
        "cash": D(0),
        "locks": (Lock("DRAWDOWN", "account", AS_OF, None, "0.1", "0.5", "ratio"),),
        "past_orders": (PastOrders("ETH-USD", AS_OF),) * 50,
        "last_entry": AS_OF,
        "last_losing_exit": AS_OF,
        "expired": True,
        "account_fresh": False,
    } | changes
    return snapshot(**made)


def test_an_exit_of_everything_is_possible_under_every_lock():
    found = assess(sell("0.04"), worst(), P)
    assert (found.decision, found.adjusted_size) == (RiskDecision.APPROVE, D("0.04"))
    assert {"EXPIRED_REQUEST", "STALE_DATA", "STALE_ACCOUNT", "PRICE_COLLAR", "ORDER_RATE"} <= set(codes(found))
    assert must_wait(sell("0.04"), worst(), P) is None


def test_only_halted_stops_it():
    found = assess(sell("0.04"), worst(trading_state=TradingState.HALTED), P)
    assert (found.decision, codes(found)[0]) == (RiskDecision.REJECT, "KILL_SWITCH")


def test_an_exit_is_cut_to_what_is_free():
    held = eth("0.10", open_sell_base=D("0.05"))
    found = assess(sell("0.10"), snapshot(holdings=(held,)), P)
    assert (found.decision, found.adjusted_size, codes(found)) == (RiskDecision.REDUCE, D("0.05"), ["SELL_NOT_HELD"])


@pytest.mark.parametrize("held", [(), (eth("0.05", open_sell_base=D("0.05")),)])
def test_nothing_free_is_not_held(held):
    found = assess(sell(), snapshot(holdings=held), P)
    assert (found.decision, codes(found)) == (RiskDecision.REJECT, ["SELL_NOT_HELD"])


def test_dust_is_sold_with_the_rest():
    found = assess(sell("0.037"), snapshot(holdings=(eth("0.04"),)), P)  # leaves 7.50
    assert (found.decision, found.adjusted_size, codes(found)) == (RiskDecision.APPROVE, D("0.04"), ["DUST_CLOSED"])
    at_edge = assess(sell("0.036"), snapshot(holdings=(eth("0.04"),)), P)  # leaves 10.00
    assert (at_edge.adjusted_size, codes(at_edge)) == (D("0.036"), [])


def test_an_exit_below_the_exchange_minimum_is_refused_with_its_number():
    found = assess(sell("1"), snapshot(holdings=(eth("0.0003"),)), P)  # worth 0.75
    assert (found.decision, codes(found)) == (RiskDecision.REJECT, ["MIN_NOTIONAL"])
    assert (found.reasons[0].limit, found.reasons[0].observed) == ("1", "0.75")


def test_an_exit_takes_no_headroom():
    found = assess(sell(), snapshot(holdings=(eth(),)), P)
    assert (found.exposure_after, found.heat_after, found.fee) == (found.exposure_before, found.heat_before, D(0))


# ---- waiting, rates, parameters, storage -----------------------------------------------------------------------------


def test_what_a_moment_can_mend_waits_instead_of_being_refused():
    assert must_wait(buy(), snapshot(), P) is None
    assert must_wait(buy(), snapshot(account_fresh=False), P).code == "STALE_ACCOUNT"
    assert must_wait(buy(), snapshot(holdings=(btc(mark=None),)), P).code == "STALE_DATA"
    assert must_wait(buy(), snapshot(market=market(last_close=None)), P).code == "STALE_DATA"


@pytest.mark.parametrize(
    "final",
    [
        {"trading_state": TradingState.HALTED},
        {"expired": True},
        {"product": None},
        {"holdings": (eth(order_unknown=True),)},
    ],
)
def test_what_no_fresher_data_can_change_does_not_wait(final):
    assert must_wait(buy(), snapshot(account_fresh=False, **final), P) is None


def test_tokens_refill_evenly():
    burst = [PastOrders("ETH-USD", AS_OF, 4), *[PastOrders("ETH-USD", AS_OF)] * 3, PastOrders("BTC-USD", AS_OF, 3)]
    assert tokens_left(burst, AS_OF, 10) == 0
    assert tokens_left(burst, AS_OF + timedelta(seconds=6), 10) == pytest.approx(1)
    assert tokens_left(burst, AS_OF + timedelta(seconds=60), 10) == pytest.approx(10)
    assert tokens_left(burst, AS_OF - HOUR / 2, 10) == 0  # spent later than asked about: spent all the same


def test_parameters_are_refused_as_a_whole():
    assert faults(P) == []
    bad = replace(P, weight_heat=0.5, score_soft=0.9, min_notional=D("-1"), stop_z=float("nan"))
    assert faults(bad) == [
        "stop_z = nan: must be a finite number",
        "min_notional = -1: must be above 0",
        "weight_volatility = 0.4, weight_heat = 0.5, weight_exposure = 0.2, weight_drawdown = 0.1, "
        "weight_uncertainty = 0.05: the weights must sum to 1",
        "score_soft = 0.9, score_hard = 0.8: the first must be below the second",
    ]
    # What follows from a value that is wrong by itself is not told twice.
    assert faults(replace(P, score_soft=2.0), str.upper) == ["SCORE_SOFT = 2: must be at most 1"]


def test_the_limits_version_names_every_parameter():
    assert P.limits_version == Parameters().limits_version
    assert replace(P, heat_cap_ratio=D("0.061")).limits_version != P.limits_version
    assert replace(P, heat_cap_ratio=D("0.060")).limits_version == P.limits_version


def test_a_stored_decision_is_made_again_from_its_row():
    case = snapshot(
        locks=(Lock("DRAWDOWN", "account", AS_OF, None, "0.1", "0.1", "ratio"),),
        past_orders=(PastOrders("ETH-USD", AS_OF),),
        holdings=(btc(), eth(reserved_buy=D("12.340000000000000000"))),
    )
    stored = json.loads(json.dumps(inputs_to_json(Inputs(buy(), case))))
    again = inputs_from_json(stored)
    assert again == Inputs(buy(), case)
    # Decisions of before orders were counted name each of them.
    del stored["snapshot"]["past_orders"][0]["count"]
    assert inputs_from_json(stored) == Inputs(buy(), case)
    assert assess(again.request, again.snapshot, P) == assess(buy(), case, P)


def test_dust_takes_no_slot_keeps_its_value_and_needs_no_price() -> None:
    one_slot = replace(P, max_open_positions=1)
    rest = btc(base_size=D("0.000000007"), dust=True)
    free = assess(buy(), snapshot(holdings=(rest,), cash=D(2000)), one_slot)
    assert "MAX_OPEN_POSITIONS" not in {reason.code for reason in free.reasons}
    assert free.exposure_before == D("0.0007")
    taken = assess(buy(), snapshot(holdings=(replace(rest, dust=False),), cash=D(2000)), one_slot)
    assert "MAX_OPEN_POSITIONS" in {reason.code for reason in taken.reasons}


def test_what_the_exchange_takes_no_order_of_is_dust() -> None:
    rules = (D("0.00000001"), D("0.0001"), D(1))
    assert is_dust(D("0.000000007"), D(100000), *rules)
    assert is_dust(D("0.00009"), None, *rules)
    assert is_dust(D("0.0002"), D(4000), *rules)
    assert not is_dust(D("0.0002"), D(100000), *rules)
    assert not is_dust(D("0.0002"), None, *rules)
    assert not is_dust(D(0), D(1), *rules)


def test_a_decision_reckons_with_the_fee_that_is_stored_with_it() -> None:
    costly = assess(buy(), snapshot(taker_fee=D("0.02")), P)
    assert costly.fee == costly.adjusted_size * D("0.02")
    assert costly == assess(buy(), snapshot(), replace(P, taker_fee=D("0.02")))
    assert inputs_from_json(inputs_to_json(Inputs(buy(), snapshot(taker_fee=D("0.02"))))).snapshot.taker_fee == D(
        "0.02"
    )
    old = inputs_to_json(Inputs(buy(), snapshot()))
    del old["snapshot"]["taker_fee"]
    assert inputs_from_json(old).snapshot.taker_fee is None
