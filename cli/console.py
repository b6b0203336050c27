"""Where `mesh` writes, and how it says that something failed: in words with what to do, never as a traceback."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer
from rich import markup
from rich.console import Console

from cli.exits import CommandFailed, ExitCode
from meshkit.text import printable, without_passwords

P = ParamSpec("P")
R = TypeVar("R")

# A pipe or a file has no width: what goes there is read by a program, and nothing of it may be cut or wrapped.
_NO_WIDTH = 32_000


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() or os.environ.get("COLUMNS") else _NO_WIDTH
    return Console(stderr=stderr, highlight=False, width=wide)


out = _console(stderr=False)
err = _console(stderr=True)


def escape(text: str) -> str:
    """Text from anywhere as part of a line: no markup, nothing that a terminal would do, no password of a URL."""
    return markup.escape(without_passwords(printable(text)))


def escape_lines(text: str) -> str:
    """The same for a text of several lines of our own."""
    return markup.escape(without_passwords(printable(text, "\n")))


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose expected failures end it with words and an exit code; a defect keeps its traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except CommandFailed as failed:
            raise typer.Exit(show(failed)) from None
        except KeyboardInterrupt:
            err.print("interrupted")
            raise typer.Exit(130) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            from cli.faults import in_words

            failed_as = in_words(error)
            if failed_as is None:
                raise
            raise typer.Exit(show(failed_as)) from None

    return run


def show(failed: CommandFailed) -> ExitCode:
    """Prints a failure; returns its exit code."""
    err.print(f"[bold red]✗[/] {escape_lines(failed.message)}")
    if failed.advice:
        err.print(f"  [yellow]→[/] {escape_lines(failed.advice)}")
    return failed.code


def require_yes(question: str, unchanged: str, yes: bool) -> None:
    """Goes on with `yes`, or once it is typed. Raises CommandFailed, which says what is `unchanged`, for everything else."""
    if yes:
        return
    if not sys.stdin.isatty():
        message = f"{unchanged}: there is no terminal to ask at: {question}"
        raise CommandFailed(message, "say --yes if you mean it", ExitCode.USAGE)
    if not typer.confirm(question):
        raise CommandFailed(unchanged, code=ExitCode.USAGE)
