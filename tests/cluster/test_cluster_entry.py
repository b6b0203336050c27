"""The entry of the image: each name is a process, and what it starts is the process itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.entry import module_of
from supervisor.python_process import ROOT, python_environment
from tradekit.services import SERVICES


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "cluster.entry", *arguments]
    env = python_environment({"PATH": "/usr/bin:/bin"})
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=120, check=False)


def test_every_service_and_the_jobs_are_processes() -> None:
    assert {service.name: module_of(service.name) for service in SERVICES} == {
        one.name: one.package for one in SERVICES
    }
    for name in ("exchange_sim", "mesh", "migrate", "train", "keys", "own-key", "postgres"):
        module = module_of(name)
        assert module is not None
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("name", ["", "nobody", "../risk", "risk.service", "svc_risk"])
def test_a_name_of_nobody_is_told_what_there_is(name: str) -> None:
    assert module_of(name) is None
    found = run(name)
    assert found.returncode == 64
    assert "is no process of this image" in found.stderr
    assert "exchange_sim" in found.stderr


def test_a_key_becomes_a_file_of_its_reader(tmp_path: Path) -> None:
    source, target = tmp_path / "secret.pem", tmp_path / "own.pem"
    source.write_text("a key")
    source.chmod(0o440)
    assert run("own-key", str(source), str(target)).returncode == 0
    assert target.read_text() == "a key"
    assert target.stat().st_mode & 0o777 == 0o600
    failed = run("own-key", str(tmp_path / "nothing"), str(target))
    assert failed.returncode == 1
    assert "cannot be copied" in failed.stderr


def test_the_process_is_the_module_itself() -> None:
    """A service that lacks its settings says so with its own exit code."""
    found = run("risk")
    assert found.returncode == 2
    assert "TICKET_SIGNING_KEY_FILE is not set" in found.stderr
