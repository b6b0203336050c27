"""Trains a model in a process of its own, with progress: quickly before the signal service starts, or thoroughly."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cli.plan import MeshPlan
from cli.steps import StepFailed
from supervisor.python_process import running_module
from tradekit import services
from tradekit.services import TRAINING_ROLE

Progress = Callable[[str, float], None]
TRAIN_SECONDS = 900.0
THOROUGH_SECONDS = 6 * 3600.0
_REFUSED = "refused"
_MODULE, _FILE_MODULE = "training.train_job", "training.report.file_job"


@dataclass(frozen=True, slots=True)
class Thorough:
    """A training with the whole evidence: where the report goes, and how the fits are spread."""

    report: Path
    jobs: int
    backend: str


@dataclass(frozen=True, slots=True)
class FileTraining:
    """Candles of a file, with the taker fee that its account would pay; no key: the model is not signed."""

    file: Path
    products: str
    taker_fee: str
    signing_key: Path | None


async def train_model(
    plan: MeshPlan,
    out: Path,
    until: datetime | None,
    progress: Progress,
    thorough: Thorough | None = None,
    by_version: bool = False,
) -> dict[str, object]:
    """Trains on the instance's stored candles; returns what the job says of its model. Raises StepFailed.

    The model is written to `out`, or to a folder of its version in there.
    """
    environment = {
        **plan.environment_of(services.SIGNAL),
        **plan.database_environment(TRAINING_ROLE),
        "MODEL_OUT": str(out),
        "MODEL_OUT_BY_VERSION": str(by_version).lower(),
        "MODEL_SIGNING_KEY_FILE": str(plan.keys.model_private),
        "DB_TIMEOUT_SECONDS": "60",
    }
    if until is not None:
        environment["TRAIN_UNTIL"] = until.isoformat()
    if thorough is not None:
        environment["REPORT_DIR"] = str(thorough.report)
        environment["TRAIN_JOBS"] = str(thorough.jobs)
        environment["TRAIN_BACKEND"] = thorough.backend
    return await _job((_MODULE,), environment, THOROUGH_SECONDS if thorough else TRAIN_SECONDS, progress)


async def train_from_file(
    training: FileTraining, out: Path, thorough: Thorough, progress: Progress, by_version: bool = False
) -> dict[str, object]:
    """As `train_model`, from a file, with nothing running. Raises StepFailed."""
    arguments = [
        *(_FILE_MODULE, "--file", str(training.file), "--products", training.products),
        *("--report", str(thorough.report), "--model-out", str(out), "--taker-fee", training.taker_fee),
        *("--jobs", str(thorough.jobs), "--backend", thorough.backend),
    ]
    if by_version:
        arguments.append("--by-version")
    if training.signing_key is not None:
        arguments += ["--signing-key", str(training.signing_key)]
    return await _job(arguments, os.environ, THOROUGH_SECONDS, progress)


async def _job(
    arguments: Sequence[str], environment: Mapping[str, str], seconds: float, progress: Progress
) -> dict[str, object]:
    try:
        async with running_module(arguments, environment) as process, asyncio.timeout(seconds):
            said, errors = await asyncio.gather(_follow(process, progress), _read_all(process.stderr))
            code = await process.wait()
    except TimeoutError:
        raise StepFailed(f"training took longer than {seconds:g} s") from None
    if code != 0:
        detail = said.get("detail") or errors.strip()[-2000:] or f"exit code {code}"
        raise StepFailed(f"no model could be trained: {detail}")
    return said


async def _follow(process: asyncio.subprocess.Process, progress: Progress) -> dict[str, object]:
    said: dict[str, object] = {}
    if process.stdout is None:
        return said
    async for line in process.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if said.get("stage") == _REFUSED:
            continue  # told by its detail; as a step it would look like a training that is done
        progress(str(said.get("stage", "")), float(str(said.get("share", 0.0))))
    return said


async def _read_all(stream: asyncio.StreamReader | None) -> str:
    return (await stream.read()).decode(errors="replace") if stream is not None else ""
