"""The report as one page that needs nothing else: what it comes to on the first line, then everything behind it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from training.report.html import NOTHING, day, figure, listed, number, percent, share, table, words
from training.report.money_tables import by_fold, by_product, intervals, ladder, thresholds
from training.report.style import STYLE
from training.report.verdict import LEAST_TRADES, SUSPECT_SHARPE

Document = Mapping[str, Any]
Pictures = Mapping[str, bytes]
_SECTIONS = {
    "probabilities": "Probabilities",
    "money": "Money",
    "last": "The last block",
    "products": "Products",
    "tried": "What was tried",
    "drift": "Drift",
    "method": "How it was done",
}


def page(document: Document, pictures: Pictures) -> str:
    """The whole HTML."""
    told = document["verdict"]
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in _SECTIONS.items())
    parts = (
        f"<h1>{escape(told['headline'])}</h1>",
        _about(document),
        listed(told["facts"], "facts"),
        _suspected(told["suspected"], told["from_few_trades"]),
        f"<nav>{links}</nav>",
        _probabilities(document, pictures),
        _money(document, pictures),
        _last(document),
        _products(document),
        _tried(document),
        _drift(document, pictures),
        _method(document),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(told['headline'])}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _heading(anchor: str) -> str:
    return f'<h2 id="{anchor}">{_SECTIONS[anchor]}</h2>'


def _about(document: Document) -> str:
    data = document["data"]
    return (
        f'<p class="quiet">{escape(data["source"])} · {len(data["products"])} products · {day(data["from"])} to'
        f" {day(data['to'])} · chosen setting {escape(document['chosen'])} · made {escape(data['created_at'])}"
        f" in {data['seconds']:.0f} s</p>"
    )


def _suspected(found: list[str], from_few_trades: int) -> str:
    few = (
        f'<p class="quiet">Sharpe ratios above {SUSPECT_SHARPE:g} from fewer than {LEAST_TRADES} trades:'
        f" {from_few_trades}. They are not suspected and say nothing: so few trades make any ratio, a handful of lucky"
        " ones is enough.</p>"
        if from_few_trades
        else ""
    )
    if not found:
        return few
    intro = "Too good to be taken at its word: treated as a leak until the leak tests say otherwise."
    return f'<div class="warn"><strong>{intro}</strong>{listed(found)}</div>{few}'


def _probabilities(document: Document, pictures: Pictures) -> str:
    probability = document["folds"]["probability"]
    rows = []
    for kind, title in (
        ("model", f"model ({document['chosen']})"),
        ("logistic", "logistic"),
        ("priors", "class priors"),
    ):
        mean, spread = probability[kind]["mean"], probability[kind]["spread"]
        rows.append([escape(title), *(_with_spread(mean[name], spread[name]) for name in _FIGURES)])
    return "".join(
        (
            _heading("probabilities"),
            "<p>Mean over folds and, small, the spread between them. AUC ranks UP against DOWN where a move would"
            " pay its round trip; calibration error (ECE) is of p(UP) in 20 bins.</p>",
            table(("", *_FIGURES.values()), rows, lead=0),
            figure("folds", "AUC and log loss, block by block", pictures),
            "<h3>Block by block</h3>",
            _fold_table(document),
            '<div class="pair"><div>',
            figure("reliability", "How often UP came where so much was said", pictures),
            "</div><div><h3>How precise the calls were</h3>",
            _precision(probability),
            "</div></div><h3>Reliability</h3>",
            _reliability(probability),
        )
    )


_FIGURES = {"log_loss": "log loss", "brier": "Brier", "ece_up": "ECE of p(UP)", "auc_up_down": "AUC up/down"}


def _with_spread(mean: float | None, spread: float | None) -> str:
    return NOTHING if mean is None else f'{number(mean)} <span class="quiet">±{number(spread)}</span>'


def _fold_table(document: Document) -> str:
    folds = [*document["plan"]["folds"], document["plan"]["final"]]
    kinds = {
        kind: [*document["folds"]["probability"][kind]["folds"], *document["final"]["probability"][kind]["folds"]]
        for kind in ("model", "logistic", "priors")
    }
    rows = []
    for at, fold in enumerate(folds):
        own, other, prior = (kinds[kind][at] for kind in ("model", "logistic", "priors"))
        rows.append(
            (
                "last block" if at == len(folds) - 1 else str(fold["number"]),
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
    return table(head, rows)


def _precision(probability: Document) -> str:
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
    return table(("edge at least", "buy calls", "came UP", "sell calls", "came DOWN"), rows)


def _reliability(probability: Document) -> str:
    rows = []
    for at, (own, other) in enumerate(
        zip(probability["model"]["reliability"], probability["logistic"]["reliability"], strict=True)
    ):
        if own["rows"] or other["rows"]:
            rows.append((f"{at / 20:.2f} – {(at + 1) / 20:.2f}", *_bin(own), *_bin(other)))
    head = ("p(UP)", "model: rows", "said", "seen", "logistic: rows", "said", "seen")
    return table(head, rows)


def _bin(each: Document) -> tuple[str, str, str]:
    if not each["rows"]:
        return "0", NOTHING, NOTHING
    return f"{each['rows']:,}", share(each["mean_predicted"], 1), share(each["share_up"], 1)


def _money(document: Document, pictures: Pictures) -> str:
    period = document["folds"]
    cost = document["data"]["account_cost"]
    deflated = document["deflated"]
    return "".join(
        (
            _heading("money"),
            f"<p>Long or flat, executed at the next bar's open, {day(period['from'])} to {day(period['to'])}, every"
            " product an equal sleeve. Each step of the ladder applies its cost to the entry rule, to the choice of"
            f" thresholds and to the trades. This account pays {share(cost, 2)} per side.</p>",
            figure("cost-ladder", "Total net return by cost per side", pictures),
            ladder(period, cost),
            figure("equity", "Wealth at the account's cost", pictures),
            "<h3>Differences to the baselines</h3>",
            intervals(period),
            "<h3>Block by block, at the account's cost</h3>",
            by_fold(period, _compared(document)),
            "<h3>The choice of the threshold</h3>",
            thresholds(document["thresholds"]),
            f"<p>Best of {deflated['trials']} trials: {escape(deflated['best'])}. Its Sharpe ratio is"
            f" {number(deflated['sharpe'], 2)}; the best of as many without skill would show"
            f" {number(deflated['expected_best_by_luck'], 2)}. Deflated for that, the probability that the true ratio"
            f" is above luck is {share(deflated['probability'])}.</p>",
        )
    )


def _compared(document: Document) -> str:
    """The rule that stands against the baselines over the folds, at the account's cost."""
    steps = document["folds"]["ladder"]
    return str(next(step["compared"] for step in steps if step["cost_per_side"] == document["data"]["account_cost"]))


def _last(document: Document) -> str:
    final = document["final"]
    rows = [
        [title, *(number(final["probability"][kind]["mean"][name]) for name in _FIGURES)]
        for kind, title in (("model", "model"), ("logistic", "logistic"), ("priors", "class priors"))
    ]
    return "".join(
        (
            _heading("last"),
            f"<p>{day(final['from'])} to {day(final['to'])}. Nothing was chosen on these bars; they were predicted once,"
            " after the choice was made.</p>",
            table(("", *_FIGURES.values()), rows, lead=0),
            ladder(final, document["data"]["account_cost"]),
            intervals(final),
        )
    )


def _products(document: Document) -> str:
    model, priors = (document["folds"]["probability"][kind]["products"] for kind in ("model", "priors"))
    rows = [
        (
            escape(name),
            f"{own['rows']:,}",
            number(own["log_loss"]),
            number(priors[name]["log_loss"]),
            number(own["brier"]),
            number(own["ece_up"]),
            number(own["auc_up_down"], 3),
        )
        for name, own in model.items()
    ]
    head = ("product", "rows", "log loss", "priors", "Brier", "ECE", "AUC")
    return "".join(
        (
            _heading("products"),
            table(head, rows),
            "<h3>Money, at the account's cost</h3>",
            by_product(document["folds"], _compared(document)),
        )
    )


def _tried(document: Document) -> str:
    rows, lead = [], None
    for at, each in enumerate(document["tried"]):
        lead = at if each["name"] == document["chosen"] else lead
        mean = each["mean"]
        money = [f"{percent(stats['total_return'])} ({number(stats['sharpe'], 2)})" for stats in each["rules"].values()]
        figures = (number(mean["log_loss"]), number(mean["brier"]), number(mean["ece_up"]))
        rows.append((escape(each["name"]), words(each["reason"]), *figures, number(mean["auc_up_down"], 3), *money))
    rules = [escape(name) for name in document["tried"][0]["rules"]]
    trials = document["deflated"]["trials"]
    return "".join(
        (
            _heading("tried"),
            f"<p>{len(rows)} settings by {len(rules)} rules: {trials} trials, all shown. The served setting is the one"
            " of the trees with the lowest mean log loss over the folds. Net return and (Sharpe ratio) at the"
            " account's cost.</p>",
            table(("setting", "why", "log loss", "Brier", "ECE", "AUC", *rules), rows, lead=lead),
        )
    )


def _drift(document: Document, pictures: Pictures) -> str:
    drift = document["drift"]
    rows = []
    for at, block in enumerate(drift["blocks"]):
        ranked = sorted(zip(block, drift["features"], strict=True), reverse=True)[:3]
        title = "last block" if at == len(drift["blocks"]) - 1 else str(at + 1)
        counts = [str(sum(value > limit for value in block)) for limit in (0.1, 0.25, 0.5)]
        rows.append((title, *counts, ", ".join(f"{escape(name)} {value:.2f}" for value, name in ranked)))
    return "".join(
        (
            _heading("drift"),
            "<p>Population stability index, ten bins from the rows a block's model learned from, time features left"
            " out. Volatile times cross 0.25 without harm.</p>",
            figure("drift", "Stability index of each feature in each block", pictures),
            table(("block", "over 0.1", "over 0.25", "over 0.5", "largest"), rows),
        )
    )


def _method(document: Document) -> str:
    data, plan = document["data"], document["plan"]
    shortfall = listed(["Less than wanted: " + "; ".join(plan["shortfall"]) + "."]) if plan["shortfall"] else ""
    label = data["labels"]
    notes = [
        f"Labels: first touch of a barrier {label['barrier_width']:g} expected deviations away within"
        f" {label['horizon_bars']} bars; a rise that cannot pay {share(2 * data['account_cost'], 2)} and a margin of"
        f" {share(label['margin_ratio'], 1)} is NEUTRAL, so labels depend on the account's fee.",
        f"Each block's model learns from rows whose labels ended before the block begins: {plan['horizon_bars']} bars"
        " are left out at the cut, the same for all products. Weights, class shares, scaling, temperature and"
        " thresholds come from before the block.",
        "A temperature is kept only where it lowered the log loss of the newest earlier block, which it was not fitted"
        " on. The first block has nothing before it and holds.",
        f"Share of bars that were bridged: {share(data['filled_ratio'], 2)}; candles refused:"
        f" {sum(data['refused'].values())}.",
        "The deflated Sharpe ratio takes hourly returns as independent; they come in clusters, so it is too sure.",
        "The products are those that still trade today, so buying and holding them looks better than it was.",
    ]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return "".join(
        (
            _heading("method"),
            shortfall,
            listed(notes),
            f'<p class="note">Seed {data["seed"]}; {escape(versions)}. Candles <code>{data["candles_sha256"]}</code>,'
            f" predictions of the self-test <code>{data['predictions_sha256']}</code>. Everything on this page is in"
            " <code>report.json</code>.</p>",
        )
    )
