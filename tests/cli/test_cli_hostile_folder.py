"""A folder full of files named like modules of Python and of this program: none of them is run by a command started there."""

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from supervisor.python_process import PYTHONPATH, ROOT
from tools.link_project import link

HOSTILE = (
    *sorted(path.parent.name for path in ROOT.glob("*/__init__.py")),
    *("trading", "google", "grpc", "pydantic", "typer", "rich", "numpy", "asyncpg", "psutil", "structlog"),
    *("asyncio", "json", "random", "typing", "ssl", "socket", "subprocess", "sitecustomize", "usercustomize"),
)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in HOSTILE:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\nraise SystemExit(9)\n"
        )
    return folder


def launcher(folder: Path) -> Path:
    """`mesh` as the installation writes it, beside a Python that is the one of this test."""
    folder.mkdir()
    with (ROOT / "pyproject.toml").open("rb") as file:
        link(folder, folder, tomllib.load(file)["project"]["scripts"])
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder / "mesh"


def test_nothing_of_the_folder_it_is_started_in_is_run(tmp_path: Path, hostile: Path) -> None:
    """The command itself, then the supervisor that it starts, which gets as far as a port that is taken, and its reaper."""
    mesh = launcher(tmp_path / "bin")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {**kept, "MESH_HOME": str(tmp_path / "home"), "MARKET_PORT": port}
        for words, code, said in (
            (("config",), 0, "MONITOR_PAGE_PORT"),
            (("up", "--detach"), 2, port),
        ):
            done = subprocess.run(
                [mesh, *words], cwd=hostile, env=environment, capture_output=True, text=True, timeout=3000, check=False
            )
            assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
            assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    reaper = (
        "import time; from pathlib import Path; from supervisor.reaper import Reaper; "
        "from supervisor.home import MeshHome\n"
        f"reaper = Reaper(MeshHome.at({str(tmp_path / 'home')!r}), 'x')\ntime.sleep(0.5)\n"
        "assert reaper._process.poll() is None\nreaper.dismiss()"
    )
    paths = {"PYTHONPATH": PYTHONPATH}
    subprocess.run([sys.executable, "-P", "-c", reaper], cwd=hostile, env={**kept, **paths}, timeout=300, check=True)
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_no_process_is_started_without_this_care() -> None:
    started = re.compile(r"sys\.executable,\s*(\S+)")
    found = [
        (str(path.relative_to(ROOT)), after)
        for package in ROOT.glob("*/__init__.py")
        if package.parent.name not in ("tests", "bench")
        for path in package.parent.rglob("*.py")
        for after in started.findall(path.read_text())
    ]
    assert found and all(after in ('"-P",', '"-I",') for _, after in found), found
