"""Services forked from a template: each is what executing it would have made, shares memory, and does not depend on it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from supervisor.processes import marked_processes
from supervisor.python_process import ROOT, run_module

if TYPE_CHECKING:
    from tests.supervise.conftest import Mesh

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere services are executed")

WORKER = "tests.supervise.forked_worker"
TEMPLATE: dict[str, object] = {"name": "template", "modules": [WORKER]}


def worker(name: str, *arguments: str, forked: bool = True, **more: object) -> dict[str, object]:
    return {"name": name, "argv": run_module(WORKER, *arguments), "forked": forked, **more}


def said_by(mesh: Mesh, name: str) -> Any:
    mesh.wait_until(lambda: mesh.log_of(name).endswith("\n"))
    return json.loads(mesh.log_of(name).splitlines()[0])


def templates(mesh: Mesh) -> list[psutil.Process]:
    """Waits for none: a service still has the template's command line for a moment."""
    found = [each for each in marked_processes(str(mesh.home.root)) if "supervisor.template" in each.cmdline()]
    return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]


def is_forked(mesh: Mesh, name: str) -> bool:
    """Its first environment is the template's, which lacks what only the unit's has."""
    return "ONLY_ITS_OWN" not in psutil.Process(mesh.pid_of(name)).environ()


def test_a_forked_service_is_what_an_executed_one_is(mesh: Mesh, tmp_path: Path) -> None:
    more: dict[str, Any] = {"env": {"ONLY_ITS_OWN": "\udce4 value"}, "cwd": str(tmp_path)}
    both = [
        worker("forked", "report", "two words", **more),
        worker("executed", "report", "two words", forked=False, **more),
    ]
    supervisor = mesh.up_and_ready([TEMPLATE, *both, worker("sibling", "report")])
    forked, executed = said_by(mesh, "forked"), said_by(mesh, "executed")
    assert forked == executed
    assert forked["argv"][1:] == ["report", "two words"]
    assert forked["main"] == [WORKER, str(ROOT / "tests/supervise/forked_worker.py"), "tests.supervise", "__main__"]
    assert forked["parent"] == supervisor.pid
    assert forked["cwd"] == str(tmp_path)
    open_ones = {number: target for number, target in forked["descriptors"].items() if target}
    assert open_ones == {"0": "/dev/null", "1": "pipe:", "2": "pipe:"}
    expected = {**mesh.environment(), **more["env"], "MESH_SUPERVISED_BY": forked["env"]["MESH_SUPERVISED_BY"]}
    assert forked["env"] == expected
    assert forked["env"]["MESH_SUPERVISED_BY"].endswith(f"@{mesh.home.root}")
    assert is_forked(mesh, "forked") and not is_forked(mesh, "executed")


def test_a_forked_service_is_known_by_its_name_and_its_mark(mesh: Mesh) -> None:
    mesh.up_and_ready([TEMPLATE, worker("reporting", "report")])
    said_by(mesh, "reporting")
    process = psutil.Process(mesh.pid_of("reporting"))
    assert process.cmdline() == [*run_module(WORKER, "report")]
    assert Path(f"/proc/{process.pid}/comm").read_text().strip() == WORKER[:15]
    assert process.pid in [each.pid for each in marked_processes(str(mesh.home.root))]


def test_ends_are_told_as_of_an_executed_service(mesh: Mesh, tmp_path: Path) -> None:
    ends = {"exit": ["3"], "words": [], "raise": [], "kill": []}
    end = tmp_path / "end"
    mesh.up_and_ready([TEMPLATE, *(worker(name, name, *rest, str(end)) for name, rest in ends.items())])
    end.touch()
    told = {"exit": "exit code 3", "words": "exit code 1", "raise": "exit code 1", "kill": "killed by SIGKILL"}
    for name, text in told.items():
        mesh.wait_until(lambda name=name, text=text: mesh.service(name).last_exit == text)  # type: ignore[misc]
    assert "said at exit" in mesh.log_of("exit")
    assert mesh.log_of("words").startswith("these words\n")
    assert mesh.log_of("raise").startswith("Traceback (most recent call last):\n")
    assert "LookupError: a defect\n" in mesh.log_of("raise")


def test_siblings_draw_different_numbers(mesh: Mesh) -> None:
    mesh.up_and_ready([TEMPLATE, worker("one", "random"), worker("two", "random")])
    assert all(a != b for a, b in zip(said_by(mesh, "one"), said_by(mesh, "two"), strict=True))


def test_imported_modules_are_in_memory_once(mesh: Mesh) -> None:
    mesh.up_and_ready([{"name": "template", "modules": [WORKER, "meshkit.serve"]}, worker("one", "report")])
    said_by(mesh, "one")
    rollup = Path(f"/proc/{mesh.pid_of('one')}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in rollup}
    assert kilobytes["Shared_Dirty"] > 30_000
    assert kilobytes["Private_Dirty"] < kilobytes["Shared_Dirty"] / 5


def test_template_and_services_die_with_a_killed_supervisor_even_without_the_reaper(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([TEMPLATE, worker("one", "report"), worker("two", "report")])
    said_by(mesh, "one"), said_by(mesh, "two")
    assert len(templates(mesh)) == 1
    for child in psutil.Process(supervisor.pid).children():
        if "supervisor.reaper" in child.cmdline():
            child.kill()
    supervisor.kill()
    supervisor.wait()
    mesh.wait_until(lambda: not marked_processes(str(mesh.home.root)))


def test_template_and_services_end_with_a_stopped_supervisor(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([TEMPLATE, worker("one", "report")])
    supervisor.terminate()
    assert supervisor.wait(timeout=120) == 0
    assert not marked_processes(str(mesh.home.root))


def test_services_outlive_a_killed_template_and_are_forked_again_from_a_new_one(mesh: Mesh) -> None:
    only: dict[str, Any] = {"env": {"ONLY_ITS_OWN": "1"}}
    mesh.up_and_ready([TEMPLATE, worker("one", "report", **only), worker("two", "report", **only)])
    said_by(mesh, "one"), said_by(mesh, "two")
    one, two = mesh.pid_of("one"), mesh.pid_of("two")
    (template,) = templates(mesh)
    template.kill()
    mesh.wait_until(lambda: mesh.gone(template.pid))
    os.kill(one, 9)
    mesh.wait_until(lambda: mesh.ready_pid("one") not in (None, one))
    assert mesh.service("one").last_exit == "killed by SIGKILL"
    assert is_forked(mesh, "one")
    assert mesh.ready_pid("two") == two
    mesh.wait_until(lambda: len(templates(mesh)) == 1)


def test_what_a_template_cannot_give_is_executed(mesh: Mesh) -> None:
    """An environment that matters at import, a program that is no module, a template that will not come up."""
    own = {"ONLY_ITS_OWN": "1"}
    mesh.up_and_ready(
        [
            TEMPLATE,
            worker("same", "report", env=own),
            worker("other", "report", env={**own, "PYTHONUTF8": "1"}),
            {"name": "sleeper", "argv": mesh.SLEEPER, "env": own, "forked": True},
        ]
    )
    assert [is_forked(mesh, name) for name in ("same", "other", "sleeper")] == [True, False, False]


def test_without_a_template_services_are_executed(mesh: Mesh) -> None:
    threaded = {"name": "template", "modules": [WORKER, "tests.supervise.thread_at_import"]}
    mesh.up_and_ready([threaded, worker("one", "report", env={"ONLY_ITS_OWN": "1"})])
    assert said_by(mesh, "one")["argv"][1:] == ["report"]
    assert not is_forked(mesh, "one")
    assert "starts a thread when it is imported" in mesh.log_of("template")
    assert not templates(mesh)


def test_a_restarted_service_runs_what_is_installed_now(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    program = tmp_path / "changing.py"
    text = "import time\nif __name__ == '__main__':\n    print('{}', flush=True)\n    time.sleep(600)\n"
    program.write_text(text.format("old"))
    unit = {"name": "one", "argv": run_module("changing"), "forked": True, "env": {"ONLY_ITS_OWN": "1"}}
    mesh.up_and_ready([{"name": "template", "modules": ["changing"]}, unit])
    mesh.wait_until(lambda: mesh.log_of("one") == "old\n")
    first = mesh.pid_of("one")
    program.write_text(text.format("newer"))
    os.kill(first, 9)
    mesh.wait_until(lambda: mesh.log_of("one") == "old\nnewer\n")
    assert mesh.pid_of("one") != first
    assert is_forked(mesh, "one")


def test_a_stop_does_not_wait_for_a_template_that_still_imports(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "slow.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(600)\n")
    supervisor = mesh.up([{"name": "template", "modules": ["slow"]}, worker("one", "report")])
    mesh.wait_until(lambda: "importing" in mesh.log_of("template") and "starting one" in mesh.text())
    supervisor.terminate()
    assert supervisor.wait(timeout=60) == 0
    assert not marked_processes(str(mesh.home.root))
