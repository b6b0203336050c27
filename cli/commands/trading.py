"""`mesh halt`, `resume`, `close`: the operator's switch and the way out, each with a receipt.

A halt is in force before this asks anybody: it is written into the halt file, which the executor looks at before every
send. Everything after that is the receipt.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from cli.way_out import Receipt

NoteOption = Annotated[str, typer.Option(help="why, for the record")]


@guarded
def halt(
    note: NoteOption = "halted by hand",
    reducing: Annotated[bool, typer.Option("--reducing", help="exits go on, entries stop")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="also cancel every order that is not done")] = False,
    flatten: Annotated[bool, typer.Option("--flatten", help="first sell everything that is held, then halt")] = False,
) -> None:
    """Stop trading at once; nothing is bought or sold until `mesh resume`. Exit code 1: something is left to look at."""
    from cli.way_out import Halt, run_halt

    if reducing and flatten:
        raise CommandFailed("--flatten ends HALTED, --reducing does not", "leave one of them out", ExitCode.USAGE)
    show(run_halt(Halt(note, reducing, cancel, flatten)))


@guarded
def resume(
    note: NoteOption = "resumed by hand",
    release_locks: Annotated[
        bool, typer.Option("--release-locks", help="also end locks that wait for an operator, such as DRAWDOWN")
    ] = False,
    reducing: Annotated[
        bool, typer.Option("--reducing", help="let exits alone out again; entries stay stopped")
    ] = False,
) -> None:
    """Trade again."""
    from cli.way_out import run_resume

    show(run_resume(note, release_locks, reducing))


@guarded
def close(
    products: Annotated[list[str] | None, typer.Argument(help="products to sell, such as BTC-USD")] = None,
    everything: Annotated[bool, typer.Option("--all", help="everything that is held")] = False,
    note: NoteOption = "closed by hand",
) -> None:
    """Sell what is held of a product at market, at once. Exit code 1: something remains, or a named product was not held."""
    from cli.way_out import run_close
    from tradekit.products import is_product_id

    named = [name.upper() for name in products or []]
    if named and everything:
        raise CommandFailed("name products or say --all, not both", "leave one of them out", ExitCode.USAGE)
    if not named and not everything:
        raise CommandFailed("say which positions to close", "mesh close BTC-USD, or mesh close --all", ExitCode.USAGE)
    bad = [name for name in named if not is_product_id(name)]
    if bad:
        raise CommandFailed(f"{', '.join(bad)}: products look like BTC-USD", "`mesh status` names them", ExitCode.USAGE)
    show(run_close(named, note))


def show(receipt: "Receipt") -> None:
    from cli.console import escape

    for line in receipt.lines:
        style = {"good": "green", "bad": "bold red", "note": "yellow"}.get(line.kind)
        text = escape(line.text)
        out.print(f"[{style}]{text}[/]" if style else text)
    if receipt.left_over:
        raise typer.Exit(ExitCode.FAILED)
