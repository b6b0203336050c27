"""A thorough training from candles to its report: walk-forward, evidence, page, and the model with its evidence."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from modelkit.candles import CandleArrays
from training.fit import Progress, TrainedModel
from training.report.document import Origin, document, summary
from training.report.files import write_report
from training.walkforward_parallel import Workers
from training.walkforward_study import StudySettings, study


@dataclass(frozen=True, slots=True)
class Reported:
    """The model that ships, and the first line of its report."""

    model: TrainedModel
    headline: str


def train_thoroughly(
    candles: Mapping[str, CandleArrays],
    settings: StudySettings,
    workers: Workers,
    source: str,
    folder: Path,
    progress: Progress,
) -> Reported:
    """Raises TrainingRefused where the candles do not allow a model; `source` names them on the page."""
    began = time.monotonic()
    found = study(candles, settings, workers, progress)
    progress("evidence", 0.92)
    told = document(found, Origin(source, datetime.now(UTC), time.monotonic() - began))
    progress("report", 0.97)
    write_report(told, folder)
    model = replace(found.model, evidence=summary(told))
    return Reported(model, told["verdict"]["headline"])
