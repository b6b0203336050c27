"""What the evidence comes to, in words: whether the model may trade, and what looks too good to be true.

A figure that is too good is a leak until shown otherwise; the page says so beside it.
"""

from __future__ import annotations

from typing import Any

from training.walkforward_candidates import CHOSEN_RULE

Document = dict[str, Any]
SUSPECT_AUC = 0.60
SUSPECT_SHARPE = 2.0
# A ratio of few trades hangs on single ones: both of two win by luck in a quarter of all cases, all of five in one of 32,
# and a page looks at some 80 ratios. 30 is the usual least sample from which a mean is told from luck by its spread.
LEAST_TRADES = 30


def verdict(found: Document) -> Document:
    """The first line, what supports it, and what is suspected."""
    return {
        "survives": found["thresholds"]["has_evidence"],
        "headline": _headline(found),
        "facts": _facts(found),
        "suspected": [*_suspected("folds", found["folds"]), *_suspected("last block", found["final"])],
        "from_few_trades": sum(
            stats["trades"] < LEAST_TRADES
            for period in (found["folds"], found["final"])
            for *_, stats in _high_ratios(period)
        ),
    }


def _headline(found: Document) -> str:
    cost = f"{found['data']['account_cost']:.2%}"
    if not found["thresholds"]["has_evidence"]:
        return f"The model says HOLD: no threshold survives the account's cost of {cost} per side."
    theta = found["thresholds"]["theta_buy"]
    final = _account(found["final"], found)["model"][CHOSEN_RULE.name]["total_return"]
    return (
        f"An edge of {theta:.2f} and more paid for the account's cost of {cost} per side out of sample;"
        f" in the last block, looked at once, it made {final:+.1%}."
    )


def _facts(found: Document) -> list[str]:
    probability = found["folds"]["probability"]
    model, priors = probability["model"], probability["priors"]
    better = sum(
        own["log_loss"] < other["log_loss"] for own, other in zip(model["folds"], priors["folds"], strict=True)
    )
    gain = 1.0 - model["mean"]["log_loss"] / priors["mean"]["log_loss"]
    facts = [
        f"Log loss {model['mean']['log_loss']:.4f} against {priors['mean']['log_loss']:.4f} of the class shares"
        f" ({gain:+.1%}), better in {better} of {len(model['folds'])} folds.",
        f"AUC of up against down {_ratio(model['mean']['auc_up_down'])}, by fold"
        f" {_range([fold['auc_up_down'] for fold in model['folds']])}; 0.5 is no knowledge of direction.",
        f"Logistic regression: log loss {probability['logistic']['mean']['log_loss']:.4f},"
        f" AUC {_ratio(probability['logistic']['mean']['auc_up_down'])}.",
    ]
    facts.append(_ways(found))
    deflated = found["deflated"]
    facts.append(
        f"Best of {deflated['trials']} trials at the account's cost: {deflated['best']}, Sharpe ratio"
        f" {deflated['sharpe']:.2f}; the best of as many without skill would show"
        f" {deflated['expected_best_by_luck']:.2f}. Deflated for that, the probability of skill is"
        f" {deflated['probability']:.0%}."
    )
    return facts


def _ways(found: Document) -> str:
    """The rule that stands against the baselines, with and without protective exits."""
    compared = _account(found["folds"], found)["compared"]
    made = {
        (way["protective_exits"], way["entry"]): way["total_return"]
        for way in found["folds"]["ways"]
        if way["rule"] == compared
    }
    with_exits, without = (
        f"{made[protective, 'TAKER']:+.1%} with taker entries, {made[protective, 'MAKER']:+.1%} with maker entries"
        for protective in (True, False)
    )
    return (
        f"At the account's cost over the folds, by {compared}: with protective exits {with_exits}; without {without}."
    )


def _suspected(where: str, period: Document) -> list[str]:
    """Figures of the models above the bounds."""
    found = []
    for kind in ("model", "logistic"):
        for number, fold in enumerate(period["probability"][kind]["folds"]):
            if (fold["auc_up_down"] or 0.0) > SUSPECT_AUC:
                found.append(f"{where}, {kind}, block {number + 1}: AUC {fold['auc_up_down']:.3f}")
    found += [
        f"{where}, {kind}, {name} at {cost:.2%}: Sharpe ratio {stats['sharpe']:.2f} from {stats['trades']} trades"
        for kind, name, cost, stats in _high_ratios(period)
        if stats["trades"] >= LEAST_TRADES
    ]
    return found


def _high_ratios(period: Document) -> list[tuple[str, str, float, Document]]:
    """Kind, rule, cost per side and figures of every Sharpe ratio above its bound, where trading costs anything."""
    return [
        (kind, name, step["cost_per_side"], stats)
        for kind in ("model", "logistic")
        for step in period["ladder"]
        if step["cost_per_side"] > 0.0
        for name, stats in step[kind].items()
        if stats["sharpe"] > SUSPECT_SHARPE
    ]


def _account(period: Document, found: Document) -> Document:
    cost = found["data"]["account_cost"]
    return next(step for step in period["ladder"] if step["cost_per_side"] == cost)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.3f} to {max(known):.3f}" if known else "-"
