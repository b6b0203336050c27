"""The page's tables about probabilities, settings and drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from training.report.cells import NOTHING, Table, day, number, percent_and_sharpe, share, words

Document = Mapping[str, Any]
_FIGURES = {"log_loss": "log loss", "brier": "Brier", "ece_up": "ECE of p(UP)", "auc_up_down": "AUC up/down"}


def probabilities(document: Document) -> Table:
    """Mean and spread over the folds of the model and what it is compared with."""
    found = document["folds"]["probability"]
    titles = {"model": f"model ({document['chosen']})", "logistic": "logistic", "priors": "class priors"}
    rows = [
        (title, *(_with_spread(found[kind]["mean"][name], found[kind]["spread"][name]) for name in _FIGURES))
        for kind, title in titles.items()
    ]
    return Table(("", *_FIGURES.values()), rows, lead=0)


def _with_spread(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return NOTHING
    return Markup('{} <span class="quiet">±{}</span>').format(number(mean), number(spread))


def folds(document: Document) -> Table:
    """Every block, the last one included."""
    blocks = [*document["plan"]["folds"], document["plan"]["final"]]
    kinds = {
        kind: [*document["folds"]["probability"][kind]["folds"], *document["final"]["probability"][kind]["folds"]]
        for kind in ("model", "logistic", "priors")
    }
    rows = []
    for at, fold in enumerate(blocks):
        own, other, prior = (kinds[kind][at] for kind in ("model", "logistic", "priors"))
        rows.append(
            (
                "last block" if at == len(blocks) - 1 else str(fold["number"]),
                f"{day(fold['train_from'])} – {day(fold['train_to'])}",
                f"{day(fold['test_from'])} – {day(fold['test_to'])}",
                f"{fold['train_rows']:,}",
                f"{own['rows']:,}",
                *(number(each["log_loss"]) for each in (own, other, prior)),
                number(own["brier"]),
                number(own["ece_up"]),
                *(number(each["auc_up_down"], 3) for each in (own, other)),
                number(fold["temperature"], 2),
                "HOLD" if fold["theta_buy"] >= 1.0 else number(fold["theta_buy"], 2),
            )
        )
    head = (
        *("block", "learned from", "tested on", "rows learned", "rows tested"),
        *("log loss", "logistic", "priors", "Brier", "ECE", "AUC", "logistic", "temperature", "threshold"),
    )
    return Table(head, rows)


def precision(probability: Document) -> Table:
    """How often a call was right, by the edge it was made at."""
    base = probability["model"]["base_rates"]
    rows = [
        (
            number(each["edge"], 2),
            f"{each['buys']:,}",
            NOTHING if each["buy_precision"] is None else share(each["buy_precision"], 1),
            f"{each['sells']:,}",
            NOTHING if each["sell_precision"] is None else share(each["sell_precision"], 1),
        )
        for each in probability["model"]["precision"]
    ]
    rows.append(("all rows", "", share(base["up"], 1), "", share(base["down"], 1)))
    return Table(("edge at least", "buy calls", "came UP", "sell calls", "came DOWN"), rows)


def reliability(probability: Document) -> Table:
    """What was said of UP and what was seen, in 20 bins; bins without rows are left out."""
    rows = []
    for at, (own, other) in enumerate(
        zip(probability["model"]["reliability"], probability["logistic"]["reliability"], strict=True)
    ):
        if own["rows"] or other["rows"]:
            rows.append((f"{at / 20:.2f} – {(at + 1) / 20:.2f}", *_bin(own), *_bin(other)))
    return Table(("p(UP)", "model: rows", "said", "seen", "logistic: rows", "said", "seen"), rows)


def _bin(each: Document) -> tuple[str, str, str]:
    if not each["rows"]:
        return "0", NOTHING, NOTHING
    return f"{each['rows']:,}", share(each["mean_predicted"], 1), share(each["share_up"], 1)


def last(final: Document) -> Table:
    """The figures of the last block."""
    titles = {"model": "model", "logistic": "logistic", "priors": "class priors"}
    rows = [
        (title, *(number(final["probability"][kind]["mean"][name]) for name in _FIGURES))
        for kind, title in titles.items()
    ]
    return Table(("", *_FIGURES.values()), rows, lead=0)


def products(probability: Document) -> Table:
    """The model's figures product by product."""
    model, priors = (probability[kind]["products"] for kind in ("model", "priors"))
    rows = [
        (
            name,
            f"{own['rows']:,}",
            number(own["log_loss"]),
            number(priors[name]["log_loss"]),
            number(own["brier"]),
            number(own["ece_up"]),
            number(own["auc_up_down"], 3),
        )
        for name, own in model.items()
    ]
    return Table(("product", "rows", "log loss", "priors", "Brier", "ECE", "AUC"), rows)


def tried(document: Document) -> Table:
    """Every setting by every rule; the served one stands out."""
    rows, lead = [], None
    for at, each in enumerate(document["tried"]):
        lead = at if each["name"] == document["chosen"] else lead
        mean = each["mean"]
        money = [percent_and_sharpe(stats["total_return"], stats["sharpe"], 2) for stats in each["rules"].values()]
        figures = (number(mean["log_loss"]), number(mean["brier"]), number(mean["ece_up"]))
        rows.append((each["name"], words(each["reason"]), *figures, number(mean["auc_up_down"], 3), *money))
    head = ("setting", "why", "log loss", "Brier", "ECE", "AUC", *document["tried"][0]["rules"])
    return Table(head, rows, lead)


def drift(found: Document) -> Table:
    """How many features drifted in each block, and which most."""
    rows = []
    for at, block in enumerate(found["blocks"]):
        ranked = sorted(zip(block, found["features"], strict=True), reverse=True)[:3]
        title = "last block" if at == len(found["blocks"]) - 1 else str(at + 1)
        counts = [str(sum(value > limit for value in block)) for limit in (0.1, 0.25, 0.5)]
        rows.append((title, *counts, ", ".join(f"{name} {value:.2f}" for value, name in ranked)))
    return Table(("block", "over 0.1", "over 0.25", "over 0.5", "largest"), rows)
