"""The page's tables about money: the cost ladder with all baselines, differences, blocks, products, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from training.report.html import number, percent, share, table
from training.walkforward_candidates import CHOSEN_RULE

Document = Mapping[str, Any]


def ladder(period: Document, account_cost: float) -> str:
    """Return and Sharpe ratio of everything at every cost, then all figures at the account's cost."""
    steps = period["ladder"]
    account = next(step for step in steps if step["cost_per_side"] == account_cost)
    names = [(kind, name) for kind in ("model", "logistic", "baselines") for name in account[kind]]
    rows = [
        [
            _title(kind, name),
            *(
                f"{percent(step[kind][name]['total_return'])} ({number(step[kind][name]['sharpe'], 1)})"
                for step in steps
            ),
        ]
        for kind, name in names
    ]
    random = [step["random"] for step in steps]
    rows.append(["random timing, median", *(percent(each["median"]) for each in random)])
    spread = (f"{share(each['quantile_05'])} to {share(each['quantile_95'])}" for each in random)
    rows.append(["random timing, 5 to 95 %", *spread])
    rows.append(["random timings beaten", *(share(each["beaten_ratio"]) for each in random)])
    head = ("net return (Sharpe)", *(share(step["cost_per_side"], 2) for step in steps))
    detail = [[_title(kind, name), *_figures(account[kind][name])] for kind, name in names]
    return (
        table(head, rows, lead=0)
        + f"<h3>All figures at {share(account_cost, 2)} per side</h3>"
        + table(("", *_HEAD), detail, lead=0)
    )


_HEAD = (
    *("net return", "per year", "Sharpe", "drawdown", "exposure"),
    *("changes / year", "trades", "profit per trade"),
)


def _figures(stats: Document) -> tuple[str, ...]:
    return (
        percent(stats["total_return"]),
        percent(stats["annual_return"]),
        number(stats["sharpe"], 2),
        share(stats["max_drawdown"]),
        share(stats["exposure"], 1),
        number(stats["turnover_per_year"], 1),
        f"{stats['trades']:,}",
        percent(stats["profit_per_trade"], 2),
    )


def intervals(period: Document) -> str:
    """What the compared rule made more or less than each baseline, with a 90 % interval."""
    rows = []
    for step in period["ladder"]:
        for name, gap in step["intervals"].items():
            low, high = gap["quantile_05"], gap["quantile_95"]
            cells = (f"{gap['log_return']:+.3f}", f"{low:+.3f} to {high:+.3f}", "yes" if low > 0 or high < 0 else "no")
            rows.append((share(step["cost_per_side"], 2), escape(step["compared"]), escape(name), *cells))
    head = ("cost per side", "model's edge, by the rule", "minus", "log return", "90 % interval", "apart from 0")
    note = '<p class="note">Circular block bootstrap, blocks of a week, 1,000 draws, paired.</p>'
    return table(head, rows) + note


def by_fold(period: Document, compared: str) -> str:
    """Net returns block by block; `compared` is the rule that the edges of model and logistic regression were traded by."""
    names = [name for name in period["by_fold"][0] if name != "number"]
    rows = [
        (str(block["number"]), *(percent(block[name]["total_return"]) for name in names)) for block in period["by_fold"]
    ]
    ruled = {name: f"{name},<br>{escape(compared)}" for name in ("model", "logistic")}
    return _whose(compared) + table(("block", *(ruled.get(name) or escape(name) for name in names)), rows)


def by_product(period: Document, compared: str) -> str:
    """The compared rule and buy and hold, product by product."""
    rows = [
        (escape(name), *_figures(found["model"]), percent(found["buy and hold"]["total_return"]))
        for name, found in period["by_product"].items()
    ]
    return _whose(compared) + table(("product", *_HEAD, "buy and hold"), rows)


def _whose(compared: str) -> str:
    """Says whose trades are shown, and that a fixed rule is not what the model would have done."""
    if compared == CHOSEN_RULE.name:
        return "<p>The model's edge, traded by the thresholds chosen before each block.</p>"
    return (
        "<p>The thresholds chosen before each block never traded. In their place the model's edge is traded by a fixed"
        f" rule, which nobody would have followed: <strong>{escape(compared)}</strong>.</p>"
    )


def thresholds(found: Document) -> str:
    """Every threshold that was asked of all out-of-sample bars before the last block."""
    rows = [
        (
            number(each["theta"], 2),
            percent(each["net_return"]),
            percent(each["quantile_05"]),
            f"{each['trades']:,}",
            "yes" if each["quantile_05"] > 0 else "no",
        )
        for each in found["tried"]
    ]
    chosen = "none: HOLD" if not found["has_evidence"] else number(found["theta_buy"], 2)
    note = f"<p>Chosen: <strong>{chosen}</strong>. The smallest whose 5 % quantile is above zero, else none.</p>"
    return note + table(("threshold", "net log return", "5 % quantile", "changes", "survives"), rows)


def _title(kind: str, name: str) -> str:
    return escape(name if kind == "baselines" else f"{kind}, {name}")
