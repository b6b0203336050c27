"""`mesh train`: a new model from the stored candles; the signal service picks it up by itself."""

import os
from typing import TYPE_CHECKING

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from cli.plan import MeshPlan


@guarded
def train() -> None:
    """Train on the candles that are stored now."""
    import asyncio

    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from cli.calls import require_instance
    from cli.instance_file import mesh_home
    from cli.model_step import train_model
    from cli.supervise.instance import lock_owner
    from cli.supervise.keys import ensure_keys
    from cli.up.plan import plan_of

    home = mesh_home()
    instance = require_instance(home)
    if lock_owner(home) is None and not instance.own_database:
        raise CommandFailed("the mesh is not up, and its candles lie in its database", "`mesh up`", ExitCode.RUNNING)
    plan = plan_of(home, instance, ensure_keys(home.keys), dict(os.environ))
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("training", total=1.0)

        def show(step: str, share: float) -> None:
            progress.update(task, completed=share, description=f"training: {step}")

        made = asyncio.run(train_model(plan, plan.model_folder, None, show))
    _print(plan, made)


def _print(plan: "MeshPlan", made: dict[str, object]) -> None:
    out.print(f"[green]trained[/] on {made.get('rows')} rows, {made.get('train_from')} to {made.get('train_to')}")
    out.print(f"model folder {plan.model_folder}; the signal service takes it within half a minute")
    for line in evidence_lines(made, exercise=plan.profile.value == "EXERCISE"):
        out.print(line)


def evidence_lines(made: dict[str, object], exercise: bool) -> list[str]:
    """What the training found, as it is: often that nothing pays."""
    theta = float(str(made.get("theta_buy", 1.0)))
    found = f"an edge of {theta:.2f} and more paid for its costs on bars it had not seen"
    lines = [found if theta < 1.0 else "[yellow]no threshold survives the costs: the evidence says HOLD[/]"]
    if exercise:
        lines.append("[magenta]profile EXERCISE trades all the same, by low fixed thresholds[/]")
    return lines
