"""The `mesh` command: one file per command in `cli/commands`, put together here.

gRPC reads its switches when it is first imported, so they are set before anything else.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from typing import Annotated

import typer

from cli.commands.cancel import cancel
from cli.commands.config import config
from cli.commands.data import app as data
from cli.commands.doctor import doctor
from cli.commands.down import down, reset
from cli.commands.explain import explain
from cli.commands.export import export
from cli.commands.importing import import_file
from cli.commands.ledger import app as ledger
from cli.commands.lots import lots
from cli.commands.model import app as model
from cli.commands.replay import replay
from cli.commands.restart import restart
from cli.commands.sim import sim
from cli.commands.status import status
from cli.commands.trades import trades
from cli.commands.trading import close, halt, resume
from cli.commands.train import train
from cli.commands.up import up
from cli.console import out

app = typer.Typer(
    name="mesh",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from cli.version import version

        out.print(f"mesh {version()}")
        raise typer.Exit


@app.callback()
def mesh(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="show the version and exit")
    ] = False,
) -> None:
    """A spot-crypto trading pipeline as eight small services: start it, look at it, stop it."""


for command in (
    up,
    down,
    restart,
    reset,
    status,
    config,
    doctor,
    train,
    replay,
    explain,
    cancel,
    halt,
    resume,
    close,
    sim,
):
    app.command()(command)
for report in (trades, lots, export):
    app.command()(report)
app.command("import")(import_file)
app.add_typer(model)
app.add_typer(data)
app.add_typer(ledger)

if __name__ == "__main__":
    app()
