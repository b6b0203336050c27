"""The page's tables about money: the cost ladder with all baselines, differences, blocks, products, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from training.report.cells import Table, number, percent, percent_and_sharpe, share

Document = Mapping[str, Any]
_HEAD = (
    *("net return", "per year", "Sharpe", "drawdown", "exposure"),
    *("changes / year", "trades", "profit per trade"),
)


def by_cost(period: Document, account_cost: float) -> Table:
    """Return and Sharpe ratio of everything at every cost."""
    steps = period["ladder"]
    rows = [
        (_title(kind, name), *(_return_and_sharpe(step[kind][name]) for step in steps))
        for kind, name in _names(_account_step(period, account_cost))
    ]
    random = [step["random"] for step in steps]
    rows.append(("random timing, median", *(percent(each["median"]) for each in random)))
    spread = (f"{share(each['quantile_05'])} to {share(each['quantile_95'])}" for each in random)
    rows.append(("random timing, 5 to 95 %", *spread))
    rows.append(("random timings beaten", *(share(each["beaten_ratio"]) for each in random)))
    return Table(("net return (Sharpe)", *(share(step["cost_per_side"], 2) for step in steps)), rows, lead=0)


def at_account_cost(period: Document, account_cost: float) -> Table:
    """All figures of everything at the account's cost."""
    account = _account_step(period, account_cost)
    rows = [(_title(kind, name), *_figures(account[kind][name])) for kind, name in _names(account)]
    return Table(("", *_HEAD), rows, lead=0)


def _account_step(period: Document, account_cost: float) -> Document:
    found: Document = next(step for step in period["ladder"] if step["cost_per_side"] == account_cost)
    return found


def _names(step: Document) -> list[tuple[str, str]]:
    return [(kind, name) for kind in ("model", "logistic", "baselines") for name in step[kind]]


def _title(kind: str, name: str) -> str:
    return name if kind == "baselines" else f"{kind}, {name}"


def _return_and_sharpe(stats: Document) -> str:
    return percent_and_sharpe(stats["total_return"], stats["sharpe"], 1)


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


_STAKE = 100
_MONEY = (("gross", 1), ("fees", -1), ("slippage", -1), ("pnl", 1))


def ways(period: Document) -> Table:
    """Every rule with and without protective exits, by taker and by maker entries; money is of 100 staked in each trade."""
    rows, lead = [], None
    for at, way in enumerate(period["ways"]):
        lead = at if way["live"] and lead is None else lead
        exits = way["exits"]
        money = (f"{_STAKE * sign * way[name] + 0.0:+,.0f}" for name, sign in _MONEY)
        rows.append(
            (
                f"{way['rule']}{', as live' if way['live'] else ''}",
                "on" if way["protective_exits"] else "off",
                way["entry"],
                *_figures(way)[:5],
                f"{way['trades']:,}",
                f"{way['not_filled']:,}",
                *(f"{exits[name]:,}" for name in exits),
                *money,
            )
        )
    names = period["ways"][0]["exits"]
    head = ("rule", "exits", "entry", *_HEAD[:5], "trades", "not filled", *names, "gross", "fees", "slippage", "P&L")
    return Table(head, rows, lead)


def intervals(period: Document) -> Table:
    """What the compared rule made more or less than each baseline, with a 90 % interval."""
    rows = []
    for step in period["ladder"]:
        for name, gap in step["intervals"].items():
            low, high = gap["quantile_05"], gap["quantile_95"]
            cells = (f"{gap['log_return']:+.3f}", f"{low:+.3f} to {high:+.3f}", "yes" if low > 0 or high < 0 else "no")
            rows.append((share(step["cost_per_side"], 2), step["compared"], name, *cells))
    head = ("cost per side", "model's edge, by the rule", "minus", "log return", "90 % interval", "apart from 0")
    return Table(head, rows)


def by_fold(period: Document, compared: str) -> Table:
    """Net returns block by block; `compared` is the rule that the edges of model and logistic regression were traded by."""
    names = [name for name in period["by_fold"][0] if name != "number"]
    rows = [
        (str(block["number"]), *(percent(block[name]["total_return"]) for name in names)) for block in period["by_fold"]
    ]
    ruled = {name: Markup("{},<br>{}").format(name, compared) for name in ("model", "logistic")}
    return Table(("block", *(ruled.get(name, name) for name in names)), rows)


def by_product(period: Document) -> Table:
    """The compared rule and buy and hold, product by product."""
    rows = [
        (name, *_figures(found["model"]), percent(found["buy and hold"]["total_return"]))
        for name, found in period["by_product"].items()
    ]
    return Table(("product", *_HEAD, "buy and hold"), rows)


def thresholds(found: Document) -> Table:
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
    return Table(("threshold", "net log return", "5 % quantile", "changes", "survives"), rows)
