"""Trains thoroughly on a file of candles, with no mesh and no database: `python -m training.report.file_job`.

Tells its progress as the training job does. The model is written only to the given folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from modelkit.labels import LabelRule
from modelkit.signing import private_key_from_pem
from tradekit.fees import DEFAULT_TAKER_FEE
from training.artifact import model_version, write_model
from training.fit import TrainingRefused
from training.report.candle_file import FileUnusable, read_candle_file
from training.report.thorough import train_thoroughly
from training.train_job import REFUSED, facts, tell
from training.walkforward_parallel import BACKENDS, BackendMissing, Workers, require_backend
from training.walkforward_study import StudySettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit code 0: written; 2: misused; 3: the file or its candles do not allow a model."""
    asked = _parser().parse_args(arguments)
    try:
        _run(asked)
    except (TrainingRefused, FileUnusable, BackendMissing) as refused:
        tell("refused", 1.0, detail=str(refused))
        raise SystemExit(REFUSED) from refused


def _run(asked: argparse.Namespace) -> None:
    require_backend(asked.backend)
    tell("reading candles", 0.0)
    file = read_candle_file(asked.file, tuple(name for name in asked.products.split(",") if name))
    settings = StudySettings(
        granularity=file.granularity,
        factor_product=file.factor_product,
        label=replace(LabelRule(), fee_ratio=float(asked.taker_fee)),
        seed=asked.seed,
        source_sha256=(file.sha256,),
    )
    workers = Workers(asked.jobs, asked.backend)
    made = train_thoroughly(file.candles, settings, workers, asked.file.name, asked.report, tell)
    key = private_key_from_pem(asked.signing_key.read_bytes()) if asked.signing_key else None
    folder = asked.model_out / model_version(made.model) if asked.by_version else asked.model_out
    sha256 = write_model(folder, made.model, datetime.now(UTC), asked.code_revision, key)
    tell("done", 1.0, **facts(made.model, sha256), headline=made.headline)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train on a file of candles and report the evidence.")
    parser.add_argument("--file", type=Path, required=True, help="file of candles")
    parser.add_argument("--products", default="", help="separated by commas; empty: all of the file")
    parser.add_argument("--report", type=Path, required=True, help="folder of the report")
    parser.add_argument("--model-out", type=Path, required=True, help="folder that the model is written to")
    parser.add_argument("--by-version", action="store_true", help="into a folder of its version inside it")
    parser.add_argument("--signing-key", type=Path, help="Ed25519 private key (PEM); without one it is not signed")
    parser.add_argument("--taker-fee", type=Decimal, default=DEFAULT_TAKER_FEE, help="per side, share of notional")
    parser.add_argument("--seed", type=int, default=51)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0])
    parser.add_argument("--code-revision", default="unknown")
    return parser


if __name__ == "__main__":
    main()
