"""What a finished replay says: the funnel for people, everything for programs, and whether it may count.

A replay counts only if the ledger agrees with the exchange, order by order and to the last digit.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.console import escape
from cli.replay.run import ReplayReport
from tradekit.decimals import plain

IN_SAMPLE = "IN-SAMPLE: the model has seen this period. These numbers say nothing about the future."


def faults(report: ReplayReport) -> list[str]:
    """Why the replay does not count; empty if it does."""
    result, agreement = report.result, report.agreement
    found = []
    if agreement.exchange_orders != result.orders_with_exchange_id:
        counts = f"{agreement.exchange_orders} at the exchange, {result.orders_with_exchange_id} in the ledger"
        found.append(f"orders differ: {counts}")
    if result.orders_unknown:
        found.append(f"{result.orders_unknown} order(s) are UNKNOWN")
    if not agreement.balances_equal:
        found.append("ledger and exchange balances differ")
    if result.unbalanced_transactions:
        found.append(f"{result.unbalanced_transactions} ledger transaction(s) do not balance")
    return found


def as_json(report: ReplayReport) -> str:
    """Everything, decimals and times as text."""
    document = _plain(report)
    document["faults"] = faults(report)
    document["result"]["account"]["pnl"] = plain(report.result.account.pnl)
    return json.dumps(document, indent=1) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Iterable) and not isinstance(value, Path):
        return [_plain(item) for item in value]
    return str(value)


def print_report(report: ReplayReport, console: Console) -> None:
    """The funnel from candles to money, then the proof."""
    if report.options.in_sample:
        console.print(f"[bold white on red] {IN_SAMPLE} [/]")
    options, result = report.options, report.result
    title = f"{options.file.name}, {', '.join(options.products)}, {options.begin:%Y-%m-%d} to {options.end:%Y-%m-%d}"
    console.print(f"[bold]{escape(title)}[/], profile [magenta]{options.profile.value}[/], seed {options.seed}")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("stage", "outcome", "reason", "items"):
        table.add_column(name, justify="right" if name == "items" else "left")
    _rows(table, "candles", [{"outcome": "closed bars", "items": result.candles}])
    _rows(table, "signals", _counted(result.signals))
    _rows(table, "outcomes", result.outcomes)
    _rows(table, "recommendations", _counted(result.recommendations))
    _rows(table, "validations", _named(result.validations, "reviewer", "verdict"))
    _rows(table, "assessments", _named(result.assessments, "side", "decision"))
    _rows(table, "orders", _counted(result.orders))
    _rows(table, "protective orders", _counted(result.protective_orders))
    _rows(table, "exits", [{"outcome": one.reason, "items": one.items} for one in result.exits])
    _rows(table, "fills", _named(result.fees, "side", "liquidity"))
    console.print(table)
    _print_money(report, console)
    _print_account(report, console)
    _print_proof(report, console)


def _counted(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"outcome": name, "items": count} for name, count in sorted(counts.items())]


def _named(rows: Sequence[Mapping[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{**row, "outcome": " ".join(str(row[name]) for name in names)} for row in rows]


def _rows(table: Table, stage: str, rows: Iterable[Mapping[str, Any]]) -> None:
    shown = stage
    for row in rows:
        table.add_row(shown, escape(str(row["outcome"])), escape(str(row.get("reason", ""))), f"{row['items']:,}")
        shown = ""
    if shown:
        table.add_row(shown, "none", "", "0")


def _print_money(report: ReplayReport, console: Console) -> None:
    """What was sold for which reason, and what was paid to take and to make."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("money", "", "value", "fees", "realized P&L"):
        table.add_column(name, justify="left" if name in ("money", "") else "right")
    for one in report.result.exits:
        amounts = (one.filled_value, one.fees, one.realized_pnl)
        table.add_row("exit", escape(one.reason), *(f"{amount:,.2f}" for amount in amounts))
    for row in report.result.fees:
        table.add_row(
            "fees", escape(f"{row['side']} {row['liquidity']}"), f"{row['value']:,.2f}", f"{row['fees']:,.2f}", ""
        )
    console.print(table)


def _print_account(report: ReplayReport, console: Console) -> None:
    account = report.result.account
    table = Table(box=None, padding=(0, 2), show_header=False)
    lines = (
        ("opening balance", account.opening),
        ("fees", account.fees),
        ("realized P&L", account.realized_pnl),
        ("unrealized P&L", account.unrealized_pnl),
        ("P&L", account.pnl),
        ("buy and hold, fees of entry and exit paid", account.buy_and_hold),
    )
    for name, amount in lines:
        table.add_row(name, f"{amount:,.2f}")
    console.print(table)


def _print_proof(report: ReplayReport, console: Console) -> None:
    result, agreement = report.result, report.agreement
    console.print(
        f"orders accepted by the exchange {agreement.exchange_orders}, order rows with an exchange id "
        f"{result.orders_with_exchange_id}, UNKNOWN {result.orders_unknown}"
    )
    for currency, ledger, exchange in agreement.balances:
        mark = "[green]=[/]" if ledger == exchange else "[bold red]≠[/]"
        console.print(f"  {currency:<6} ledger {plain(ledger)} {mark} exchange {plain(exchange)}")
    console.print(f"hash [bold]{result.hash}[/]")
    for fault in faults(report):
        console.print(f"[bold red]✗ {escape(fault)}[/]")
