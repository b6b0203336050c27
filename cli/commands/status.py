"""`mesh status`: every process, whether entries are open, what is under way; loud about what stays down."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import guarded, out
from cli.exits import ExitCode

if TYPE_CHECKING:
    from cli.instance_file import Instance
    from cli.status_facts import StatusFacts
    from supervisor.state import ServiceState
    from tradekit.ledger_words import LedgerWords

_STYLES = {"ready": "green", "done": "green", "waiting": "dim", "starting": "yellow", "backoff": "yellow"}


@guarded
def status(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """Show what runs here. Exit code 0: all well; 1: something is down; 3: not running."""
    import asyncio

    from cli.instance_file import mesh_home, read_instance
    from cli.status_facts import gather_status

    home = mesh_home()
    facts = asyncio.run(gather_status(home, read_instance(home)))
    if as_json:
        out.print_json(json.dumps(_as_json(facts)))
    else:
        _print(facts)
    raise typer.Exit(ExitCode.RUNNING if not facts.running else ExitCode.OK if facts.healthy else ExitCode.FAILED)


def _print(facts: "StatusFacts") -> None:
    from cli.console import escape

    if facts.instance is None:
        out.print(f"no mesh was ever started in {facts.home}; mesh up starts one")
        return
    instance = facts.instance
    if not facts.running:
        left = [unit.name for unit in facts.units if unit.status.value in ("ready", "hung", "starting", "stopping")]
        out.print(f"[yellow]not running[/] ({facts.home}); mesh up starts it again")
        _print_products(instance)
        if left:
            out.print(f"still there: {', '.join(left)}; mesh down ends it, mesh up takes it over")
        return
    head = f"{instance.market} market, venue {instance.venue.value}, profile {instance.profile.value}"
    out.print(f"[bold]up[/], pid {facts.supervisor_pid}: {escape(head)}; page {instance.page}")
    _print_products(instance)
    if facts.supervisor_stopped:
        out.print(
            "[bold white on red] STOPPED [/] the supervisor (Ctrl-Z?) watches nothing, and what follows is as old: "
            f"kill -CONT {facts.supervisor_pid}, or mesh down"
        )
    if facts.units_unreadable:
        out.print(
            "[bold white on red] UNREADABLE [/] run/state.json says nothing of the processes; the supervisor writes it anew "
            "within seconds, so look again"
        )
    for name in facts.parked:
        log = f"{facts.home}/logs/{name}.log"
        out.print(
            f"[bold white on red] PARKED [/] {name} died too often and stays down: read {escape(log)}, then mesh restart {name}"
        )
    for name in facts.hung:
        out.print(f"[bold white on red] HUNG [/] {name} runs and does not answer: mesh restart {name} starts it anew")
    if facts.units:
        _print_units(facts)
    _print_trading(facts)


def _print_units(facts: "StatusFacts") -> None:
    from rich.table import Table

    from cli.console import escape
    from cli.status_facts import detail_of

    table = Table(box=None, padding=(0, 2), header_style="dim")
    rows = []
    for unit in facts.units:
        style = _STYLES.get(unit.status.value, "bold red")
        pid = str(unit.process.pid) if unit.process is not None and unit.status.value != "done" else ""
        ports = ", ".join(str(port) for port in unit.ports.values())
        row = (unit.name, f"[{style}]{unit.status.value}[/]", pid, ports, str(unit.restarts or ""))
        rows.append((*row, _uptime(unit), escape(detail_of(unit).partition("\n")[0])))
    names = ("unit", "state", "pid", "ports", "restarts", "up", "detail")
    # While all is well these two say nothing, and a narrow terminal needs their room for the others.
    shown = [n for n, name in enumerate(names) if name not in ("restarts", "detail") or any(row[n] for row in rows)]
    for n in shown:
        justify = "right" if names[n] in ("pid", "restarts") else "left"
        table.add_column(names[n], justify=justify, no_wrap=names[n] != "detail")  # type: ignore[arg-type]
    for cells in rows:
        table.add_row(*(cells[n] for n in shown))
    out.print(table)


def _print_products(instance: "Instance") -> None:
    from cli.console import escape

    out.print(f"products  {escape(', '.join(instance.products))}; bars of {instance.granularity}")


def _print_trading(facts: "StatusFacts") -> None:
    from cli.console import escape

    if facts.trading is None:
        unknown = "whether it sends orders is not known" if facts.executor_runs else "no order is sent"
        out.print(f"trading   [red]the executor does not answer: {unknown}[/]")
    else:
        style = "green" if facts.trading.state == "ACTIVE" else "bold red"
        note = f" ({facts.trading.note})" if facts.trading.note else ""
        equity = facts.trading.equity or "unknown: the risk engine does not answer"
        out.print(f"trading   [{style}]{facts.trading.state}[/]{escape(note)}, equity {equity}")
        if not facts.trading.kept:
            out.print("          [bold red]kept nowhere but in the executor's memory: gone when that process ends[/]")
        if facts.trading.locks:
            out.print(f"locks     {escape(', '.join(facts.trading.locks))}")
        if facts.trading.cooldowns:
            out.print(f"cooldowns {escape(', '.join(facts.trading.cooldowns))}")
    shut = facts.entries_shut
    closed = "not known" if facts.trading is None and facts.executor_runs else "closed"
    out.print(f"entries   [red]{closed}: {escape(shut)}[/]" if shut else "entries   [green]open[/]")
    if facts.alerts:
        out.print(f"alerts    [yellow]{escape(', '.join(facts.alerts))}[/]; the page says what each means")
    if facts.ledger is not None:
        _print_ledger(facts.ledger)
    if facts.pipeline is None:
        out.print("pipeline  [red]the orchestrator does not answer[/]")
        return
    under_way = facts.pipeline
    unknown = f", [bold red]{under_way.unknown_orders} UNKNOWN[/]" if under_way.unknown_orders else ""
    out.print(
        f"pipeline  market time {under_way.market_time}; {under_way.executed} executed, "
        f"{under_way.open_recommendations} recommendation(s) and {under_way.open_orders} order(s) open, "
        f"{under_way.resting_orders} order(s) resting at the exchange{unknown}"
    )


def _print_ledger(words: "LedgerWords") -> None:
    from cli.console import escape
    from tradekit.ledger_words import joined

    for line in words.differences:
        out.print(f"ledger    [bold red]{escape(line)}[/]; `mesh ledger show` says how to book it")
    for line in words.foreign:
        out.print(f"foreign   [yellow]{escape(line)}[/]")
    for line in words.fees:
        out.print(f"fees      [yellow]{escape(line)}[/]")
    if words.unadopted:
        out.print(f"ledger    not the mesh's own, never sold: {escape(joined(words.unadopted))}")


def _uptime(unit: "ServiceState") -> str:
    from cli.status_facts import uptime_seconds

    seconds = uptime_seconds(unit)
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def _as_json(facts: "StatusFacts") -> dict[str, object]:
    from dataclasses import asdict

    found = asdict(facts)
    found |= {
        "running": facts.running,
        "healthy": facts.healthy,
        "parked": facts.parked,
        "hung": facts.hung,
        "entries_open": not facts.entries_shut,
    }
    return found
