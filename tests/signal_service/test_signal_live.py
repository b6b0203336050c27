"""Whatever path the features took, in memory, restored or made anew, each bar's rows are those of the stored candles."""

import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select, text, update
from waiting import eventually

from modelkit.features.live import LiveFeatures
from modelkit.loading import LoadedModel
from schema.market import crypto_prices
from schema.signals import feature_states
from tests.signal.signal_series import FIRST_BAR
from tests.signal_service.live_bars import FACTOR, next_bar, of_bar, same, truth
from tests.signal_service.signal_world import BARS, HOUR, PRODUCTS, World, close_of
from tests.support.stored import unlock_rows
from tradekit.bars import utc

LAST = BARS - 40


def counted(stub: Any, name: str) -> dict[str, float]:
    """A counter of the service by the value of its one label."""
    found = {}
    for line in stub.service.kit.telemetry.prometheus_text().decode().splitlines():
        if line.startswith(name + "_total{"):
            labels, value = line.rsplit(" ", 1)
            named = [part for part in labels.partition("{")[2].rstrip("}").split(",") if "otel" not in part]
            found[named[0].split('"')[1] if named else ""] = float(value)
    return found


async def change(world: World, product: str, bar: int, **values: Any) -> None:
    """A correction of a stored candle, as the table would show it: new values, a new sequence."""
    world.sequence += 1
    where = (crypto_prices.c.product_id == product) & (crypto_prices.c.start == close_of(bar) - HOUR)
    await world.run(update(crypto_prices).where(where).values(sequence=world.sequence, **values))


async def test_late_and_corrected_candles_take_effect_at_the_next_bar(
    world: World, given: dict[str, Any], model: LoadedModel
) -> None:
    factor, second, third = PRODUCTS
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**given) as stub:
        same(of_bar(await world.until_decided(LAST), LAST), await truth(world, LAST, model))
        rows = await next_bar(world, LAST + 1, (factor, second))
        assert [row["product_id"] for row in rows] == [factor, second]
        same(rows, await truth(world, LAST + 1, model))
        # The candle of the last bar comes late, one of a week ago is corrected.
        await world.store(LAST + 1, LAST + 1, (third,))
        await change(world, second, LAST - 150, close=Decimal("0.0000000123"), low=Decimal("0.0000000100"))
        same(await next_bar(world, LAST + 2), await truth(world, LAST + 2, model))
        # The factor's correction concerns every product.
        await change(world, factor, LAST + 2, volume=Decimal("1.5"), high=Decimal("99999999"))
        await change(world, factor, LAST - 20, high=Decimal("99999999"), close=Decimal("88888888"))
        rows = await next_bar(world, LAST + 3)
        same(rows, await truth(world, LAST + 3, model))
        # One that no row can see any more changes nothing, a twin of what is known neither.
        await change(world, second, 1, volume=Decimal("7"))
        await change(world, second, LAST + 3)
        same(await next_bar(world, LAST + 4), await truth(world, LAST + 4, model))
        seen = counted(stub, "signal_candles")
        assert seen["corrected"] == 1
        assert seen["duplicate"] == 1
        assert seen["late"] == 3
        assert seen["filled"] == 1
        assert counted(stub, "signal_features_rebuilt") == {"ABSENT": 1.0}


async def test_bad_candles_are_refused_with_a_reason_and_are_gaps(
    world: World, given: dict[str, Any], model: LoadedModel
) -> None:
    _, second, third = PRODUCTS
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**given) as stub:
        await world.until_decided(LAST)
        nan = Decimal("NaN")
        # As if the table's own check were not there.
        await world.run(text("ALTER TABLE crypto_prices DROP CONSTRAINT ck_crypto_prices_numbers"))
        await world.store(LAST + 1, LAST + 1)
        await change(world, second, LAST + 1, open=nan, high=nan, low=nan, close=nan)
        await change(world, third, LAST + 1, volume=nan)
        await world.complete(LAST + 1)
        rows = of_bar(await world.until_decided(LAST + 1), LAST + 1)
        assert [row["product_id"] for row in rows] == ["BTC-USD"]
        same(rows, await truth(world, LAST + 1, model))
        # Between two bars, and of a time to come: the latter counts when its bar is there.
        await world.store(LAST + 2, LAST + 3)
        where = (crypto_prices.c.product_id == third) & (crypto_prices.c.start == close_of(LAST + 2) - HOUR)
        await world.run(update(crypto_prices).where(where).values(start=utc((FIRST_BAR + LAST + 2) * 3600 - 60)))
        await world.complete(LAST + 2)
        same(of_bar(await world.until_decided(LAST + 2), LAST + 2), await truth(world, LAST + 2, model))
        await world.complete(LAST + 3)
        same(of_bar(await world.until_decided(LAST + 3), LAST + 3), await truth(world, LAST + 3, model))
        assert counted(stub, "signal_candles_refused") == {"NOT_FINITE": 2.0, "OFF_GRID": 1.0}
    # A bar for which nothing is stored, then a gap that is too long: the product begins anew.
    async with world.service(**given):
        await world.complete(LAST + 4)
        assert not of_bar(await world.until_decided(LAST + 4), LAST + 4)
        for bar in range(LAST + 5, LAST + 18):
            await next_bar(world, bar, PRODUCTS[:2])
        rows = await next_bar(world, LAST + 18)
        same(rows, await truth(world, LAST + 18, model))
        assert "NOT_READY" in {reason["code"] for reason in rows[2]["reasons"]}


async def test_a_saved_state_goes_on_to_the_bit_or_is_refused(
    world: World, given: dict[str, Any], model: LoadedModel
) -> None:
    few = ",".join(PRODUCTS[:2])
    await world.store(0, LAST)
    await world.complete(LAST)

    async def decided_by(bar: int, reason: str | None, **changes: Any) -> None:
        """A new process decides a bar; `reason` says why its state was made anew, None that it was restored."""
        await world.store(bar, bar)
        await world.complete(bar)
        async with world.service(**{**given, **changes}) as stub:
            rows = of_bar(await world.until_decided(bar), bar)
            restored = "signal_features_restored_total" in stub.service.kit.telemetry.prometheus_text().decode()
            assert list(counted(stub, "signal_features_rebuilt")) == ([reason] if reason else [])
            assert restored == (reason in (None, "TOO_OLD", "AHEAD", "MISMATCH"))
        products = changes.get("products", ",".join(PRODUCTS)).split(",")
        same(rows, await truth(world, bar, model, products))

    await decided_by(LAST + 1, "ABSENT", products=few)
    [state] = await world.run(select(feature_states))
    assert state["last_bar"] == FIRST_BAR + LAST + 1
    # A product that came since is added; one that is gone means another state.
    await decided_by(LAST + 2, None)
    await decided_by(LAST + 3, "PRODUCTS", products=few)
    await decided_by(LAST + 4, None, products=few)
    # A candle that came while nobody listened.
    await change(world, PRODUCTS[1], LAST + 3, volume=Decimal("3"))
    await decided_by(LAST + 5, None)
    content = bytearray((await world.run(select(feature_states)))[0]["content"])
    content[len(content) // 2] ^= 1
    await unlock_rows(world.database.engine, "trading_signals")
    for broken in (bytes(content), b"", b"\x80\x04."):
        await world.run(update(feature_states).values(content=broken))
        world_bar = FIRST_BAR + LAST + 6
        await world.run(text("DELETE FROM trading_signals WHERE as_of = '" + close_of(LAST + 6).isoformat() + "'"))
        await world.run(
            text("UPDATE watermarks SET as_of = '" + close_of(LAST + 5).isoformat() + "' WHERE stage = 'signal'")
        )
        await world.run(text(f"DELETE FROM crypto_prices WHERE start >= to_timestamp({world_bar * 3600})"))
        await decided_by(LAST + 6, "REFUSED")
    # A whole state of other candles: its first rows are not those of the stored ones.
    other = LiveFeatures(PRODUCTS, 3600, FACTOR)
    ones = np.ones(3)
    for bar in range(FIRST_BAR + LAST - 400, FIRST_BAR + LAST + 7):
        other.advance_arrays(bar, np.full(3, bar * 3600), ones, ones, ones, ones, ones)
    await world.run(update(feature_states).values(content=other.dump()))
    await decided_by(LAST + 7, "MISMATCH")
    await world.run(update(feature_states).values(candle_sequence=world.sequence + 999))
    await decided_by(LAST + 8, "MISMATCH")
    await decided_by(LAST + 9, None)


async def test_a_killed_process_goes_on_from_its_rows(
    world: World, given: dict[str, Any], model: LoadedModel, tmp_path: Path
) -> None:
    begin, end = LAST - 60, LAST
    await world.store(0, end)
    await world.complete(begin)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        **world.database.env_of("signal"),
        "SIGNAL_PORT": "0",
        "PRODUCTS": ",".join(PRODUCTS),
        "MARKET_ADDRESS": f"127.0.0.1:{world.market_port}",
        "DECISION_PROFILE": "EXERCISE",
        "DRAIN_SECONDS": "5",
        "DRAIN_NOTICE_SECONDS": "0",
        "MODEL_DIR": str(given["model_dir"]),
        "MODEL_PUBLIC_KEY_FILE": str(given["model_public_key_file"]),
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }

    def start() -> subprocess.Popen[bytes]:
        log = (tmp_path / "log").open("ab")
        return subprocess.Popen([sys.executable, "-m", "svc_signal"], env=environment, stdout=log, stderr=log)

    process = start()
    try:
        await world.until_decided(begin)
        await world.complete(end)

        async def under_way() -> bool:
            return len(await world.signals()) >= 3 * 26

        await eventually(under_way)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process = start()
        rows = await world.until_decided(end)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait(10)
    assert [row["sequence"] for row in rows] == list(range(1, 3 * (end - begin + 1) + 1))
    for bar in range(begin, end + 1, 7):
        same(of_bar(rows, bar), await truth(world, bar, model))
    same(of_bar(rows, end), await truth(world, end, model))
    # The drained process left its state at its last bar.
    [state] = await world.run(select(feature_states))
    assert state["last_bar"] == FIRST_BAR + end
    log = (tmp_path / "log").read_text()
    assert "features_rebuilt" in log
    assert "features_restored" in log
