"""Everything a training found, as one document of plain values: the page, the figures and the manifest read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from modelkit.manifest import library_versions
from training.backtest import Outcomes, statistics
from training.metrics_drift import DRIFT_FEATURES
from training.metrics_sharpe import deflated_sharpe, sharpe_ratio
from training.report.decisions import Span, at_cost, block_at, equity, ladder_step, products_at, traded
from training.report.probability import judge, judge_priors
from training.report.verdict import verdict
from training.report.ways import Ways, traded_ways
from training.walkforward import BlockPlan, Run
from training.walkforward_candidates import RULES
from training.walkforward_plan import Fold
from training.walkforward_study import Study, mean_log_loss

SCHEMA = "trading.signal.evidence/2"
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the candles came from, and when and how long the training ran."""

    source: str
    created_at: datetime
    seconds: float


def document(study: Study, origin: Origin) -> Document:
    """The whole evidence; JSON-ready."""
    table, ways = study.table, Ways.of(study)
    folds, final = study.plan.folds, study.plan.final
    span = Span(table, table.entries, folds[0].test_begin, folds[-1].test_end)
    last = Span(table, table.entries, final.test_begin, final.test_end)
    found: Document = {
        "schema": SCHEMA,
        "data": _data(study, origin),
        "plan": _plan(study),
        "tried": [_tried(study, span, run) for run in study.tried],
        "chosen": study.chosen.candidate.name,
        "folds": _period(study, span, ways, study.chosen.blocks[:-1]),
        "final": _period(study, last, ways, study.chosen.blocks[-1:]),
        "thresholds": _thresholds(study),
        "drift": {"features": list(DRIFT_FEATURES), "blocks": [list(row) for row in study.drift]},
    }
    found["deflated"] = _deflated(study, span, found["tried"])
    found["verdict"] = verdict(found)
    return found


def summary(found: Document) -> Document:
    """The part that a manifest carries."""
    final = found["final"]["probability"]
    account = account_step(found["folds"], found["data"]["account_cost"])
    return {
        "verdict": found["verdict"],
        "mean": found["folds"]["probability"]["model"]["mean"],
        "final": final["model"]["mean"],
        "baselines": {
            "class_priors": found["folds"]["probability"]["priors"]["mean"],
            "logistic": found["folds"]["probability"]["logistic"]["mean"],
            **account["baselines"],
        },
        "account": {
            "cost_per_side": account["cost_per_side"],
            "rules": account["model"],
            "ways": [way for way in found["folds"]["ways"] if way["rule"] == account["compared"]],
        },
        "deflated_sharpe": found["deflated"],
        "tried": [{"name": each["name"], "log_loss": each["log_loss"]} for each in found["tried"]],
    }


def account_step(period: Document, account_cost: float) -> Document:
    """The step of the ladder that is the account's own cost."""
    return next(step for step in period["ladder"] if step["cost_per_side"] == account_cost)


def _data(study: Study, origin: Origin) -> Document:
    settings, grid = study.settings, study.table.grid
    return {
        "source": origin.source,
        "created_at": origin.created_at.isoformat(timespec="seconds"),
        "seconds": round(origin.seconds, 1),
        "products": list(grid.products),
        "from": int(grid.start[0]),
        "to": int(grid.start[-1]) + grid.granularity,
        "granularity": grid.granularity,
        "labels": asdict(settings.label),
        "account_cost": settings.account_cost,
        "maker_fee": settings.maker_fee,
        "way": asdict(settings.way),
        "seed": settings.seed,
        "candles_sha256": study.model.candles_sha256,
        "predictions_sha256": study.model.predictions_sha256,
        "refused": {name: sum(reasons.values()) for name, reasons in grid.refused.items()},
        "filled_ratio": float(grid.filled.sum() / max(1, (grid.since_reset > 0).sum())),
        "versions": library_versions(),
    }


def _plan(study: Study) -> Document:
    blocks = {block.fold.number: block for block in study.chosen.blocks}
    return {
        "folds": [_fold(study, fold, blocks[fold.number]) for fold in study.plan.folds],
        "final": _fold(study, study.plan.final, blocks[study.plan.final.number]),
        "shortfall": list(study.plan.shortfall),
        "horizon_bars": study.settings.label.horizon_bars,
    }


def _fold(study: Study, fold: Fold, block: BlockPlan) -> Document:
    start, granularity = study.table.grid.start, study.table.grid.granularity
    chosen = block.choices[2.0 * study.settings.account_cost].thresholds
    return {
        "number": fold.number,
        "train_from": int(start[fold.train_begin]),
        "train_to": int(start[fold.train_end - 1]) + granularity,
        "test_from": int(start[fold.test_begin]),
        "test_to": int(start[fold.test_end - 1]) + granularity,
        "train_rows": block.train_rows,
        "temperature": block.temperature,
        "theta_buy": chosen.theta_buy,
    }


def _tried(study: Study, span: Span, run: Run) -> Document:
    cost = study.settings.account_cost
    measured = judge(study.table, run, study.settings.label, run.blocks)
    runs = {rule.name: _stats(span, run, rule.name, cost) for rule in RULES}
    return {
        "name": run.candidate.name,
        "reason": run.candidate.reason,
        "log_loss": mean_log_loss(study.table, run),
        "mean": measured["mean"],
        "spread": measured["spread"],
        "rules": runs,
    }


def _stats(span: Span, run: Run, rule_name: str, cost: float) -> Document:
    return asdict(statistics(_outcomes(span, run, rule_name, cost), span.market))


def _outcomes(span: Span, run: Run, rule_name: str, cost: float) -> Outcomes:
    rule = next(rule for rule in RULES if rule.name == rule_name)
    return traded(span, run, rule, cost).outcomes


def _period(study: Study, span: Span, ways: Ways, blocks: tuple[BlockPlan, ...]) -> Document:
    settings, table = study.settings, study.table
    steps = [at_cost(span, study.chosen, study.logistic, cost) for cost in settings.costs]
    account = next(step for step in steps if step.cost == settings.account_cost)
    return {
        "from": int(table.grid.start[span.begin]),
        "to": int(table.grid.start[span.end - 1]) + table.grid.granularity,
        "probability": {
            "model": judge(table, study.chosen, settings.label, blocks),
            "logistic": judge(table, study.logistic, settings.label, _same_blocks(study.logistic, blocks)),
            "priors": judge_priors(table, settings.label, blocks),
        },
        "ladder": [ladder_step(span, step, settings.seed) for step in steps],
        "ways": traded_ways(study, span, ways),
        "by_fold": [
            {"number": block.fold.number, **block_at(span, account, block.fold.test_begin, block.fold.test_end)}
            for block in blocks
        ],
        "by_product": products_at(span, account),
        "equity": equity(span, account),
    }


def _same_blocks(run: Run, blocks: tuple[BlockPlan, ...]) -> tuple[BlockPlan, ...]:
    numbers = {block.fold.number for block in blocks}
    return tuple(block for block in run.blocks if block.fold.number in numbers)


def _thresholds(study: Study) -> Document:
    choice = study.model.choice
    return {
        "theta_buy": choice.thresholds.theta_buy,
        "theta_sell": choice.thresholds.theta_sell,
        "has_evidence": choice.has_evidence,
        "tried": [asdict(result) for result in choice.results],
    }


def _deflated(study: Study, span: Span, tried: list[Document]) -> Document:
    """The best of all trials at the account's cost, against what the best of so many shows by luck."""
    cost, bars_per_year = study.settings.account_cost, span.market.bars_per_year
    outcomes = {
        f"{run.candidate.name}, {rule.name}": _outcomes(span, run, rule.name, cost)
        for run in study.tried
        for rule in RULES
    }
    ratios = {name: sharpe_ratio(each.net, bars_per_year) for name, each in outcomes.items()}
    best = max(ratios, key=lambda name: ratios[name])
    return {"best": best, **asdict(deflated_sharpe(outcomes[best].net, list(ratios.values()), bars_per_year))}
