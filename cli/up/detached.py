"""`mesh up --detach`, both ends: the shell that waits and shows, and the supervisor that tells it over a pipe."""

import json
import os
import sys

from cli.exits import CommandFailed, ExitCode
from cli.up.options import UpRequest
from cli.up.run import run_up
from cli.up.view import AnnouncedView, LogView, View, Views, relay
from supervisor.detach import ANNOUNCE_VARIABLE, Announcer, Detached, start_detached
from supervisor.home import MeshHome
from supervisor.python_process import python_environment, run_module
from supervisor.unit import StartFailed


def is_announced() -> bool:
    """True in the detached supervisor."""
    return ANNOUNCE_VARIABLE in os.environ


def start(home: MeshHome, view: View) -> Detached:
    """Runs this very command in a session of its own; returns when it is up. Raises CommandFailed."""
    environment = python_environment(os.environ)
    argv = run_module("cli.main", *sys.argv[1:])
    try:
        return start_detached(home, argv, environment, lambda text: relay(text, view))
    except StartFailed as failed:
        raise _told(str(failed)) from None


def run_announced(home: MeshHome, request: UpRequest) -> None:
    """The detached supervisor's whole life."""
    announcer = Announcer(os.environ)
    os.environ.pop(ANNOUNCE_VARIABLE, None)
    view = Views(AnnouncedView(announcer), LogView(home.log_file("supervisor")))
    try:
        run_up(home, request, view, announcer)
    except BaseException as error:
        from cli.faults import in_words  # knows the failures of every library, and loads them for it

        failed = in_words(error) or CommandFailed(f"{type(error).__name__}: {error}")
        announcer.failed(json.dumps([failed.message, failed.advice, int(failed.code)]))
        raise


def _told(text: str) -> CommandFailed:
    """The supervisor's own words; or, when it died without any, what its log ends with."""
    try:
        message, advice, code = json.loads(text)
    except ValueError:
        return CommandFailed(text)
    return CommandFailed(message, advice, ExitCode(code))
