"""The rules: a table of what each one stops, and what must hold for any input."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svc_validator import rules
from svc_validator.rules import RANGES, Limits, inputs_of, review
from svc_validator.self_test import CASES
from tests.validator.validator_cases import AS_OF, CALM, entry, evidence, operator_entry
from tradekit.states import LifeClock, Profile, ReviewOutcome, ReviewVerdict

PRODUCTS = frozenset({"BTC-USD"})


def codes(recommendation) -> set[str]:
    found = review(recommendation, Limits(), PRODUCTS)
    assert (found.outcome is ReviewOutcome.REJECT) == any(
        reason.code != "EVIDENCE_RULES_SKIPPED" for reason in found.reasons
    )
    return {reason.code for reason in found.reasons}


TABLE = [
    ({}, set()),
    ({"edge": 0.049}, {"EDGE"}),
    ({"edge": 0.05}, set()),
    ({"expected_net": 0.0}, {"EXPECTED_NET"}),
    ({"rsi_14": 0.76, "bb_pctb_20": 1.01}, {"OVERHEATED"}),
    ({"rsi_14": 0.76}, set()),
    ({"bb_pctb_20": 1.01}, set()),
    ({"ret_24": -0.0601}, {"FALLING_KNIFE"}),
    ({"ret_24": -0.06}, set()),
    ({"relvol_24": -0.51}, {"DEAD_VOLUME"}),
    ({"vol_ratio_24_168": 0.61}, {"VOLATILITY_SPIKE"}),
    ({"adx_14": 0.41, "sma_dist_50": -0.029}, {"COUNTER_TREND"}),
    ({"adx_14": 0.39, "sma_dist_50": -0.029}, set()),
    ({"adx_14": 0.41, "sma_dist_50": -0.027}, set()),
    ({"ret_1": -0.018}, {"PRICE_JUMP"}),
    ({"ret_1": 0.018}, {"PRICE_JUMP"}),
    ({"natr_14": 0.031}, {"WIDE_RANGE"}),
    ({"relvol_24": -0.6, "vol_ratio_24_168": 0.9}, {"DEAD_VOLUME", "VOLATILITY_SPIKE"}),
    ({"rsi_14": 1.2}, {"INPUT_OUT_OF_RANGE"}),
    ({"ret_24": math.nan}, {"INPUT_OUT_OF_RANGE"}),
    ({"sigma_horizon": 0.0}, {"INPUT_OUT_OF_RANGE"}),
    ({"natr_14": math.inf}, {"INPUT_OUT_OF_RANGE"}),
]


@pytest.mark.parametrize(("inputs", "expected"), TABLE)
def test_each_rule_stops_what_it_is_for(inputs, expected):
    assert codes(entry(inputs)) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"features": evidence().features[:-1]},
        {"features": (*evidence().features, 0.5)},
        {"features": ()},
        {"feature_set_hash": "a" * 64},
        {"feature_set_hash": ""},
    ],
)
def test_features_that_cannot_be_named_are_missing_inputs(changed):
    """A value under another feature's name would be worse than none: nothing is read by its place in a foreign set."""
    found = review(entry(evidence=evidence(**changed)), Limits(), PRODUCTS)
    assert found.outcome is ReviewOutcome.REJECT
    assert {reason.code for reason in found.reasons} == {"MISSING_INPUT"}
    assert {reason.observed for reason in found.reasons} == set(RANGES) - {"edge", "expected_net", "sigma_horizon"}


def test_features_are_read_by_the_place_of_their_name():
    assert inputs_of(evidence({"rsi_14": 0.9, "ret_24": -0.1})) == {**CALM, "rsi_14": 0.9, "ret_24": -0.1}


def test_the_exercise_profile_skips_edge_and_expected_net_only():
    poor = {"edge": -0.5, "expected_net": -1.0, "relvol_24": -0.6}
    assert codes(entry(poor, profile=Profile.EXERCISE)) == {"DEAD_VOLUME"}


def test_an_operators_recommendation_has_no_evidence_and_says_so():
    assert codes(operator_entry()) == {"EVIDENCE_RULES_SKIPPED"}
    assert codes(operator_entry(product_id="PEPE-USD")) == {"EVIDENCE_RULES_SKIPPED", "PRODUCT_NOT_TRADED"}


def test_limits_on_the_recommendation_itself():
    assert codes(entry(product_id="PEPE-USD")) == {"PRODUCT_NOT_TRADED"}
    assert codes(entry(life_clock=LifeClock.MARKET, expire_time=AS_OF)) == {"LIFE_EMPTY"}
    assert codes(entry(life_clock=LifeClock.MARKET, expire_time=AS_OF + timedelta(seconds=1))) == set()
    assert codes(entry(evidence=replace(evidence(), edge=0.5))) == {"EVIDENCE_INCONSISTENT"}


def test_reasons_name_limit_observation_and_product():
    (reason,) = review(entry({"relvol_24": -0.6}), Limits(), PRODUCTS).reasons
    assert (reason.limit, reason.observed, reason.scope) == ("-0.5", "-0.6", "product:BTC-USD")


def test_every_rule_declares_what_it_reads():
    for rule, needs in rules.RULES + rules.EVIDENCE_ONLY:
        rule({name: CALM[name] for name in needs}, Limits())


def test_the_clear_cases_of_the_self_test_are_clear_to_the_rules_too():
    for case in CASES:
        found = review(entry(dict(case.inputs)), Limits(), PRODUCTS)
        assert found.outcome.value == case.expected.value, case.name
    assert {case.expected for case in CASES} == {ReviewVerdict.APPROVE, ReviewVerdict.REJECT}


FIGURES = st.fixed_dictionaries({name: st.floats(low, high) for name, (low, high) in RANGES.items()})
# Which direction of each figure is worse for an entry, where one direction always is.
WORSE = {"edge": -1, "expected_net": -1, "relvol_24": -1, "vol_ratio_24_168": 1, "ret_24": -1, "bb_pctb_20": 1,
         "rsi_14": 1, "adx_14": 1, "sma_dist_50": -1}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(figures=FIGURES, name=st.sampled_from(sorted(WORSE)), share=st.floats(0, 1))
def test_a_worse_figure_never_turns_a_rejection_into_an_approval(figures, name, share):
    figures["edge"] = max(min(figures["edge"], 0.6), -0.6)
    low, high = (-0.6, 0.6) if name == "edge" else RANGES[name]
    end = high if WORSE[name] > 0 else low
    worse = {**figures, name: figures[name] + (end - figures[name]) * share}
    before, after = codes(entry(figures)), codes(entry(worse))
    assert not before or after
    assert before - {"INPUT_OUT_OF_RANGE"} <= after


@settings(max_examples=100, deadline=None)
@given(figures=st.fixed_dictionaries({name: st.floats() for name in RANGES}), profile=st.sampled_from(Profile))
def test_any_figures_give_the_same_verdict_twice_and_never_an_error(figures, profile):
    recommendation = entry(figures, profile=profile)
    first = review(recommendation, Limits(), PRODUCTS)
    assert review(recommendation, Limits(), PRODUCTS) == first
    assert all(math.isfinite(value) for value in first.inputs.values())
    if first.outcome is ReviewOutcome.APPROVE:
        needed = {name for rule in rules.RULES for name in rule[1]}
        assert all(RANGES[name][0] <= figures[name] <= RANGES[name][1] for name in needed)
