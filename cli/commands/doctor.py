"""`mesh doctor`: looks at everything the mesh stands on and says what to do.

It changes nothing but ends what replays left behind that were killed: nobody else would miss a database without an owner.
"""

import asyncio
import os

import typer

from cli.console import guarded, out
from cli.exits import ExitCode

_STYLES = {"ok": "green", "warn": "bold yellow", "fail": "bold red"}


@guarded
def doctor() -> None:
    """Check keys, clock, database, ports, model and the rest. Exit code 1 if something fails."""
    from rich.table import Table

    from cli.commands.config import resolved
    from cli.console import escape_lines as escape
    from cli.doctor import Level, Patient, examine, worst
    from cli.instance_file import mesh_home
    from cli.instance_plan import plan_of
    from cli.misspelt import known_variables, misspelt
    from cli.replay.orphans import remove_orphans
    from supervisor.keys import key_files

    home = mesh_home()
    tidied = remove_orphans(home.root)
    choices, notes = resolved(home)
    plan = plan_of(home, choices.instance, key_files(home.keys), dict(os.environ))
    notes += misspelt(os.environ, known_variables())
    findings = asyncio.run(examine(Patient(plan, choices, tuple(notes))))
    table = Table(box=None, padding=(0, 2), show_header=False)
    for name in ("level", "subject", "seen"):
        table.add_column(name, overflow="fold")
    for one in findings:
        advice = f"\n[yellow]→[/] {escape(one.advice)}" if one.advice else ""
        table.add_row(f"[{_STYLES[one.level.value]}]{one.level.value}[/]", one.subject, escape(one.seen) + advice)
    out.print(f"[dim]MESH_HOME[/] {home.root}")
    for sentence in tidied:
        out.print(f"[yellow]{escape(sentence)}[/]")
    out.print(table)
    raise typer.Exit(ExitCode.FAILED if worst(findings) is Level.FAIL else ExitCode.OK)
