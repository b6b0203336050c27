"""A service of the mesh as a process of its own."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil


class Service:
    """A service as a process, and its log."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=out, stderr=out)

    def processor_seconds(self) -> float:
        spent = psutil.Process(self._process.pid).cpu_times()
        return float(spent.user + spent.system)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def bars(self) -> dict[str, dict[str, Any]]:
        """The signal service's log line of each decided bar, by its as_of."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return {line["as_of"]: line for line in lines if line.get("event") == "bar_decided"}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
