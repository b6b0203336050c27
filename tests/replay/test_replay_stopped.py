"""A replay that is told to stop takes its processes and its database with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from mesh_runs import ROOT, environment

from cli.supervise.state import Status, read_state

LIMIT_SECONDS = 120


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
            if str(folder) in " ".join([*(process.info["cmdline"] or ()), *process.environ().values()]):
                found.append(" ".join(process.info["cmdline"] or ()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_sigterm_ends_a_replay_with_everything_it_started(candle_file: Path, tmp_path: Path):
    tmp_path.chmod(0o755)
    env, _, _ = environment(tmp_path)
    words = ("--products", "BTC-USD,ETH-USD,SOL-USD", "--from", "2025-01-11", "--to", "2025-01-12")
    argv = [sys.executable, "-m", "cli.main", "replay", str(candle_file), *words, "--profile", "exercise"]
    with subprocess.Popen(argv, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        folder = until_market_is_ready(tmp_path)
        os.kill(run.pid, signal.SIGTERM)
        said, _ = run.communicate(timeout=LIMIT_SECONDS)
    assert run.returncode != 0
    assert "stopped before its end" in said
    assert "Traceback" not in said
    assert of_folder(folder) == []
