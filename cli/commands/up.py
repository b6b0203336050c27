"""`mesh up`: starts the whole pipeline here, or detached from this shell."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import err, escape, guarded, out

if TYPE_CHECKING:
    from cli.candle_file import CandleFileFacts
    from cli.exits import CommandFailed
    from cli.plan import MeshPlan
    from cli.up.options import UpRequest
    from cli.up.wanted import Wanted
    from supervisor.home import MeshHome

MarketOption = Annotated[
    str | None, typer.Option(help="simulated, replay:FILE or coinbase (real public prices)", show_default=False)
]
SpeedOption = Annotated[
    float | None, typer.Option(help="market seconds per second; by default a bar takes 3 s", show_default=False)
]


@guarded
def up(
    market: MarketOption = None,
    speed: SpeedOption = None,
    profile: Annotated[str | None, typer.Option(help="evidence or exercise", show_default=False)] = None,
    products: Annotated[str | None, typer.Option(help="such as BTC-USD,ETH-USD", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the simulated market", show_default=False)] = None,
    detach: Annotated[bool, typer.Option("--detach", help="return once everything is up")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="REAL MONEY; needs EXCHANGE_KEY_FILE and a confirmation")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option(
            envvar="LIVE_CONFIRM",
            help="with --live: name or UUID of the portfolio whose money may be spent; else the terminal is asked",
            show_default=False,
        ),
    ] = None,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="with --live: show what would be risked and the first order, and send none"),
    ] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Coinbase's sandbox: canned orders and fills, to try the plumbing")
    ] = False,
    mtls: Annotated[
        bool | None,
        typer.Option(
            "--mtls/--no-mtls",
            help="callers prove themselves by certificates, made here and renewed, instead of tokens",
            show_default=False,
        ),
    ] = None,
    adopt: Annotated[
        str | None,
        typer.Option(
            help="coins in the account that the mesh may sell: all, none or a list such as BTC,ETH", show_default=False
        ),
    ] = None,
) -> None:
    """Start the mesh; a second start resumes the ledger."""
    from cli.exits import refuse
    from cli.instance_file import mesh_home
    from supervisor.starting import starting

    if preview and not live:
        raise refuse("--preview shows the first order of a start with real money", "say --live --preview")
    home = mesh_home()
    # Before all that takes its time: whoever says `mesh down` now means this start too.
    with starting(home):
        from cli.up.options import UpRequest

        request = UpRequest(market, speed, profile, products, seed, live, sandbox, mtls)
        _up(home, request, confirm, adopt, detach, preview)


def _up(
    home: "MeshHome", request: "UpRequest", confirm: str | None, adopt: str | None, detach: bool, preview: bool
) -> None:
    import asyncio
    import sys
    from dataclasses import replace
    from functools import partial

    from cli.child import in_child
    from cli.instance_file import read_instance
    from cli.instance_plan import plan_of
    from cli.status_facts import switch_in_force
    from cli.up import detached
    from cli.up.adoption import AdoptionChoice, check_choice, settle
    from cli.up.options import choose
    from cli.up.run import refuse_second_start, run_up
    from cli.up.saved import not_followed
    from cli.up.summary import summary
    from cli.up.view import LogView, TerminalView, Views
    from cli.up.wanted import UNCONFIRMED, Wanted
    from supervisor.detach import Announcer
    from supervisor.keys import key_files

    if detached.is_announced():
        detached.run_announced(home, request)
        return
    refuse_second_start(home, request)
    home.require_writable()
    stored = read_instance(home)
    # Asked once, at the first start; later the status shows it, and `mesh ledger adopt` adopts it.
    asking = stored is None and sys.stdin.isatty() and out.is_terminal
    adoption = AdoptionChoice(check_choice(adopt) if adopt is not None else None, asking)
    choices = choose(request, stored, os.environ, _tell)
    for note in not_followed(request, stored, os.environ, choices):
        err.print(f"[yellow]{escape(note)}[/]")
    instance = choices.instance
    plan = plan_of(home, instance, key_files(home.keys), {**os.environ})
    if request.live:
        plan = replace(plan, portfolio=instance.portfolio or UNCONFIRMED)
    in_child(partial(_refuse_faulty, plan, choices.faults))
    if request.live:
        known = stored.portfolio if stored is not None else ""
        asked = Wanted(confirm or None, preview, sys.stdin.isatty() and out.is_terminal, known)
        confirmed = in_child(partial(_go_live, plan, asked))
        if preview:
            return
        os.environ["LIVE_CONFIRM"] = confirmed
    home.prepare()
    with TerminalView() as terminal:
        if not detach:
            views = Views(terminal, LogView(home.log_file("supervisor")))
            run_up(home, request, views, Announcer({}), adoption)
            return
        found = detached.start(home, terminal)
    instance = read_instance(home) or instance
    switch = asyncio.run(switch_in_force(instance))
    out.print(summary(instance, home, found.pid, detached=True, switch=switch))
    asyncio.run(settle(instance, adoption, terminal.say))


def _go_live(plan: "MeshPlan", wanted: "Wanted") -> str:
    from cli.up.live import go_live

    return go_live(plan, wanted)


def _refuse_faulty(plan: "MeshPlan", choices: "list[CommandFailed]") -> None:
    from cli.effective import refuse_faulty
    from cli.misspelt import known_variables, misspelt

    for note in misspelt(os.environ, known_variables()):
        err.print(f"[yellow]{escape(note)}[/]")
    refuse_faulty(plan, choices)


def _tell(facts: "CandleFileFacts") -> None:
    from cli.candle_file import told

    for line in told("candle file", facts.account):
        err.print(line, markup=False, soft_wrap=True)
