"""The README is executed: its tour runs by `sh` against a live mesh, its `mesh` commands and its links exist."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import typer.main
from google.protobuf import json_format, message_factory

from tests.contracts.contract_walk import methods
from tradekit.services import SERVICES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
# Exit codes of grpcurl are 64 and the gRPC status.
DEADLINE_EXCEEDED, INVALID_ARGUMENT, UNAVAILABLE, UNAUTHENTICATED = 64 + 4, 64 + 3, 64 + 14, 64 + 16
SERVICE_OF_PORT = {service.port: service for service in SERVICES}
READY_SECONDS = 60.0
# The first test that asks for it waits for a whole mesh to come up, a model to be trained included.
pytestmark = pytest.mark.timeout(1200)


class RunningMesh(Protocol):
    """What the fixture `running_mesh` gives: its folder, and the gRPC port of each service by its name."""

    home: Path
    ports: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tour and how it is expected to end: `answered`, `watch`, `refused` or `unknown`."""

    command: str
    ending: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command)

    @property
    def port(self) -> int:
        return int(next(word for word in self.words if word.startswith("127.0.0.1:")).partition(":")[2])

    @property
    def symbol(self) -> str:
        return self.words[-1]

    @property
    def body(self) -> Any:
        words = self.words
        return json.loads(words[words.index("-d") + 1]) if "-d" in words else {}


def tour() -> list[Step]:
    """Every command of the blocks marked `tour`."""
    blocks = re.findall(r"^```sh tour *(\w*)\n(.*?)^```$", README, flags=re.M | re.S)
    return [Step(line, ending or "answered") for ending, text in blocks for line in text.strip().splitlines()]


STEPS = tour()
SETUP = "\n".join(re.findall(r"^```sh setup\n(.*?)^```$", README, flags=re.M | re.S))
CALLS = [step for step in STEPS if "/" in step.symbol and not step.symbol.startswith("grpc.")]


def grpcurl() -> str:
    """The one beside the interpreter, else the one on PATH."""
    own = Path(sys.executable).with_name("grpcurl")
    found = str(own) if own.exists() else shutil.which("grpcurl")
    if found is None:
        pytest.skip("grpcurl is not installed")
    return found


def run(step: Step, mesh: RunningMesh) -> subprocess.CompletedProcess[str]:
    port = mesh.ports[SERVICE_OF_PORT[step.port].name]
    command = step.command.replace(f" 127.0.0.1:{step.port} ", f" 127.0.0.1:{port} ")
    assert step.words[0] in ("grpcurl", "call")
    env = {"PATH": f"{Path(grpcurl()).parent}:/usr/bin:/bin", "MESH_HOME": str(mesh.home)}
    argv = ["sh", "-c", f"{SETUP}\n{command}"]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.ending}-{step.symbol.rpartition('.')[2]}")
def test_tour(step: Step, running_mesh: RunningMesh) -> None:
    give_up = time.monotonic() + READY_SECONDS
    done = run(step, running_mesh)
    # A mesh that has just come up may still wait for its first bar; and a busy machine for its turn, while a watch is open.
    while done.returncode == UNAVAILABLE or (step.ending == "watch" and not done.stdout):
        if time.monotonic() > give_up:
            break
        time.sleep(0.5)
        done = run(step, running_mesh)
    told = f"{step.command}\n{done.stdout}{done.stderr}"
    if step.ending == "watch":
        assert done.returncode == DEADLINE_EXCEEDED, told
        assert '"batch"' in done.stdout, told
    elif step.ending == "unknown":
        assert done.returncode == UNAUTHENTICATED, told
        assert "operator.token" in done.stderr, told
    elif step.ending == "refused":
        assert done.returncode == INVALID_ARGUMENT, told
        for field in step.body:
            assert field in done.stderr, told
    else:
        assert done.returncode == 0, told
        assert done.stdout.strip(), told


def test_the_same_recommendation_twice_is_one_recommendation(running_mesh: RunningMesh) -> None:
    step = next(step for step in STEPS if step.symbol.endswith("CreateRecommendation"))
    ids = set()
    for _ in range(2):
        done = run(step, running_mesh)
        assert done.returncode == 0, done.stderr
        ids.add(json.loads(done.stdout)["record"]["recommendation"]["recommendationId"])
    assert len(ids) == 1


def test_the_tour_lists_describes_calls_every_service_and_watches() -> None:
    assert {SERVICE_OF_PORT[step.port].full_name for step in CALLS} == {service.full_name for service in SERVICES}
    words = [word for step in STEPS for word in step.words]
    assert {"list", "describe"} <= set(words)
    assert {step.ending for step in STEPS} == {"answered", "watch", "refused", "unknown"}
    # Blocks outside of the tour hold no call that nothing would execute.
    assert README.count("\ngrpcurl ") + README.count("\ncall ") == len(STEPS)


@pytest.mark.parametrize("step", CALLS, ids=lambda step: step.symbol.rpartition("/")[2])
def test_calls_fit_the_contracts(step: Step) -> None:
    method = next(m for m in methods() if f"{m.containing_service.full_name}/{m.name}" == step.symbol)
    assert SERVICE_OF_PORT[step.port].full_name == method.containing_service.full_name
    json_format.ParseDict(step.body, message_factory.GetMessageClass(method.input_type)())


def test_mesh_commands_of_the_docs_exist_with_their_options() -> None:
    from cli.main import app

    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    pages = README + "".join((ROOT / "docs" / name).read_text() for name in ("operations.md", "architecture.md"))
    named = re.findall(r"(?:`|^|= )(?:[A-Z_]+=\S+ )*mesh ([a-z]+)([^`\n]*)", pages, flags=re.M)
    assert len(named) > 10
    for name, rest in named:
        assert name in commands, f"mesh {name}"
        command = commands[name]
        if isinstance(command, typer.core.TyperGroup):
            word = rest.split()[0]
            assert word in command.commands, f"mesh {name} {word}"
            command = command.commands[word]
        options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        asked = set(re.findall(r"--[a-z-]+", rest))
        assert asked <= options, f"mesh {name} {asked - options}"


def test_links_and_make_targets_of_the_docs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in [ROOT / "README.md", ROOT / "istio" / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text()
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for target in re.findall(r"(?:`|^)make ([a-z]+)", text, flags=re.M):
            assert re.search(rf"^{target}:", makefile, flags=re.M), f"{page.name}: make {target}"


def test_variables_of_the_readme_exist() -> None:
    known = set(re.findall(r"`([A-Z_0-9]+)`", (ROOT / "docs" / "configuration.md").read_text()))
    table = README.split("## Configuration")[1].split("\n\n")[2]
    named = {name for row in table.splitlines() for name in re.findall(r"`([A-Z_0-9]+)`", row.split("|")[1])}
    assert {"PRODUCTS", "DB_HOST", "OLLAMA_HOST"} <= named
    assert named - known <= {"MESH_HOME"}
