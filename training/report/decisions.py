"""The tables about money: the model's rules and every baseline through one simulation, at every cost of the ladder.

The rule that is compared with the baselines is the one that would have been in force: thresholds chosen before each
block. Where those never traded, a fixed rule stands in and is named, so that there is something to compare. Models trade the way
that live trading does, protective exits included; baselines hold what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from modelkit.candles import FloatArray
from training.backtest import Costs, Market, Outcomes, simulate, simulate_trades, statistics
from training.baselines import buy_and_hold, moving_averages, random_entries
from training.exits import Entries
from training.fit import LearningTable
from training.metrics_bootstrap import interval_90
from training.trades import Calls, Trades, calls_of, trade
from training.walkforward import Run, fixed
from training.walkforward_candidates import CHOSEN_RULE, RULES, Rule

Document = dict[str, Any]
STAND_IN = RULES[-1]
HOLD, BUY_AND_HOLD, SCALED, AVERAGES = "always HOLD", "buy and hold", "buy and hold, model's exposure", "20/50 averages"


@dataclass(frozen=True, slots=True)
class Span:
    """Bars that are traded, and what entries come to, (P, T) of the whole table."""

    table: LearningTable
    entries: Entries
    begin: int
    end: int

    def calls(self, run: Run, rule: Rule, cost_per_side: float) -> Calls:
        """What a rule decides within the span."""
        bars = self.table.grid.bars
        round_trip = 2.0 * cost_per_side
        limits = run.thresholds(round_trip) if rule.thresholds is None else fixed(rule.thresholds, bars)
        buy, sell = (each[self.begin : self.end] for each in limits)
        part = np.s_[:, self.begin : self.end]
        return calls_of(run.edge[part], self.table.barrier[part], round_trip, buy, sell)

    def trade(self, calls: Calls) -> Trades:
        """From flat, and flat at the end."""
        return trade(calls, self.entries.part(self.begin, self.end), self.market.present)

    @property
    def market(self) -> Market:
        return self.table.market.part(self.begin, self.end)


@dataclass(frozen=True, slots=True)
class Traded:
    """Trades, and what they brought at a cost."""

    trades: Trades
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class AtCost:
    """Everything at one cost per side; `compared` is the rule that stands against the baselines, which are positions (P, T)."""

    cost: float
    compared: Rule
    model: Mapping[str, Traded]
    logistic: Mapping[str, Traded]
    baselines: Mapping[str, FloatArray]


def traded(span: Span, run: Run, rule: Rule, cost_per_side: float) -> Traded:
    """A rule at a cost."""
    trades = span.trade(span.calls(run, rule, cost_per_side))
    return Traded(trades, simulate_trades(trades, span.market, Costs.per_side(cost_per_side)))


def at_cost(span: Span, model: Run, logistic: Run, cost: float) -> AtCost:
    """All of them at this cost."""
    own = {rule.name: traded(span, model, rule, cost) for rule in RULES}
    other = {rule.name: traded(span, logistic, rule, cost) for rule in RULES}
    compared = CHOSEN_RULE if len(own[CHOSEN_RULE.name].trades) else STAND_IN
    market = span.market
    baselines = {
        HOLD: np.zeros(market.gain.shape),
        BUY_AND_HOLD: buy_and_hold(market),
        SCALED: buy_and_hold(market, float(own[compared.name].outcomes.invested.mean())),
        AVERAGES: moving_averages(span.table.values[:, :, span.begin : span.end]),
    }
    return AtCost(cost, compared, own, other, baselines)


def ladder_step(span: Span, found: AtCost, seed: int) -> Document:
    """One cost of the ladder: statistics of all, differences to each baseline, and random timing."""
    market = span.market
    runs = {
        "model": {name: each.outcomes for name, each in found.model.items()},
        "logistic": {name: each.outcomes for name, each in found.logistic.items()},
        "baselines": {name: simulate(each, market, found.cost) for name, each in found.baselines.items()},
    }
    compared = found.model[found.compared.name]
    total = statistics(compared.outcomes, market).total_return
    others = {**runs["baselines"], f"logistic, {found.compared.name}": runs["logistic"][found.compared.name]}
    return {
        "cost_per_side": found.cost,
        "compared": found.compared.name,
        **{
            kind: {name: asdict(statistics(each, market)) for name, each in group.items()}
            for kind, group in runs.items()
        },
        "random": asdict(random_entries(compared.trades, market, found.cost, total, seed)),
        "intervals": {name: _difference(compared.outcomes, other, seed) for name, other in others.items()},
    }


def products_at(span: Span, found: AtCost) -> dict[str, Document]:
    """The compared rule and buy and hold, one product at a time."""
    report = {}
    for row, name in enumerate(span.table.grid.products):
        market = span.market.only(row)
        own = found.model[found.compared.name].trades.only(row)
        held = found.baselines[BUY_AND_HOLD][[row]]
        report[name] = {
            "model": asdict(statistics(simulate_trades(own, market, Costs.per_side(found.cost)), market)),
            BUY_AND_HOLD: asdict(statistics(simulate(held, market, found.cost), market)),
        }
    return report


def block_at(span: Span, found: AtCost, begin: int, end: int) -> Document:
    """Bars [begin, end) of the table by themselves: opened from flat, closed at their end."""
    market = span.table.market.part(begin, end)
    inside = np.s_[:, begin - span.begin : end - span.begin]
    costs = Costs.per_side(found.cost)
    rules = {"model": found.model, "logistic": found.logistic}
    outcomes = {
        name: simulate_trades(
            rule[found.compared.name].trades.part(begin - span.begin, end - span.begin), market, costs
        )
        for name, rule in rules.items()
    }
    outcomes |= {name: simulate(each[inside], market, found.cost) for name, each in found.baselines.items()}
    return {name: asdict(statistics(each, market)) for name, each in outcomes.items()}


def equity(span: Span, found: AtCost) -> Document:
    """Wealth of one unit at the end of each day, for the compared rule and the baselines."""
    chosen = {
        f"model, {found.compared.name}": found.model[found.compared.name].outcomes,
        f"logistic, {found.compared.name}": found.logistic[found.compared.name].outcomes,
        **{name: simulate(each, span.market, found.cost) for name, each in found.baselines.items()},
    }
    per_day = max(1, 86_400 // span.table.grid.granularity)
    days = slice(per_day - 1, None, per_day)
    wealth = {name: np.cumprod(1.0 + each.net)[days].tolist() for name, each in chosen.items()}
    return {"times": span.table.grid.start[span.begin : span.end][days].tolist(), "wealth": wealth}


def _difference(model: Outcomes, other: Outcomes, seed: int) -> Document:
    gap = np.log1p(model.net) - np.log1p(other.net)
    low, high = interval_90(gap, seed)
    return {"log_return": float(gap.sum()), "quantile_05": low, "quantile_95": high}
