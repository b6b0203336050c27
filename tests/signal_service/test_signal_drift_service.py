"""The running service takes its checks by itself, tells them, and takes them up again after a restart."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select
from waiting import eventually

from schema.signals import matured_labels, model_drift
from svc_signal.drift.monitor import CHECK_BARS
from tests.signal.signal_series import FIRST_BAR
from tests.signal_service.signal_world import BARS, PRODUCTS, World, close_of
from tradekit import wire
from trading.signal.v1 import signal_service_pb2 as pb


async def test_checks_are_taken_stored_told_and_taken_up_again(world: World, model_dir: Path, keys: Path) -> None:
    given = {"model_dir": model_dir, "model_public_key_file": keys / "public.pem"}
    first = BARS - 1 - (FIRST_BAR + BARS - 1) % CHECK_BARS  # a bar with a check
    last = first + 2 * CHECK_BARS + 3
    await world.store(0, last)
    await world.complete(first)
    async with world.service(**given) as stub:
        await world.until_decided(first)
        await world.complete(last)
        await world.until_decided(last)
        told = await stub.GetModel(pb.GetModelRequest())
    checks = await world.run(select(model_drift).order_by(model_drift.c.as_of))
    assert [check["as_of"] for check in checks] == [close_of(first + CHECK_BARS * number) for number in range(3)]
    labels = await world.run(select(matured_labels))
    settled = {(row["bar_start"] + timedelta(hours=1), row["product_id"]) for row in labels}
    # The horizon of the model is 24 bars: by the third check everything up to the second is known.
    assert settled == {(close_of(bar), product) for bar in range(first, first + CHECK_BARS + 1) for product in PRODUCTS}
    assert {row["outcome"] for row in labels} <= {0, 1, 2}
    assert wire.time_of(told.drift.as_of) == close_of(first + 2 * CHECK_BARS)
    assert told.drift.matured_labels == len(settled)
    assert told.drift.log_loss > 0.0 < told.drift.prior_log_loss
    assert not told.suspended, "75 labels are no evidence"

    await world.store(last + 1, last + 1)
    await world.complete(last + 1)
    async with world.service(**given) as stub:
        await world.until_decided(last + 1)

        async def taken_up() -> bool:
            return (await stub.GetModel(pb.GetModelRequest())).drift == told.drift

        await eventually(taken_up)
