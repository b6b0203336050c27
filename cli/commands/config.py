"""`mesh config`: what every service and the simulated exchange would be started with, and who decided it; secrets masked."""

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import err, guarded, out
from cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from cli.effective import ServiceConfig, Setting
    from cli.up.options import Choices
    from supervisor.home import MeshHome


@guarded
def config(
    service: Annotated[str, typer.Argument(help="one service, such as risk, or exchange_sim; all by default")] = "",
    all_values: Annotated[bool, typer.Option("--all", help="defaults too")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
) -> None:
    """Show the effective configuration. Exit code 2 if a service would refuse it."""
    from cli.console import escape
    from cli.effective import as_line, read_configuration, told_once
    from cli.instance_file import mesh_home
    from cli.instance_plan import plan_of
    from cli.misspelt import known_variables, misspelt
    from cli.plan import SIMULATOR
    from supervisor.instance import lock_owner
    from supervisor.keys import key_files
    from tradekit.services import SERVICES

    names = [*(one.name for one in SERVICES), SIMULATOR]
    if service and service not in names:
        raise CommandFailed(f"there is no service {service}", f"say one of {', '.join(names)}", ExitCode.USAGE)
    home = mesh_home()
    choices, notes = resolved(home)
    plan = plan_of(home, choices.instance, key_files(home.keys), dict(os.environ))
    if service == SIMULATOR and plan.simulator is None:
        raise CommandFailed(f"venue {plan.venue.value} has no simulated exchange", "leave it out", ExitCode.USAGE)
    found = [one for one in read_configuration(plan) if service in ("", one.service)]
    if as_json:
        out.print_json(json.dumps({one.service: _as_json(one) for one in found}))
    else:
        out.print(f"[dim]MESH_HOME[/] {home.root}")
        _print(found, all_values)
    if lock_owner(home) is not None:
        err.print("[yellow]this is what a start from this shell would use; what runs keeps what it was started with[/]")
    for note in [*notes, *misspelt(os.environ, known_variables())]:
        err.print(f"[yellow]{escape(note)}[/]")
    faults = [*map(as_line, choices.faults), *told_once(plan, found)]
    for line in faults:
        err.print(f"[bold red]✗[/] {escape(line)}")
    raise typer.Exit(ExitCode.USAGE if faults else ExitCode.OK)


def resolved(home: "MeshHome") -> "tuple[Choices, list[str]]":
    """What `mesh up` without options would run here now, and what of the environment it would not follow."""
    from cli.instance_file import read_instance
    from cli.up.options import UpRequest, choose
    from cli.up.saved import not_followed
    from tradekit.states import Venue

    stored = read_instance(home)
    venue = stored.venue if stored is not None else None
    request = UpRequest(live=venue is Venue.LIVE, sandbox=venue is Venue.SANDBOX)
    choices = choose(request, stored, os.environ)
    return choices, not_followed(request, stored, os.environ, choices)


def _as_json(found: "ServiceConfig") -> dict[str, object]:
    values = {one.variable: {"value": one.value, "origin": one.origin.value} for one in found.settings}
    return {"settings": values, "faults": "\n".join(found.faults)}


def _print(found: list["ServiceConfig"], all_values: bool) -> None:
    from cli.plan import SIMULATOR

    shown = {
        one.service: [setting for setting in one.settings if all_values or setting.origin.value != "default"]
        for one in found
    }
    # The simulated exchange is no service of the mesh, and shares no variable with one.
    sound = [settings for name, settings in shown.items() if settings and name != SIMULATOR]
    common = [setting for setting in sound[0] if all(setting in other for other in sound)] if len(sound) > 1 else []
    if common:
        _print_table("every service", common)
    for one in found:
        if not one.faults:
            _print_table(one.service, [setting for setting in shown[one.service] if setting not in common])
    if not all_values:
        out.print("[dim]what stands at its default is left out; --all shows it[/]")


def _print_table(title: str, settings: "list[Setting]") -> None:
    from rich.table import Table

    from cli.console import escape

    table = Table(box=None, padding=(0, 2), header_style="dim", title=title, title_justify="left")
    for name in ("variable", "value", "from"):
        table.add_column(name, overflow="fold")
    for setting in settings:
        table.add_row(setting.variable, escape(setting.value), f"[dim]{setting.origin.value}[/]")
    out.print(table)
