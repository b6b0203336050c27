"""Evidence of two models, and waiting for their roles."""

from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert
from waiting import eventually

from schema.signals import matured_labels, shadow_signals, trading_signals
from tests.signal.signal_series import FIRST_BAR
from tests.signal_service.signal_world import PRODUCTS, World
from tradekit import ids
from tradekit.bars import utc
from trading.signal.v1 import signal_service_pb2 as pb

HOUR = 3600


RUN = "main"


async def told(stub: Any) -> pb.GetModelResponse:
    found: pb.GetModelResponse = await stub.GetModel(pb.GetModelRequest())
    return found


async def until(stub: Any, champion: str, challenger: str = "") -> pb.GetModelResponse:
    async def there() -> bool:
        found = await told(stub)
        return (found.model_version, found.challenger_version) == (champion, challenger)

    await eventually(there)
    return await told(stub)


async def store_evidence(
    world: World, champion: str, challenger: str, knows: bool = True, first_bar: int = -400
) -> None:
    """What both said about the same 340 bars, and what came of it. The champion always says a third; the challenger
    `knows` the chances, or mistakes one class for the next."""
    rng = np.random.default_rng(5)
    signals, shadows, labels = [], [], []
    for bar in range(340):
        for number, product in enumerate(PRODUCTS):
            chances = rng.permutation([0.6, 0.2, 0.2])
            outcome = int(rng.choice(3, p=chances))
            said = np.full(3, 1 / 3)
            guessed = chances if knows else np.roll(chances, 1)
            key = {
                "run_id": RUN,
                "product_id": product,
                "granularity": HOUR,
                "bar_start": utc((FIRST_BAR + first_bar + bar) * HOUR),
            }
            signals.append(
                {
                    **key,
                    "signal_id": ids.signal_id(RUN, product, HOUR, key["bar_start"], champion),
                    "as_of": key["bar_start"] + timedelta(hours=1),
                    "side": "HOLD",
                    "confidence": 0.5,
                    **dict(zip(("p_down", "p_neutral", "p_up"), said.tolist(), strict=True)),
                    "edge": 0.0,
                    "expected_net": 0.0,
                    "sigma_horizon": 0.02,
                    "reference_price": 10,
                    "model_version": champion,
                    "feature_set_hash": "0" * 64,
                    "profile": "EXERCISE",
                    "reasons": [],
                    "features": [],
                    "sequence": 1_000_000 - first_bar * 10_000 + bar * 3 + number,
                }
            )
            shadow = dict(zip(("p_down", "p_neutral", "p_up"), guessed.tolist(), strict=True))
            shadows.append({**key, "model_version": challenger, "side": "HOLD", **shadow})
            labels.append({**key, "model_version": champion, "outcome": outcome, "next_return": 0.001})
    await world.run(insert(trading_signals), signals)
    await world.run(insert(shadow_signals), shadows)
    await world.run(insert(matured_labels), labels)
