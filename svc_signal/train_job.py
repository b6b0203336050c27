"""Trains a model from the stored candles and writes it, signed: `python -m svc_signal.train_job`.

A process of its own, because training takes seconds of every core; it tells its progress as JSON lines on standard output.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, Field
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from meshkit import database
from meshkit.settings import load
from schema import streams
from svc_signal import store
from svc_signal.artifact import write_model
from svc_signal.candle_window import CandleWindow
from svc_signal.labels import LabelRule
from svc_signal.settings import SignalSettings
from svc_signal.signing import private_key_from_pem
from svc_signal.training import TrainedModel, TrainingRefused, TrainingSettings, train
from tradekit.bars import unix, utc

REFUSED = 3


class TrainJobSettings(SignalSettings):
    """What to train on and where to write."""

    service_name: str = "train"
    train_until: AwareDatetime | None = Field(
        None, description="close of the newest candle to learn from; unset: the newest"
    )
    model_signing_key_file: Path = Field(description="Ed25519 private key (PEM) that signs the manifest")
    model_out: Path = Field(description="folder that the model is written to")
    train_seed: int = Field(51, ge=0, description="seed of the training")
    code_revision: str = Field("unknown", max_length=64, description="revision of the code, for the manifest")


@dataclass(frozen=True, slots=True)
class Trained:
    """What the job made."""

    model: TrainedModel
    manifest_sha256: str


def tell(stage: str, share: float, **facts: object) -> None:
    """One line of progress; `share` is 0..1."""
    sys.stdout.write(json.dumps({"stage": stage, "share": round(share, 4), **facts}) + "\n")
    sys.stdout.flush()


async def read_window(settings: TrainJobSettings) -> CandleWindow:
    """Every stored candle that closes by `train_until`."""
    products = tuple(dict.fromkeys((*settings.products, settings.factor_product)))
    window = CandleWindow(products)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: database.connect(settings), poolclass=NullPool
    )
    try:
        async with asyncio.timeout(120), engine.connect() as connection:
            mark = await streams.read_watermark(connection, "market")
            until = settings.train_until or (mark.as_of if mark else datetime.now(UTC))
            last = utc(unix(until) - settings.granularity_seconds)
            rows = await store.candles_between(connection, products, settings.granularity_seconds, utc(0), last)
    finally:
        await engine.dispose()
    window.load(rows, 0, 0)
    return window


def run(settings: TrainJobSettings, progress: Callable[[str, float], None]) -> Trained:
    """Reads, trains, writes."""
    progress("reading candles", 0.0)
    window = asyncio.run(read_window(settings))
    candles = {name: found for name, found in window.arrays(0, sys.maxsize).items() if len(found)}
    plan = TrainingSettings(
        granularity=settings.granularity_seconds,
        factor_product=settings.factor_product,
        label=replace(LabelRule(), fee_ratio=float(settings.taker_fee)),
        seed=settings.train_seed,
    )
    model = train(candles, plan, progress)
    key = private_key_from_pem(settings.model_signing_key_file.read_bytes())
    sha256 = write_model(settings.model_out, model, datetime.now(UTC), settings.code_revision, key)
    return Trained(model, sha256)


def main() -> None:
    """Exit code 0: written; 2: misconfigured; 3: the candles do not allow a model."""
    settings = load(TrainJobSettings)
    try:
        trained = run(settings, tell)
    except TrainingRefused as refused:
        tell("refused", 1.0, detail=str(refused))
        raise SystemExit(REFUSED) from refused
    model = trained.model
    tell(
        "done",
        1.0,
        rows=model.rows,
        train_from=utc(model.train_from).isoformat(),
        train_to=utc(model.train_to).isoformat(),
        theta_buy=model.choice.thresholds.theta_buy,
        manifest_sha256=trained.manifest_sha256,
    )


if __name__ == "__main__":
    main()
