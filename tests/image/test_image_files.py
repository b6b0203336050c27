"""The files that make the image and the compose file say what they should: what gets in, who runs, what is read."""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from cli.effective import settings_class
from tests.istio.manifests import overlay, pod_of, workloads
from tools.image_packages import PARTS, TESTS_IN, UNUSED
from tradekit.services import PAGE_PORT, SERVICES

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
IGNORE = [line for line in (ROOT / ".containerignore").read_text().splitlines() if line and not line.startswith("#")]


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of a kind, each on one line."""
    text = CONTAINERFILE.replace("\\\n", " ")
    return [" ".join(line.split()[1:]) for line in text.splitlines() if line.split()[:1] == [name]]


def gets_in(path: str) -> bool:
    """Whether a file is part of what the image is built from: the last pattern that fits it or a folder above it decides."""
    parts = path.split("/")
    places = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    inside = True
    for line in IGNORE:
        pattern = line.removeprefix("!").removeprefix("**/")
        names = parts if "**/" in line else places
        if pattern == "*" or any(fnmatch.fnmatchcase(one, pattern) for one in names):
            inside = line.startswith("!")
    return inside


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    command = [hadolint, "--no-color", str(ROOT / "Containerfile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout + done.stderr == ""


def test_what_is_copied_is_there_and_gets_in() -> None:
    sources = [part for line in instructions("COPY") if "--from=" not in line for part in line.split()[:-1]]
    assert "." in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source == "." or gets_in(source), source


def test_the_program_gets_in_and_nothing_else_does() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = [
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if any(fnmatch.fnmatch(path.parent.name, one) for one in wanted)
    ]
    assert len(packages) >= 19
    for package in packages:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert gets_in(path.relative_to(ROOT).as_posix()), path
    assert gets_in("gen/python/trading/__init__.py")
    for path in (
        "tests/conftest.py",
        ".venv/bin/python",
        ".git/config",
        ".mesh/keys/ticket_private.pem",
        "node_modules/x",
        "gen/go/x.go",
    ):
        assert not gets_in(path), path
    for path in (
        "docs/live.md",
        "bench/features.py",
        "tools/pythons.py",
        "istio/base/config.yaml",
        "risk.env",
        "meshkit/__pycache__/a.pyc",
    ):
        assert not gets_in(path), path


def test_it_runs_as_nobody_in_particular_and_is_one_process() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert instructions("ADD") == []
    (entry,) = instructions("ENTRYPOINT")
    assert re.findall(r'"([^"]+)"', entry) == [
        "/usr/local/bin/tini",
        *("--", "/opt/trading-mesh/.venv/bin/python", "-P", "-m", "cluster.entry"),
    ]
    (base,) = [line for line in instructions("ARG") if line.startswith("BASE=")]
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.\d+-slim-[a-z]+", base)
    assert instructions("FROM") == ["${BASE} AS build", "${BASE}"]
    # The account that the manifests name is the one that the image has.
    pods = [pod_of(workload) for name in ("dev", "staging", "prod") for workload in workloads(overlay(name)).values()]
    assert {pod["securityContext"]["runAsUser"] for pod in pods} == {10001}


def test_machine_code_is_made_for_the_machine_that_it_is_loaded_on() -> None:
    """An index of numba's names the processor; made for one and asked for by another, it would be made anew at each start."""
    made, loaded = CONTAINERFILE.split("\nFROM ")[1:]
    assert "NUMBA_CPU_NAME=generic" in made
    assert "NUMBA_CPU_NAME=generic" in loaded
    assert "modelkit.features.translate" in made


def test_what_is_taken_away_is_what_is_installed() -> None:
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements" / "run.lock").read_text(), flags=re.M))
    assert set(UNUSED) - {"pip"} <= locked
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    assert [pattern for pattern in PARTS if not list(site.glob(pattern))] == []
    assert all((site / package).is_dir() for package in TESTS_IN)


def test_compose_knows_the_file() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    parsed = compose_spec.PyCompose.from_yaml((ROOT / "compose.yaml").read_text())
    assert set(parsed.service_names()) == {"database", "mesh"}
    parsed.validate()


def test_compose_shows_this_machine_alone_what_it_should() -> None:
    database, mesh = COMPOSE["services"]["database"], COMPOSE["services"]["mesh"]
    assert "ports" not in database
    assert mesh["ports"] == [f"127.0.0.1:{PAGE_PORT}:{PAGE_PORT}"]
    assert mesh["read_only"] is True
    assert mesh["cap_drop"] == ["ALL"]
    assert database["image"] == "docker.io/library/postgres:18"
    # Volumes of this major version are mounted one folder higher than before.
    assert database["volumes"] == ["database:/var/lib/postgresql"]
    assert set(COMPOSE["volumes"]) == {"database", "mesh"}
    assert re.fullmatch(r"trading-mesh:[0-9.]+", mesh["image"])


def test_compose_sets_variables_that_are_read_and_fit() -> None:
    mesh, database = COMPOSE["services"]["mesh"], COMPOSE["services"]["database"]
    given = {name: str(value) for name, value in mesh["environment"].items()}
    for service in SERVICES:
        known = {name.upper() for name in settings_class(service).model_fields}
        assert set(given) <= known
    assert given["DB_NAME"] == database["environment"]["POSTGRES_DB"]
    assert given["DB_USER"] == database["environment"]["POSTGRES_USER"]
    assert given["DB_PASSWORD"] == database["environment"]["POSTGRES_PASSWORD"]
    # Tokens would travel in clear text, and are refused on such an address.
    assert "--mtls" in mesh["command"]


def test_it_is_given_the_time_that_a_stop_takes() -> None:
    assert COMPOSE["services"]["mesh"]["stop_grace_period"] == "100s"
