"""A service that is asked to end while it starts ends at once, whatever it is doing: also as the first process of a container."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from supervisor.keys import ensure_keys
from supervisor.python_process import python_environment, run_module

# What is killed by SIGTERM before it serves, as told by the kernel and by tini; a service drains and gives 0.
KILLED, DRAINED = {-signal.SIGTERM, 128 + signal.SIGTERM}, 0
# No start takes longer, however busy the machine is.
LONGEST_START_SECONDS = 60.0


def environment(folder: Path) -> dict[str, str]:
    """Of a risk engine whose database is away: it starts, and waits for it."""
    return python_environment(
        {
            "PATH": os.environ["PATH"],
            "TICKET_SIGNING_KEY_FILE": str(ensure_keys(folder / "keys").ticket_private),
            "RISK_PORT": "0",
            "DB_HOST": str(folder),
            "DRAIN_SECONDS": "0",
        }
    )


def ended_after(command: tuple[str, ...], env: dict[str, str], wait: float, first: bool) -> tuple[int, float]:
    """Exit code and seconds from the signal to the end; `first`: it goes to the child, which is first in its own namespace."""
    # A library that was used in this process may have left it blocked, and a child inherits that.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            pid = process.pid if not first else _child(process.pid)
            if "--" in command:  # tini
                _until_it_listens(pid)
            time.sleep(wait)
            asked = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            code = process.wait(30)
            return code, time.monotonic() - asked
        finally:
            process.kill()


def _child(pid: int) -> int:
    """The only child of a process, once it is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if children := psutil.Process(pid).children():
            return children[0].pid
        time.sleep(0.001)
    raise AssertionError("it never began")


def _until_it_listens(pid: int) -> None:
    """Until tini is ready for signals. Before, for a millisecond, the kernel drops them, and nobody can help that.

    It blocks them, which cannot be seen while it waits for one, and then ignores those of a terminal.
    """
    bit, deadline = 1 << (signal.SIGTTOU - 1), time.monotonic() + 30
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        if int(status.partition("SigIgn:")[2].split()[0], 16) & bit:
            return
        time.sleep(0.001)
    raise AssertionError("tini was never ready for signals")


def as_first_process(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command behind tini in a namespace of processes of its own, as the image starts it."""
    tini = shutil.which("tini")
    if tini is None or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, unshare and tini (Debian's package of that name)")
    return ("unshare", "--pid", "--fork", "--kill-child", tini, "--", *command)


@pytest.mark.parametrize(("first", "step"), [(False, 0.25), (True, 0.05)], ids=["as a child", "as the first process"])
def test_it_ends_within_a_second_at_every_moment_of_its_start(tmp_path: Path, first: bool, step: float) -> None:
    env, command = environment(tmp_path), run_module("svc_risk")
    command = as_first_process(command) if first else command
    wait, slow = 0.0, {}
    while wait < LONGEST_START_SECONDS:
        code, seconds = ended_after(command, env, wait, first)
        if code == DRAINED:
            break
        assert code in KILLED, f"{code} when asked after {wait:g} s"
        if seconds > 1.0:
            slow[wait] = seconds
        wait += step
    assert wait < LONGEST_START_SECONDS, "it never served"
    assert slow == {}


def test_a_launcher_that_blocks_the_signal_makes_nobody_deaf(tmp_path: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = subprocess.Popen(run_module("svc_risk"), env=environment(tmp_path), stderr=subprocess.DEVNULL)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    with process:
        try:
            process.terminate()
            assert process.wait(120) == -signal.SIGTERM
        finally:
            process.kill()


def test_without_tini_the_kernel_would_keep_the_signal(tmp_path: Path) -> None:
    """Why it is in the image: the first process of a namespace gets no signal that it has no handler for."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    command = ("unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", "import time; time.sleep(1.5)")
    code, seconds = ended_after(command, environment(tmp_path), 0.3, True)
    assert code == 0
    assert seconds > 0.5
