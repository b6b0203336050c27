"""The `mesh` command: one file per command in `cli/commands`, put together here.

gRPC reads its switches when it is first imported, so they are set before anything else.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import typer

from cli.commands.up import up

app = typer.Typer(
    name="mesh",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def mesh() -> None:
    """A spot-crypto trading pipeline as eight small services: start it, look at it, stop it."""


app.command()(up)

if __name__ == "__main__":
    app()
