"""`mesh replay FILE`: recorded candles through the real processes, bar by bar, in a folder and database of their own."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import err, guarded, out
from cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from cli.replay.options import ReplayOptions
    from cli.replay.run import ReplayReport


@guarded
def replay(
    file: Annotated[Path, typer.Argument(help="file of candles, of any format that mesh import reads")],
    products: Annotated[str, typer.Option(help="such as BTC-USD,ETH-USD")],
    begin: Annotated[str, typer.Option("--from", help="first decision, such as 2025-01-01")],
    end: Annotated[str, typer.Option("--to", help="last decision")],
    profile: Annotated[str, typer.Option(help="evidence or exercise")] = "exercise",
    seed: Annotated[int, typer.Option(help="part of every id", min=0)] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="write everything here")] = None,
    model: Annotated[Path | None, typer.Option(help="model folder to use instead of training one")] = None,
    in_sample: Annotated[bool, typer.Option("--in-sample", help="allow a model that has seen the period")] = False,
    reviews_per_bar: Annotated[
        int, typer.Option(help="BUY recommendations reviewed in one bar", min=1, max=10_000)
    ] = 2,
    keep: Annotated[bool, typer.Option("--keep", help="keep the folder with ledger and logs")] = False,
) -> None:
    """Replay a period. Exit code 1 if it failed, or if the ledger does not agree with the exchange."""
    from cli.console import escape
    from cli.instance_file import mesh_home, write_whole
    from cli.replay.options import ReplayOptions, parse_day
    from cli.replay.orphans import remove_orphans
    from cli.replay_report import IN_SAMPLE, as_json, faults, print_report
    from tradekit.states import Profile

    if profile.upper() not in Profile.__members__:
        raise CommandFailed(f"--profile {profile} is not known", "say evidence or exercise", ExitCode.USAGE)
    if json_file is not None and not json_file.expanduser().resolve().parent.is_dir():
        raise CommandFailed(f"--json {json_file}: its folder is not there", "make it first", ExitCode.USAGE)
    options = ReplayOptions(
        file=file.expanduser(),
        products=tuple(dict.fromkeys(part.strip().upper() for part in products.split(",") if part.strip())),
        begin=parse_day(begin, "--from"),
        end=parse_day(end, "--to"),
        profile=Profile(profile.upper()),
        seed=seed,
        reviews_per_bar=reviews_per_bar,
        model=model.expanduser() if model is not None else None,
        in_sample=in_sample,
    )
    if in_sample:
        out.print(f"[bold white on red] {IN_SAMPLE} [/]")
    for sentence in remove_orphans(mesh_home().root):
        err.print(f"[yellow]{escape(sentence)}[/]")
    report = _run(options, keep)
    print_report(report, out)
    if json_file is not None:
        write_whole(json_file.expanduser().resolve(), as_json(report))
        out.print(f"everything in {json_file}")
    if keep:
        out.print(f"kept in {report.folder}")
    raise typer.Exit(ExitCode.FAILED if faults(report) else ExitCode.OK)


def _run(options: "ReplayOptions", keep: bool) -> "ReplayReport":
    import time

    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from cli.candle_file import told
    from cli.instance_file import mesh_home
    from cli.replay.lockstep import Steps
    from cli.replay.options import examine
    from cli.replay.run import Watching
    from cli.replay.run import replay as run_replay
    from cli.up.view import line_of
    from supervisor.keeper import NEWS, Event

    found = examine(options)
    for line in told(options.file.name, found.account):
        err.print(line, markup=False, soft_wrap=True)
    bars = Steps(options.begin, options.end, found.granularity_seconds).count
    mesh_home().require_writable()
    tasks: dict[str, TaskID] = {}
    begun: dict[str, float] = {}
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:

        def show(stage: str, share: float) -> None:
            name = stage if stage in ("history", "bars") else "training"
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=1.0, pace="")
                begun[name] = time.monotonic()
            seconds = time.monotonic() - begun[name]
            pace = f"{share * bars / seconds:.1f} bar/s" if name == "bars" and seconds > 1.0 else ""
            label = name if name == stage else f"{name}: {stage}"
            progress.update(tasks[name], completed=share, description=label, pace=pace)

        def tell(event: Event) -> None:
            # A failed start ends the command with its own words.
            if event.kind in NEWS:
                progress.console.print(f"[bold yellow]{line_of(event)}[/]")

        return asyncio.run(run_replay(options, mesh_home().root, Watching(show, tell), keep))
