"""Sees to it that a model is there before the signal service starts: trains one in a process of its own, with progress."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cli.plan import MeshPlan
from cli.stack import ROOT
from cli.steps import StepFailed
from tradekit import services

Progress = Callable[[str, float], None]
TRAIN_SECONDS = 900.0


async def train_model(plan: MeshPlan, out: Path, until: datetime | None, progress: Progress) -> dict[str, object]:
    """Trains on the instance's stored candles; returns what the job says of its model. Raises StepFailed."""
    environment = {
        **plan.environment_of(services.SIGNAL),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}",
        "MODEL_OUT": str(out),
        "MODEL_SIGNING_KEY_FILE": str(plan.keys.model_private),
        "DB_TIMEOUT_SECONDS": "60",
    }
    if until is not None:
        environment["TRAIN_UNTIL"] = until.isoformat()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "svc_signal.train_job",
        env=environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        async with asyncio.timeout(TRAIN_SECONDS):
            said, errors = await asyncio.gather(_follow(process, progress), _read_all(process.stderr))
            code = await process.wait()
    except TimeoutError:
        raise StepFailed(f"training took longer than {TRAIN_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
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
        progress(str(said.get("stage", "")), float(str(said.get("share", 0.0))))
    return said


async def _read_all(stream: asyncio.StreamReader | None) -> str:
    return (await stream.read()).decode(errors="replace") if stream is not None else ""
