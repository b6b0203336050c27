"""`mesh down` and `mesh reset`: the end of an instance from any shell, and the end of its ledger."""

import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import guarded, out, require_yes
from cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from supervisor.home import MeshHome


@guarded
def down() -> None:
    """Stop the mesh, however it was left, and end what killed replays left behind; the ledger stays."""
    from cli.console import escape
    from cli.instance_file import mesh_home
    from cli.instance_plan import embedded_postgres
    from cli.only_watched_here import only_watched_here
    from cli.replay.orphans import remove_orphans
    from supervisor.instance import bring_down

    home = mesh_home()
    for sentence in only_watched_here(home):
        out.print(f"[yellow]{escape(sentence)}[/]")
    with out.status("draining"):
        report = bring_down(home, embedded_postgres(home))
        tidied = remove_orphans(home.root)
    for sentence in (*report.notes, *tidied):
        out.print(f"[yellow]{escape(sentence)}[/]")
    if report.nothing_ran:
        out.print(f"nothing ran in {home.root}")
        return
    parts = []
    if report.starts_ended:
        parts.append(f"a start that had begun was ended (pid {', '.join(map(str, report.starts_ended))})")
    if report.supervisor_pid is not None:
        how = "killed: it did not end in time" if report.supervisor_killed else "drained"
        parts.append(f"supervisor {report.supervisor_pid} {how}")
    if report.swept_pids:
        parts.append(f"{len(report.swept_pids)} process(es) left behind were ended")
    if report.postgres_stopped:
        parts.append("database stopped")
    out.print(f"[green]down[/]: {', '.join(parts)}. The ledger stays in {home.root}; mesh up resumes it.")


@guarded
def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False) -> None:
    """Stop the mesh and delete everything in its folder: ledger, simulated exchange, model, keys, logs."""
    from cli.instance_file import instance_path, mesh_home
    from cli.instance_plan import embedded_postgres
    from cli.replay.orphans import remove_orphans
    from supervisor.instance import bring_down

    home = mesh_home()
    if not home.root.exists():
        out.print(f"{home.root} is not there; nothing to delete")
        return
    if not (instance_path(home).exists() or home.run.exists()):
        message = f"{home.root} does not look like a folder of the mesh; nothing was deleted"
        raise CommandFailed(message, "check MESH_HOME", ExitCode.USAGE)
    own_database = _has_own_database(home)
    require_yes(f"Delete the whole ledger, models, keys and logs in {home.root}?", "nothing was deleted", yes)
    with out.status("draining"):
        bring_down(home, embedded_postgres(home))
        remove_orphans(home.root)
    names = ("postgres", "postgres.new", "exchange_sim", "exchange_sim_keys.json", "model", "keys", "logs", "replays")
    # What a halt put aside because it could not be read may be anything, a folder too.
    aside = [path.name for path in home.root.glob("halt.json.*")]
    # Last what a folder of the mesh is known by: a reset that was cut short can be repeated.
    for name in (*names, "halt.json", *aside, "identity", "instance.json", "run"):
        path = home.root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    out.print(
        f"[green]reset[/]: ledger, simulated exchange, model, keys and logs of {home.root} are gone; mesh up begins anew"
    )
    if own_database:
        out.print("[yellow]the database at DB_HOST is yours and was left as it is: drop it before the next mesh up[/]")


def _has_own_database(home: "MeshHome") -> bool:
    """Whether the ledger lies in the operator's own PostgreSQL; a damaged instance.json must not stop a reset."""
    from cli.instance_file import read_instance

    try:
        instance = read_instance(home)
    except CommandFailed:
        return False
    return instance is not None and instance.own_database
