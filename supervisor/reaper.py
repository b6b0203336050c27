"""The last one out: waits for the supervisor to end, by whatever cause, and kills what it left running.

It holds one end of a pipe and does nothing until the other end closes. A byte before that means an orderly
end. This covers what the kernel's parent-death signal does not: other systems than Linux, and
grandchildren.
"""

from __future__ import annotations

import os
import subprocess
import sys

from supervisor.home import MeshHome
from supervisor.processes import MARK, sweep
from supervisor.python_process import python_environment, run_module
from supervisor.state import read_state

_FAREWELL = b"q"


class Reaper:
    """The supervisor's side: start it before the first child, dismiss it after the last."""

    def __init__(self, home: MeshHome, run_id: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        self._process = subprocess.Popen(
            run_module("supervisor.reaper", str(home.root), run_id),
            env=python_environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_FAREWELL)
            self._process.stdin.close()
            self._process.wait(timeout=3)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()


def main() -> None:
    home, run_id = MeshHome.at(sys.argv[1]), sys.argv[2]
    if os.read(0, 1):
        return
    state = read_state(home.state_file)
    recorded = state.children if state is not None and state.run_id == run_id else ()
    sweep(str(home.root), recorded, run_id)


if __name__ == "__main__":
    main()
