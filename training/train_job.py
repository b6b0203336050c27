"""Trains a model from the stored candles and writes it, signed: `python -m training.train_job`.

A process of its own, because training takes seconds of every core; it tells its progress as JSON lines on standard output.
With a folder for a report it trains thoroughly and writes the evidence there.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, Field
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from meshkit import database
from meshkit.settings import load
from modelkit import candle_reader
from modelkit.candles import CandleArrays
from modelkit.labels import LabelRule
from modelkit.signing import private_key_from_pem
from schema.streams import read_watermark
from tradekit.bars import unix, utc
from tradekit.products import factor_product
from tradekit.settings import TradingSettings
from tradekit.states import ProtectionMode
from training.artifact import model_version, write_model
from training.exits import Way
from training.fit import TrainedModel, TrainingRefused, train
from training.settings import TrainingSettings
from training.walkforward_parallel import BackendMissing, Workers, require_backend

if TYPE_CHECKING:
    from training.report.thorough import Reported

REFUSED = 3


class TrainJobSettings(TradingSettings):
    """What to train on and where to write."""

    service_name: str = "train"
    port: int = 0  # it serves nothing
    train_until: AwareDatetime | None = Field(
        None, description="close of the newest candle to learn from; unset: the newest"
    )
    model_signing_key_file: Path = Field(description="Ed25519 private key (PEM) that signs the manifest")
    model_out: Path = Field(description="folder that the model is written to")
    model_out_by_version: bool = Field(False, description="write into a folder of its version inside MODEL_OUT")
    train_seed: int = Field(51, ge=0, description="seed of the training")
    report_dir: Path | None = Field(
        None, description="folder of the report; set: train thoroughly, with the whole evidence"
    )
    train_jobs: int = Field(1, ge=1, le=1024, description="fits at a time in a thorough training")
    train_backend: Literal["loky", "dask", "ray"] = Field("loky", description="where those fits run")
    code_revision: str = Field("unknown", max_length=64, description="revision of the code, for the manifest")
    trailing_stop_ratio: Decimal | None = Field(
        None, gt=0, lt=1, description="as the executor's; unset: no trailing stop"
    )

    @property
    def way(self) -> Way:
        """How the executor trades by the same settings."""
        trailing = None if self.trailing_stop_ratio is None else float(self.trailing_stop_ratio)
        return Way(self.protective_exits is not ProtectionMode.OFF, trailing)


@dataclass(frozen=True, slots=True)
class Trained:
    """What the job made."""

    model: TrainedModel
    manifest_sha256: str
    headline: str = ""


def tell(stage: str, share: float, **facts: object) -> None:
    """One line of progress; `share` is 0..1."""
    sys.stdout.write(json.dumps({"stage": stage, "share": round(share, 4), **facts}) + "\n")
    sys.stdout.flush()


async def read_candles(settings: TrainJobSettings) -> dict[str, CandleArrays]:
    """Every stored candle that closes by `train_until`."""
    products = tuple(dict.fromkeys((*settings.products, factor_product(settings.products))))
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: database.connect(settings), poolclass=NullPool
    )
    try:
        async with asyncio.timeout(120), engine.connect() as connection:
            mark = await read_watermark(connection, "market")
            until = settings.train_until or (mark.as_of if mark else datetime.now(UTC))
            last = utc(unix(until) - settings.granularity_seconds)
            return await candle_reader.history(connection, settings.granularity_seconds, products, utc(0), last)
    finally:
        await engine.dispose()


def run(settings: TrainJobSettings, progress: Callable[[str, float], None]) -> Trained:
    """Reads, trains, writes."""
    progress("reading candles", 0.0)
    candles = asyncio.run(read_candles(settings))
    label = replace(LabelRule(), fee_ratio=float(settings.taker_fee))
    headline = ""
    if settings.report_dir is None:
        plan = TrainingSettings(
            granularity=settings.granularity_seconds,
            factor_product=factor_product(settings.products),
            label=label,
            way=settings.way,
            seed=settings.train_seed,
        )
        model = train(candles, plan, progress)
    else:
        reported = _report(settings, candles, label, settings.report_dir, progress)
        model, headline = reported.model, reported.headline
    key = private_key_from_pem(settings.model_signing_key_file.read_bytes())
    folder = settings.model_out / model_version(model) if settings.model_out_by_version else settings.model_out
    sha256 = write_model(folder, model, datetime.now(UTC), settings.code_revision, key)
    return Trained(model, sha256, headline)


def _report(
    settings: TrainJobSettings,
    candles: Mapping[str, CandleArrays],
    label: LabelRule,
    folder: Path,
    progress: Callable[[str, float], None],
) -> "Reported":
    # Only here: a first start, which trains quickly, does not wait for these to be imported.
    from training.report.thorough import train_thoroughly
    from training.walkforward_study import StudySettings

    plan = StudySettings(
        granularity=settings.granularity_seconds,
        factor_product=factor_product(settings.products),
        label=label,
        way=settings.way,
        seed=settings.train_seed,
    )
    source = f"stored candles of {settings.run_id}, market {settings.venue.value}"
    workers = Workers(settings.train_jobs, settings.train_backend)
    return train_thoroughly(candles, plan, workers, source, folder, progress)


def facts(model: TrainedModel, manifest_sha256: str) -> dict[str, object]:
    """What a job says of the model it made."""
    return {
        "model_version": model_version(model),
        "rows": model.rows,
        "train_from": utc(model.train_from).isoformat(),
        "train_to": utc(model.train_to).isoformat(),
        "theta_buy": model.choice.thresholds.theta_buy,
        "manifest_sha256": manifest_sha256,
    }


def main() -> None:
    """Exit code 0: written; 2: misconfigured; 3: the candles do not allow a model."""
    settings = load(TrainJobSettings)
    try:
        require_backend(settings.train_backend)
        trained = run(settings, tell)
    except (TrainingRefused, BackendMissing) as refused:
        tell("refused", 1.0, detail=str(refused))
        raise SystemExit(REFUSED) from refused
    told = {"headline": trained.headline} if trained.headline else {}
    tell("done", 1.0, **facts(trained.model, trained.manifest_sha256), **told)


if __name__ == "__main__":
    main()
