"""The rules reviewer: hard limits on an entry, each one function that gives a reason or nothing.

A pure function of the recommendation, so a stored verdict can be recomputed. All rules run and every finding is kept.
The limits are loose: on hourly candles they stop the bars on which an entry is plainly a mistake, a few in a hundred.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from modelkit.features.definition import names_of
from tradekit.reasons import Reason, shown
from tradekit.recommendation import Evidence, Recommendation
from tradekit.states import Profile, ReviewOutcome

Inputs = Mapping[str, float]

# Every number the rules look at, with the range outside of which it is no such number.
# Features by their names in the feature set; returns and volatilities are log returns.
RANGES: Mapping[str, tuple[float, float]] = {
    "edge": (-1.0, 1.0),
    "expected_net": (-10.0, 10.0),
    "sigma_horizon": (1e-6, 10.0),
    "rsi_14": (0.0, 1.0),
    "adx_14": (0.0, 1.0),
    "bb_pctb_20": (-1.0, 2.0),
    "natr_14": (0.0, 1.0),
    "ret_1": (-5.0, 5.0),
    "ret_24": (-10.0, 10.0),
    "relvol_24": (-0.7, 2.6),
    "sma_dist_50": (-1.0, 50.0),
    "vol_ratio_24_168": (-15.0, 2.0),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of the rules, in the units of the features they look at."""

    min_edge: float = 0.05
    min_expected_net: float = 0.0
    overheated_rsi: float = 0.75
    overheated_pctb: float = 1.0
    knife_sigmas: float = 2.0
    # ln(1 + volume/mean) - ln 2: a bar with about a fifth of the usual volume.
    min_relvol: float = -0.5
    # ln(sd_24/sd_168): the day is 1.8 times as volatile as its week.
    max_vol_ratio: float = 0.6
    trend_adx: float = 0.4
    trend_atrs: float = 4.0
    jump_atrs: float = 2.5
    max_natr: float = 0.03


@dataclass(frozen=True, slots=True)
class RulesReview:
    """The rules' answer and the numbers it rests on."""

    outcome: ReviewOutcome
    reasons: tuple[Reason, ...]
    inputs: Inputs


def review(recommendation: Recommendation, limits: Limits, products: frozenset[str]) -> RulesReview:
    """The verdict on an entry; an operator's recommendation has no evidence, so only the rules that need none apply to it."""
    found = [product_traded(recommendation, products), life_not_empty(recommendation)]
    notes: tuple[Reason, ...] = ()
    inputs: Inputs = {}
    if recommendation.evidence is None:
        notes = (Reason("EVIDENCE_RULES_SKIPPED", scope="operator"),)
    else:
        inputs = inputs_of(recommendation.evidence)
        found += [evidence_consistent(recommendation.evidence), *_evidence_rules(inputs, recommendation, limits)]
    reasons = tuple(dict.fromkeys(reason for reason in found if reason is not None))
    outcome = ReviewOutcome.REJECT if reasons else ReviewOutcome.APPROVE
    return RulesReview(
        outcome, reasons + notes, {name: value for name, value in inputs.items() if math.isfinite(value)}
    )


def inputs_of(evidence: Evidence) -> dict[str, float]:
    """The numbers of RANGES that the evidence holds; features of an unknown set, or too few or many, count as absent."""
    names = names_of(evidence.feature_set_hash)
    known = len(names) == len(evidence.features)
    found = (
        {name: value for name, value in zip(names, evidence.features, strict=True) if name in RANGES} if known else {}
    )
    return found | {
        "edge": evidence.edge,
        "expected_net": evidence.expected_net,
        "sigma_horizon": evidence.sigma_horizon,
    }


def product_traded(recommendation: Recommendation, products: frozenset[str]) -> Reason | None:
    """Only products on the operator's list are entered."""
    if recommendation.product_id in products:
        return None
    return Reason("PRODUCT_NOT_TRADED", observed=recommendation.product_id, scope="request")


def life_not_empty(recommendation: Recommendation) -> Reason | None:
    """A recommendation that ends before the data it rests on was never alive."""
    if not recommendation.life_is_empty:
        return None
    return Reason("LIFE_EMPTY", recommendation.as_of.isoformat(), recommendation.expire_time.isoformat(), "", "request")


def evidence_consistent(evidence: Evidence) -> Reason | None:
    """The edge must be what the probabilities say, or the evidence was put together wrongly."""
    difference = evidence.p_up - evidence.p_down - evidence.edge
    if abs(difference) <= 1e-6:
        return None
    return Reason("EVIDENCE_INCONSISTENT", "0.000001", shown(difference), "ratio", "model")


def edge(inputs: Inputs, limits: Limits) -> Reason | None:
    """The model must lean upwards by a margin."""
    return _below("EDGE", limits.min_edge, inputs["edge"], "model")


def expected_net(inputs: Inputs, limits: Limits) -> Reason | None:
    """What is left after the round trip's cost must be above the limit."""
    value = inputs["expected_net"]
    if value > limits.min_expected_net:
        return None
    return Reason("EXPECTED_NET", shown(limits.min_expected_net), shown(value), "ratio", "model")


def overheated(inputs: Inputs, limits: Limits) -> Reason | None:
    """Bought-out by momentum and above its band at once: the entry comes late."""
    if inputs["rsi_14"] > limits.overheated_rsi and inputs["bb_pctb_20"] > limits.overheated_pctb:
        return Reason("OVERHEATED", shown(limits.overheated_rsi), shown(inputs["rsi_14"]), "ratio", "product")
    return None


def falling_knife(inputs: Inputs, limits: Limits) -> Reason | None:
    """A fall over 24 bars far beyond the volatility of that span."""
    sigmas = inputs["ret_24"] / inputs["sigma_horizon"]
    return _below("FALLING_KNIFE", -limits.knife_sigmas, sigmas, "product")


def dead_volume(inputs: Inputs, limits: Limits) -> Reason | None:
    """Hardly anybody trades: the price says little and an order moves it."""
    return _below("DEAD_VOLUME", limits.min_relvol, inputs["relvol_24"], "product")


def volatility_spike(inputs: Inputs, limits: Limits) -> Reason | None:
    """The last day is far wilder than its week."""
    return _above("VOLATILITY_SPIKE", limits.max_vol_ratio, inputs["vol_ratio_24_168"], "product")


def counter_trend(inputs: Inputs, limits: Limits) -> Reason | None:
    """A strong trend, and the price far below its mean: the entry stands against it."""
    floor = -limits.trend_atrs * inputs["natr_14"]
    if inputs["adx_14"] > limits.trend_adx and inputs["sma_dist_50"] < floor:
        return Reason("COUNTER_TREND", shown(floor), shown(inputs["sma_dist_50"]), "ratio", "product")
    return None


def price_jump(inputs: Inputs, limits: Limits) -> Reason | None:
    """The last bar moved several average ranges: news, or a bad print."""
    if abs(inputs["ret_1"]) > limits.jump_atrs * inputs["natr_14"]:
        limit = shown(limits.jump_atrs * inputs["natr_14"])
        return Reason("PRICE_JUMP", limit, shown(abs(inputs["ret_1"])), "ratio", "product")
    return None


def wide_range(inputs: Inputs, limits: Limits) -> Reason | None:
    """A normal bar is so wide that any stop is far away."""
    return _above("WIDE_RANGE", limits.max_natr, inputs["natr_14"], "product")


EvidenceRule = Callable[[Inputs, Limits], Reason | None]
# Each rule with the inputs it needs.
RULES: tuple[tuple[EvidenceRule, tuple[str, ...]], ...] = (
    (overheated, ("rsi_14", "bb_pctb_20")),
    (falling_knife, ("ret_24", "sigma_horizon")),
    (dead_volume, ("relvol_24",)),
    (volatility_spike, ("vol_ratio_24_168",)),
    (counter_trend, ("adx_14", "sma_dist_50", "natr_14")),
    (price_jump, ("ret_1", "natr_14")),
    (wide_range, ("natr_14",)),
)
# EXERCISE trades without evidence by definition, so these two would stop all of it.
EVIDENCE_ONLY: tuple[tuple[EvidenceRule, tuple[str, ...]], ...] = (
    (edge, ("edge",)),
    (expected_net, ("expected_net",)),
)


def _evidence_rules(inputs: Inputs, recommendation: Recommendation, limits: Limits) -> list[Reason | None]:
    rules = (EVIDENCE_ONLY if recommendation.profile is Profile.EVIDENCE else ()) + RULES
    found: list[Reason | None] = []
    for rule, needs in rules:
        faults = [fault for fault in (_fault(inputs, name) for name in needs) if fault is not None]
        found += faults or [rule(inputs, limits)]
    return [_of_product(reason, recommendation.product_id) for reason in found]


def _of_product(reason: Reason | None, product_id: str) -> Reason | None:
    if reason is None or reason.scope != "product":
        return reason
    return replace(reason, scope=f"product:{product_id}")


def _fault(inputs: Inputs, name: str) -> Reason | None:
    value = inputs.get(name)
    if value is None:
        return Reason("MISSING_INPUT", observed=name, scope="request")
    low, high = RANGES[name]
    if math.isfinite(value) and low <= value <= high:
        return None
    return Reason("INPUT_OUT_OF_RANGE", f"{low:g} to {high:g}", f"{name} = {value:g}", "", "request")


def _below(code: str, limit: float, value: float, scope: str) -> Reason | None:
    return Reason(code, shown(limit), shown(value), "ratio", scope) if value < limit else None


def _above(code: str, limit: float, value: float, scope: str) -> Reason | None:
    return Reason(code, shown(limit), shown(value), "ratio", scope) if value > limit else None
