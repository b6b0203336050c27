"""The tables about money: the model's rules and every baseline through one simulation, at every cost of the ladder.

The rule that is compared with the baselines is the one that would have been in force: thresholds chosen before each
block. Where those never traded, a fixed rule stands in and is named, so that there is something to compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from modelkit.candles import FloatArray
from training.backtest import Market, Outcomes, long_or_flat, simulate, statistics
from training.baselines import buy_and_hold, moving_averages, random_entries
from training.fit import LearningTable
from training.metrics_bootstrap import interval_90
from training.walkforward import Run, fixed
from training.walkforward_candidates import CHOSEN_RULE, RULES, Rule

Document = dict[str, Any]
STAND_IN = RULES[-1]
HOLD, BUY_AND_HOLD, SCALED, AVERAGES = "always HOLD", "buy and hold", "buy and hold, model's exposure", "20/50 averages"


@dataclass(frozen=True, slots=True)
class Span:
    """Bars that are traded, and what they brought."""

    table: LearningTable
    market: Market
    begin: int
    end: int

    def positions(self, run: Run, rule: Rule, cost_per_side: float) -> FloatArray:
        """Positions of a rule over the span, flat before it."""
        bars = self.table.grid.bars
        round_trip = 2.0 * cost_per_side
        limits = run.thresholds(round_trip) if rule.thresholds is None else fixed(rule.thresholds, bars)
        buy, sell = (each[self.begin : self.end] for each in limits)
        part = np.s_[:, self.begin : self.end]
        return long_or_flat(run.edge[part], self.table.barrier[part], round_trip, buy, sell)

    @property
    def traded(self) -> Market:
        return self.market.part(self.begin, self.end)

    def simulate(self, positions: FloatArray, cost_per_side: float) -> Outcomes:
        return simulate(positions, self.traded, cost_per_side)


@dataclass(frozen=True, slots=True)
class AtCost:
    """Everything simulated at one cost per side; `compared` is the rule that stands against the baselines."""

    cost: float
    compared: Rule
    model: Mapping[str, FloatArray]
    logistic: Mapping[str, FloatArray]
    baselines: Mapping[str, FloatArray]


def at_cost(span: Span, model: Run, logistic: Run, cost: float) -> AtCost:
    """Positions of all at this cost."""
    own = {rule.name: span.positions(model, rule, cost) for rule in RULES}
    other = {rule.name: span.positions(logistic, rule, cost) for rule in RULES}
    compared = CHOSEN_RULE if own[CHOSEN_RULE.name].any() else STAND_IN
    exposure = float(span.simulate(own[compared.name], cost).invested.mean())
    market = span.traded
    baselines = {
        HOLD: np.zeros(market.gain.shape),
        BUY_AND_HOLD: buy_and_hold(market),
        SCALED: buy_and_hold(market, exposure),
        AVERAGES: moving_averages(span.table.values[:, :, span.begin : span.end]),
    }
    return AtCost(cost, compared, own, other, baselines)


def ladder_step(span: Span, found: AtCost, seed: int) -> Document:
    """One cost of the ladder: statistics of all, differences to each baseline, and random timing."""
    market = span.traded
    groups = {"model": found.model, "logistic": found.logistic, "baselines": found.baselines}
    runs = {
        kind: {name: span.simulate(positions, found.cost) for name, positions in group.items()}
        for kind, group in groups.items()
    }
    compared = runs["model"][found.compared.name]
    total = statistics(compared, market).total_return
    positions = found.model[found.compared.name]
    others = {**runs["baselines"], f"logistic, {found.compared.name}": runs["logistic"][found.compared.name]}
    return {
        "cost_per_side": found.cost,
        "compared": found.compared.name,
        **{
            kind: {name: asdict(statistics(each, market)) for name, each in group.items()}
            for kind, group in runs.items()
        },
        "random": asdict(random_entries(positions, market, found.cost, total, seed)),
        "intervals": {name: _difference(compared, other, seed) for name, other in others.items()},
    }


def products_at(span: Span, found: AtCost) -> dict[str, Document]:
    """The compared rule and buy and hold, one product at a time."""
    report = {}
    for row, name in enumerate(span.table.grid.products):
        market = span.traded.only(row)
        pair = {"model": found.model[found.compared.name], BUY_AND_HOLD: found.baselines[BUY_AND_HOLD]}
        report[name] = {
            kind: asdict(statistics(simulate(positions[[row]], market, found.cost), market))
            for kind, positions in pair.items()
        }
    return report


def equity(span: Span, found: AtCost) -> Document:
    """Wealth of one unit at the end of each day, for the compared rule and the baselines."""
    chosen = {
        f"model, {found.compared.name}": found.model[found.compared.name],
        f"logistic, {found.compared.name}": found.logistic[found.compared.name],
        **found.baselines,
    }
    per_day = max(1, 86_400 // span.table.grid.granularity)
    days = slice(per_day - 1, None, per_day)
    wealth = {
        name: np.cumprod(1.0 + span.simulate(positions, found.cost).net)[days].tolist()
        for name, positions in chosen.items()
    }
    return {"times": span.table.grid.start[span.begin : span.end][days].tolist(), "wealth": wealth}


def _difference(model: Outcomes, other: Outcomes, seed: int) -> Document:
    gap = np.log1p(model.net) - np.log1p(other.net)
    low, high = interval_90(gap, seed)
    return {"log_return": float(gap.sum()), "quantile_05": low, "quantile_95": high}
