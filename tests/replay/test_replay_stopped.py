"""A stopped replay ends its processes and its database; the next command cleans up after a killed one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from mesh_runs import ROOT, environment, run_mesh

from cli.replay.orphans import orphans
from supervisor.state import Status, read_state

LIMIT_SECONDS = 600


def until_market_is_ready(home: Path) -> Path:
    """The replay's own folder, once it has a market, a database and an exchange to leave behind."""
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        for file in home.glob("replays/*/run/state.json"):
            state = read_state(file)
            ready = {one.name for one in state.services if one.status is Status.READY} if state else set()
            if {"market", "postgres", "exchange_sim"} <= ready:
                return file.parents[1]
        time.sleep(0.1)
    raise TimeoutError("the replay did not start")


def of_folder(folder: Path) -> list[str]:
    """Command lines of living processes that belong to a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            # The database is started inside its folder, so its command line does not name it.
            words = [*(process.info["cmdline"] or ()), *process.environ().values(), process.cwd()]
            if str(folder) in " ".join(words):
                found.append(" ".join(process.info["cmdline"] or ()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def gone(folder: Path) -> bool:
    """Whether nothing of a folder lives. Its reaper, which works beside the command, may take a moment longer."""
    end = time.monotonic() + 120
    while of_folder(folder) and time.monotonic() < end:
        time.sleep(0.1)
    return of_folder(folder) == []


@contextmanager
def replaying(candle_file: Path, home: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A replay in the middle of its work, and its own folder."""
    home.chmod(0o755)
    words = ("--products", "BTC-USD,ETH-USD,SOL-USD", "--from", "2025-01-11", "--to", "2025-01-12")
    argv = [sys.executable, "-m", "cli.main", "replay", str(candle_file), *words, "--profile", "exercise"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(argv, env=environment(home)[0], cwd=ROOT, **streams) as run:
        try:
            yield run, until_market_is_ready(home)
        finally:
            run.kill()


def test_sigterm_ends_a_replay_with_everything_it_started(candle_file: Path, tmp_path: Path):
    with replaying(candle_file, tmp_path) as (run, folder):
        os.kill(run.pid, signal.SIGTERM)
        said, _ = run.communicate(timeout=LIMIT_SECONDS)
    assert run.returncode != 0
    assert "stopped before its end" in said
    assert "Traceback" not in said
    assert of_folder(folder) == []
    assert orphans(tmp_path) == [] and folder.is_dir(), "its logs are kept"


def test_what_a_killed_replay_leaves_is_ended_by_the_next_command(candle_file: Path, tmp_path: Path):
    with replaying(candle_file, tmp_path) as (run, folder):
        assert orphans(tmp_path) == [], "its owner lives"
        run.kill()
        run.communicate(timeout=LIMIT_SECONDS)
    assert any("postgres" in command for command in of_folder(folder))
    done = run_mesh(environment(tmp_path)[0], "down", seconds=LIMIT_SECONDS)
    assert done.returncode == 0
    assert f"{folder.name} was killed" in " ".join(done.stdout.split()) and "database stopped" in done.stdout
    assert not folder.exists()
    assert gone(folder), of_folder(folder)
    assert folder.name not in run_mesh(environment(tmp_path)[0], "down", seconds=LIMIT_SECONDS).stdout
