"""`mesh train`: a new model from the stored candles or from a file; the signal service picks up what is for it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode
from tradekit.fees import DEFAULT_TAKER_FEE

if TYPE_CHECKING:
    from cli.plan import MeshPlan
    from cli.training_job import Thorough


@guarded
def train(
    report: Annotated[
        Path | None,
        typer.Option(help="Train thoroughly (walk-forward, baselines, all settings) and write the evidence here."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Candles of this file instead of the stored ones; needs no mesh.")
    ] = None,
    products: Annotated[str | None, typer.Option(help="Of the file, separated by commas; all, if not given.")] = None,
    taker_fee: Annotated[
        float | None, typer.Option(min=0.0, max=0.1, help="With --file: fee per side, such as 0.009.")
    ] = None,
    serve: Annotated[
        bool | None,
        typer.Option(help="Give the model to the signal service. Otherwise it goes to model/ in the report's folder."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Fits at a time; one for each core, if not given.")] = None,
    backend: Annotated[str | None, typer.Option(help="Where they run: loky (here), dask or ray.")] = None,
) -> None:
    """Train on the candles that are stored now, quickly; with --report thoroughly, and say what it is worth."""
    import asyncio

    from cli.serving_model import champion_serves
    from cli.train_options import TrainOptions, check_options
    from cli.train_progress import training_progress
    from cli.training_job import FileTraining, Thorough, train_from_file, train_model

    options = TrainOptions(report, file, products, taker_fee, serve, jobs, backend)
    check_options(options)
    cores = len(os.sched_getaffinity(0))
    thorough = None if report is None else Thorough(report.absolute(), jobs or cores, backend or "loky")
    folder_of_report = None if thorough is None else thorough.report
    if file is not None and thorough is not None:
        plan = _plan() if serve else None
        beside = plan is not None and asyncio.run(champion_serves(plan))
        folder = plan.model_folder if plan else thorough.report / "model"
        key = plan.keys.model_private if plan else None
        fee = f"{DEFAULT_TAKER_FEE if taker_fee is None else taker_fee:.6f}"
        training = FileTraining(file.absolute(), ",".join(options.product_list), fee, key)
        with training_progress(out, folder_of_report) as show:
            made = asyncio.run(train_from_file(training, folder, thorough, show, beside))
    else:
        plan = _plan()
        folder = thorough.report / "model" if thorough and serve is False else plan.model_folder
        beside = folder == plan.model_folder and asyncio.run(champion_serves(plan))
        with training_progress(out, folder_of_report) as show:
            made = asyncio.run(train_model(plan, folder, None, show, thorough, beside))
    _print(plan, folder, made, thorough, beside)


def _plan() -> "MeshPlan":
    """The instance whose candles or whose service is meant."""
    from cli.calls import require_instance
    from cli.instance_file import mesh_home
    from cli.instance_plan import plan_of
    from supervisor.instance import lock_owner
    from supervisor.keys import ensure_keys

    home = mesh_home()
    instance = require_instance(home)
    if lock_owner(home) is None and not instance.own_database:
        raise CommandFailed("the mesh is not up, and its candles lie in its database", "`mesh up`", ExitCode.RUNNING)
    return plan_of(home, instance, ensure_keys(home.keys), dict(os.environ))


def _print(
    plan: "MeshPlan | None", folder: Path, made: dict[str, object], thorough: "Thorough | None", beside: bool
) -> None:
    out.print(f"[green]trained[/] on {made.get('rows')} rows, {made.get('train_from')} to {made.get('train_to')}")
    if beside:
        out.print(
            f"{made.get('model_version')} predicts beside the champion within half a minute; `mesh model list` compares them"
        )
    elif plan is not None and folder == plan.model_folder:
        out.print(
            f"model folder {folder}; the signal service takes it within half a minute", soft_wrap=True, markup=False
        )
    else:
        out.print(f"model folder {folder}; nothing that runs was changed", soft_wrap=True, markup=False)
    if thorough is not None:
        out.print(f"report {thorough.report / 'index.html'}", soft_wrap=True, markup=False)
    for line in evidence_lines(made, exercise=plan is not None and plan.profile.value == "EXERCISE"):
        out.print(line)


def evidence_lines(made: dict[str, object], exercise: bool) -> list[str]:
    """What the training found, as it is: often that nothing pays."""
    theta = float(str(made.get("theta_buy", 1.0)))
    found = f"an edge of {theta:.2f} and more paid for its costs on bars it had not seen"
    brief = found if theta < 1.0 else "no threshold survives the costs: the evidence says HOLD"
    lines = [f"[{'green' if theta < 1.0 else 'yellow'}]{made.get('headline') or brief}[/]"]
    if exercise:
        lines.append("[magenta]profile EXERCISE trades all the same, by low fixed thresholds[/]")
    return lines
