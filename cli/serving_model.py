"""Sees to it that a usable model is there before the signal service starts: keeps the one that fits, or trains another."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from cli.plan import MeshPlan
from cli.steps import StepFailed
from cli.training_job import train_model
from meshkit.errors import Misconfigured
from supervisor.python_process import running_module
from tradekit.products import market_factor

# Stage, share done (0..1), and what is being done in it.
Progress = Callable[[str, float, str], None]
HISTORY, TRAINING = "history", "training"
# Nothing new for this long, and the market service is not getting its candles.
_STALL_SECONDS = 120.0
_CHECK_SECONDS = 60.0
_TOO_FEW = "TOO_FEW_ROWS"
_LOOK = """
SELECT (SELECT as_of FROM watermarks WHERE stage = 'market') AS watermark,
       (SELECT count(*) FROM crypto_prices) AS candles
"""


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """What the loader says of the model that will serve, or why none will."""

    usable: bool
    reason: str
    detail: str
    products: tuple[str, ...] = ()
    train_to: str = ""
    model_version: str = ""
    theta_buy: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether no threshold survived the costs, so that by its evidence it says HOLD."""
        return self.theta_buy >= 1.0


async def examine_model(plan: MeshPlan, champion: str = "") -> ModelVerdict:
    """All checks of the signal service's loader on every model of the folder, in a process of its own: a model is code
    until it is proven. The verdict is on the one that will serve.
    """
    arguments = (
        *("cli.up.check_model", str(plan.model_folder), str(plan.keys.model_public)),
        *(str(plan.granularity_seconds), ",".join(plan.products), champion),
    )
    try:
        async with running_module(arguments, os.environ) as process, asyncio.timeout(_CHECK_SECONDS):
            said, errors = await process.communicate()
    except TimeoutError:
        return ModelVerdict(False, "NO_ANSWER", f"the check took longer than {_CHECK_SECONDS:g} s")
    try:
        found = json.loads(said)
        return ModelVerdict(**{**found, "products": tuple(found["products"])})
    except (ValueError, KeyError, TypeError):
        return ModelVerdict(False, "NO_ANSWER", errors.decode(errors="replace").strip()[-500:] or "it said nothing")


def why_retrain(verdict: ModelVerdict, products: tuple[str, ...]) -> str:
    """Why the model that is there will not do; empty if it will."""
    if not verdict.usable:
        return verdict.detail
    unknown = [product for product in products if product not in verdict.products]
    return f"it does not know {', '.join(unknown)}" if unknown else ""


async def champion_serves(plan: MeshPlan) -> bool:
    """True if a model of the folder will decide, so that a further one has to prove itself beside it."""
    return not why_retrain(await examine_model(plan, await recorded_champion(plan)), plan.products)


async def ensure_model(
    plan: MeshPlan, history_bars: int, progress: Progress, say: Callable[[str], None]
) -> dict[str, object]:
    """Keeps the models of the folder, or trains one at its top once the market has its history. Raises StepFailed."""
    verdict = await examine_model(plan, await recorded_champion(plan))
    reason = why_retrain(verdict, plan.products)
    if not reason:
        say(f"model {verdict.model_version} kept, trained to {verdict.train_to}")
        return {"model_version": verdict.model_version, "train_to": verdict.train_to}
    if verdict.usable:
        say(f"a new model is trained: {reason}")
    elif verdict.reason != "FILE_UNREADABLE":
        say(
            f"REFUSED: the model in {plan.model_folder} ({verdict.reason}: {reason}); another is trained and written over it"
        )
    await wait_for_history(plan, history_bars, progress)
    try:
        return await train_model(plan, plan.model_folder, None, lambda step, share: progress(TRAINING, share, step))
    except StepFailed as failed:
        if _TOO_FEW not in str(failed):
            raise
        advice = "`mesh reset`, then `mesh up` with more products or a greater MARKET_HISTORY_BARS"
        raise StepFailed(f"{failed}\n{advice}") from None


async def wait_for_history(plan: MeshPlan, history_bars: int, progress: Progress) -> None:
    """Until the market service has stored its history and said so by its watermark. Raises StepFailed if it stalls."""
    expected = history_bars * len({*plan.products, market_factor(plan.products[0])})
    last, moved = -1, time.monotonic()
    connection: asyncpg.Connection | None = None
    try:
        while True:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(**plan.database_address.arguments("mesh"), timeout=5)
                watermark, candles = await _read_market(connection)
                if watermark is not None:
                    progress(HISTORY, 1.0, "")
                    return
                if candles > last:
                    last, moved = candles, time.monotonic()
                    progress(HISTORY, min(candles / expected, 0.99), "")
            if time.monotonic() - moved > _STALL_SECONDS:
                log = plan.home.log_file("market")
                raise StepFailed(f"the market service stored no candle for {_STALL_SECONDS:g} s; see {log}")
            await asyncio.sleep(0.3)
    finally:
        if connection is not None:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=2)


async def recorded_champion(plan: MeshPlan) -> str:
    """The version that decides, as recorded; empty before the first, and where the database cannot be asked."""
    with suppress(OSError, TimeoutError, Misconfigured, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(**plan.database_address.arguments("mesh"), timeout=5)
        try:
            return await connection.fetchval("SELECT champion FROM model_roles", timeout=5) or ""
        finally:
            await connection.close(timeout=2)
    return ""


async def _read_market(connection: "asyncpg.Connection") -> tuple[datetime | None, int]:
    row = await connection.fetchrow(_LOOK, timeout=10)
    return row["watermark"], row["candles"]
