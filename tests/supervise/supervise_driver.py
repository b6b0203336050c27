"""A supervisor to be killed: runs the units a JSON plan names, in a process of its own, until told to stop.

usage: supervise_driver.py HOME PLAN. A plan lists {name, argv, depends_on?, stop_order?, run_once?, parks?, grace?} or
{name, postgres, settings?}; a unit is ready when {ready?, ca?} answers by HTTPS, and is asked whether it lives at {grpc?} or
{http?}, by the policy of {name: "liveness", ...}. With {name: "template", modules} units that say {forked: true} come from a
template, and {env?, cwd?} are theirs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from supervisor.answers import GrpcAnswers, HttpAnswers
from supervisor.detach import Announcer
from supervisor.embedded_postgres import EmbeddedPostgres, PostgresSettings
from supervisor.forking import ForkLauncher
from supervisor.home import MeshHome
from supervisor.instance import AlreadyRunning, clear_leftovers, hold_instance
from supervisor.keeper import Event
from supervisor.liveness import LivenessPolicy, LivenessProbe
from supervisor.postgres_unit import PostgresUnit
from supervisor.probes import http_ok
from supervisor.processes import InstanceMark
from supervisor.readiness import always_ready
from supervisor.supervisor import Supervisor, stop_on_signals
from supervisor.unit import ProcessSpec, ProcessUnit, StartFailed, Unit

TEMPLATE, LIVENESS = "template", "liveness"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def make_template(home: MeshHome, run_id: str, plan: list[dict[str, object]]) -> ForkLauncher:
    modules = [str(module) for raw in plan if raw["name"] == TEMPLATE for module in raw["modules"]]  # type: ignore[attr-defined]
    mark = InstanceMark(str(home.root), run_id)
    return ForkLauncher(modules, dict(os.environ), home.log_file(TEMPLATE), mark)


def probe_of(raw: dict[str, object]) -> LivenessProbe | None:
    if "grpc" in raw:
        return GrpcAnswers(str(raw["grpc"]), "live")
    return HttpAnswers(str(raw["http"])) if "http" in raw else None


def policy_of(plan: list[dict[str, object]]) -> LivenessPolicy | None:
    for raw in plan:
        if raw["name"] == LIVENESS:
            return LivenessPolicy(**{name: value for name, value in raw.items() if name != "name"})  # type: ignore[arg-type]
    return None


def make_unit(home: MeshHome, run_id: str, template: ForkLauncher, raw: dict[str, object]) -> Unit:
    name = str(raw["name"])
    if raw.get("postgres"):
        settings = PostgresSettings(**raw.get("settings", {}))  # type: ignore[arg-type]
        return PostgresUnit(EmbeddedPostgres(home.postgres, home.log_file(name), "mesh", settings), name)
    spec = ProcessSpec(
        name=name,
        argv=tuple(raw["argv"]),  # type: ignore[arg-type]
        env={**os.environ, **raw.get("env", {})},  # type: ignore[dict-item]
        cwd=Path(str(raw["cwd"])) if "cwd" in raw else None,
        depends_on=tuple(raw.get("depends_on", ())),  # type: ignore[arg-type]
        stop_order=int(raw.get("stop_order", 0)),  # type: ignore[call-overload]
        run_once=bool(raw.get("run_once", False)),
        stop_grace_seconds=float(raw.get("grace", 3.0)),  # type: ignore[arg-type]
        alive=probe_of(raw),
        ready=http_ok(str(raw["ready"]), Path(str(raw["ca"]))) if "ready" in raw else always_ready,
        parks=bool(raw.get("parks", True)),
    )
    mark = InstanceMark(str(home.root), run_id)
    return ProcessUnit(spec, home.log_file(name), mark, template if raw.get("forked") else None)


async def supervise(home: MeshHome, plan: list[dict[str, object]], announcer: Announcer) -> None:
    def report(event: Event) -> None:
        say(f"{event.kind} {event.service} {event.detail}")
        announcer.progress(f"{event.kind} {event.service}")

    async def on_ready() -> None:
        say("all ready")
        announcer.ready("all ready")

    with hold_instance(home) as run_id:
        clear_leftovers(home)
        template = make_template(home, run_id, plan)
        units = [make_unit(home, run_id, template, raw) for raw in plan if raw["name"] not in (TEMPLATE, LIVENESS)]
        labels, liveness = {"market": "simulated"}, policy_of(plan)
        supervisor = Supervisor(home, run_id, units, labels=labels, on_event=report, liveness=liveness)
        stop = asyncio.Event()
        stop_on_signals(stop, supervisor)
        with template if any(raw["name"] == TEMPLATE for raw in plan) else nullcontext():
            await supervisor.run(stop, on_ready)


def main() -> None:
    announcer = Announcer(os.environ)
    try:
        plan = json.loads(Path(sys.argv[2]).read_text())
        asyncio.run(supervise(MeshHome.at(sys.argv[1]), plan, announcer))
    except (StartFailed, AlreadyRunning) as error:
        announcer.failed(str(error))
        sys.exit(str(error))


if __name__ == "__main__":
    main()
