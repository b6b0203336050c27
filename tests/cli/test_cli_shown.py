"""What is put before a person: columns with something in them, text that cannot act, and a question nobody is stopped by."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import console
from cli.commands import ledger, status
from cli.status_facts import StatusFacts, Trading
from supervisor.state import ServiceState, Status
from tests.cli.conftest import Mesh
from trading.executor.v1 import ledger_pb2

BACKGROUND = """
import asyncio, os, sys
from cli.up.adoption import _typed
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.setpgid(0, 0)
sys.stdout.write(f"answer {asyncio.run(_typed())!r}.")
"""


def units(*found: ServiceState, capsys: Any) -> str:
    status._print_units(StatusFacts("/home", 1, None, found))
    return str(capsys.readouterr().out)


def test_columns_without_a_word_give_their_room_away(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "width", 200)
    well, died = ServiceState("risk", Status.READY), ServiceState("market", Status.BACKOFF, last_exit="exit code 1")
    assert units(well, capsys=capsys).splitlines()[0].split() == ["unit", "state", "pid", "ports", "up"]
    said = units(well, died, capsys=capsys)
    assert "detail" in said and "restarts" not in said and "exit code 1" in said
    assert "restarts" in units(ServiceState("risk", Status.READY, restarts=2), capsys=capsys)


def test_a_halt_that_ends_with_the_executor_is_shown_as_such(capsys: Any) -> None:
    for kept in (True, False):
        trading = Trading("HALTED", "by hand", kept, equity="1", locks=())
        status._print_trading(StatusFacts("/home", 1, None, trading=trading))
        assert ("gone when that process ends" in capsys.readouterr().out) == (not kept)


def test_alerts_are_shown_with_what_they_are_about(capsys: Any) -> None:
    trading = Trading("ACTIVE", "", True, equity="1", locks=())
    status._print_trading(StatusFacts("/home", 1, None, trading=trading, alerts=("FEED_SILENT executor",)))
    assert "alerts    FEED_SILENT executor; the page" in capsys.readouterr().out
    status._print_trading(StatusFacts("/home", 1, None, trading=trading, alerts=()))
    assert "alerts" not in capsys.readouterr().out


def test_nothing_of_the_ledger_acts_on_a_terminal(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ledger_pb2.GetLedgerResponse()
    answer.adjustments.add(caller="operator", note="lunch\x1b[2J [red]x[/]")
    monkeypatch.setattr(ledger, "_ask", lambda method, request: answer)
    said = mesh("ledger", "show").said
    assert "[red]x[/]" in said and "\x1b" not in said


def test_a_question_asked_in_the_background_stops_nobody() -> None:
    """A process of the background that reads its terminal is stopped by SIGTTIN; the answer is none instead."""
    ours, theirs = pty.openpty()
    path = os.pathsep.join(path for path in sys.path if path)
    begun = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n{BACKGROUND}"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        os.write(ours, b"all\n")
        said, _ = begun.communicate(timeout=60)
    finally:
        begun.kill()
        begun.wait()
        os.close(ours)
        os.close(theirs)
    assert said == b"answer None."
