"""The signal service decides each bar once, the same after any restart, and says truly when it has no model."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pydantic import ValidationError
from refusals import refused
from sqlalchemy import text
from waiting import eventually

from meshkit import paging
from modelkit.features.definition import NAMES
from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME
from tests.signal_service.signal_world import BARS, PRODUCTS, TRAIN_BARS, World, close_of
from tests.support.stored import unlock_rows
from tradekit import ids, wire
from trading.signal.v1 import signal_service_pb2 as pb
from training.fit import TrainingRefused
from training.train_job import TrainJobSettings, run

LAST = BARS - 1


def generate(**given: Any) -> pb.GenerateSignalsRequest:
    given.setdefault("request_id", str(ids.new_request_id()))
    if "as_of" in given:
        given["as_of"] = wire.timestamp_message(given["as_of"])
    return pb.GenerateSignalsRequest(**given)


def with_model(folder: Path, keys: Path) -> dict[str, Any]:
    return {"model_dir": folder, "model_public_key_file": keys / "public.pem"}


def decided(rows: list[Any]) -> list[tuple[Any, ...]]:
    names = ("signal_id", "product_id", "as_of", "side", "confidence", "edge", "reference_price", "features")
    return [tuple(row[name] for name in names) for row in rows]


async def test_each_bar_is_decided_once_and_the_same_after_any_restart(
    world: World, model_dir: Path, keys: Path
) -> None:
    given = with_model(model_dir, keys)
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**given) as stub:
        rows = await world.until_decided(LAST)
        # The first start decides the newest bar only; then every bar, those of a pause too.
        assert [row["product_id"] for row in rows] == sorted(PRODUCTS)
        assert {row["as_of"] for row in rows} == {close_of(LAST)}
        assert {len(row["features"]) for row in rows} == {51}
        await world.store(LAST + 1, LAST + 1)
        await world.complete(LAST + 1)
        await world.until_decided(LAST + 1)
        world.market.drop.set()
        await world.store(LAST + 2, LAST + 3)
        await world.complete(LAST + 3)
        await world.until_decided(LAST + 3)
        assert world.market.opened >= 1
        got = (await stub.GenerateSignals(generate(as_of=close_of(LAST)))).signals
        assert [signal.sequence for signal in got] == [row["sequence"] for row in rows]
    await world.store(LAST + 4, LAST + 6)
    await world.complete(LAST + 6)
    async with world.service(**given), world.service(**given):
        rows = await world.until_decided(LAST + 6)
    assert [row["sequence"] for row in rows] == list(range(1, 3 * 7 + 1))
    assert [row["as_of"] for row in rows] == [close_of(LAST + n) for n in range(7) for _ in PRODUCTS]
    # A process that starts anew, with no cache and no memory, decides these bars the same.
    await unlock_rows(world.database.engine, "trading_signals")
    await world.run(_forget())
    async with world.service(**given) as stub:
        # Its own loop decides only once the model is there; asked directly, that has to be waited for.
        while not (await stub.GetModel(pb.GetModelRequest())).loaded:
            await asyncio.sleep(0.05)
        for bar in range(7):
            await stub.service.spec.servicers[0].servicer._decider.decide(close_of(LAST + bar))
    assert decided(await world.signals()) == decided(rows)


def _forget() -> Any:
    return text(
        "WITH gone AS (DELETE FROM trading_signals), head AS (DELETE FROM stream_heads WHERE stream = 'signals') "
        f"UPDATE watermarks SET as_of = '{close_of(LAST - 1).isoformat()}' WHERE stage = 'signal'"
    )


async def test_a_late_candle_decides_no_bar_anew(world: World, model_dir: Path, keys: Path) -> None:
    first, *others = PRODUCTS
    await world.store(0, LAST - 1)
    await world.store(LAST, LAST, (first,))
    await world.complete(LAST)
    async with world.service(**with_model(model_dir, keys)) as stub:
        assert [row["product_id"] for row in await world.until_decided(LAST)] == [first]
        await world.store(LAST, LAST, tuple(others))
        request = generate(as_of=close_of(LAST))
        answer = await stub.GenerateSignals(request)
        assert [signal.product_id for signal in answer.signals] == [first]
        assert await stub.GenerateSignals(request) == answer
        other = generate(request_id=request.request_id, as_of=close_of(LAST), product_ids=[first])
        assert (await refused(stub.GenerateSignals(other))).reason == "REQUEST_ID_REUSED"
        # A bar without a candle of anybody is passed, and stays passed when its candles come.
        await world.complete(LAST + 1)
        await world.until_decided(LAST + 1)
        await world.store(LAST + 1, LAST + 2)
        assert not (await stub.GenerateSignals(generate(as_of=close_of(LAST + 1)))).signals
        await stub.service.spec.servicers[0].servicer._decider.decide(close_of(LAST + 1))
        assert {row["as_of"] for row in await world.signals()} == {close_of(LAST)}
        await world.complete(LAST + 2)
        rows = await world.until_decided(LAST + 2)
    assert [row["as_of"] for row in rows] == [close_of(LAST)] + [close_of(LAST + 2)] * 3


async def test_without_a_model_it_holds_and_says_so(world: World, tmp_path: Path, keys: Path) -> None:
    await world.store(0, LAST)
    await world.complete(LAST)
    empty = tmp_path / "empty"
    empty.mkdir()
    for number, given in enumerate(({}, with_model(empty, keys), with_model(tmp_path / "nowhere", keys))):
        async with world.service(**given) as stub:
            await world.store(LAST + number + 1, LAST + number + 1)
            await world.complete(LAST + number + 1)
            rows = await world.until_decided(LAST + number + 1)
            error = await refused(stub.GenerateSignals(generate()))
            assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE")
            model = await stub.GetModel(pb.GetModelRequest())
            assert (model.loaded, model.refusal_code, model.model_version) == (False, "NO_MODEL", "")
    assert {row["side"] for row in rows} == {"HOLD"}
    assert {reason["code"] for row in rows for reason in row["reasons"]} == {"NO_MODEL", "EXERCISE"}


async def test_a_refused_model_leaves_the_old_one_and_a_mended_one_is_taken(
    world: World, tmp_path: Path, model_dir: Path, keys: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    good = (folder / ARTIFACT_NAME).read_bytes()
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**with_model(folder, keys)) as stub:
        await world.until_decided(LAST)
        version = (await stub.GetModel(pb.GetModelRequest())).model_version

        async def refusal(code: str) -> bool:
            found = await stub.GetModel(pb.GetModelRequest())
            assert (found.loaded, found.model_version) == (True, version)
            return found.refusal_code == code

        (folder / ARTIFACT_NAME).write_bytes(good + b"x")
        await eventually(lambda: refusal("HASH_MISMATCH"))
        await world.store(LAST + 1, LAST + 1)
        await world.complete(LAST + 1)
        rows = await world.until_decided(LAST + 1)
        assert {row["model_version"] for row in rows} == {version}
        # The manifest is the same as before; the artifact beside it is whole again.
        (folder / ARTIFACT_NAME).write_bytes(good)
        await eventually(lambda: refusal(""))
        (folder / MANIFEST_NAME).unlink()
        await eventually(lambda: refusal("NO_MODEL"))


async def test_a_model_is_taken_although_the_database_was_away_at_the_first_look(
    world: World, model_dir: Path, keys: Path
) -> None:
    await world.run(_outage())
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**with_model(model_dir, keys)) as stub:
        await asyncio.sleep(1.5)
        assert not (await stub.GetModel(pb.GetModelRequest())).loaded
        assert not await world.signals()
        await world.run(_back())
        rows = await world.until_decided(LAST)
        assert not stub.service.stopped
    assert "NO_MODEL" not in {reason["code"] for row in rows for reason in row["reasons"]}


def _outage() -> Any:
    """In the place of a table, something that answers every write as a database that is shutting down does."""
    return text("""
        DO $do$ BEGIN
          ALTER TABLE models RENAME TO hidden;
          CREATE TABLE models (LIKE hidden INCLUDING ALL);
          GRANT SELECT, INSERT, UPDATE ON models TO mesh_signal;
          CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P03'; END $$;
          CREATE TRIGGER away BEFORE INSERT ON models FOR EACH ROW EXECUTE FUNCTION away();
        END $do$""")


def _back() -> Any:
    """At once: at no moment is there no such table, which would be no outage."""
    return text("DO $$ BEGIN ALTER TABLE models RENAME TO gone; ALTER TABLE hidden RENAME TO models; END $$")


async def test_bad_input_is_told_whole(world: World, model_dir: Path, keys: Path) -> None:
    async with world.service(**with_model(model_dir, keys)) as stub:

        async def loaded() -> bool:
            return bool((await stub.GetModel(pb.GetModelRequest())).loaded)

        await eventually(loaded)
        assert (await refused(stub.GenerateSignals(generate()))).reason == "STALE_DATA"
        await world.complete(LAST)
        cases: list[tuple[Any, set[str]]] = [
            (generate(request_id="x"), {"request_id"}),
            (generate(product_ids=["NO-USD", PRODUCTS[0], "x" * 99]), {"product_ids[0]", "product_ids[2]"}),
            (generate(product_ids=[PRODUCTS[0]] * 1001), {"product_ids"}),
            (generate(as_of=close_of(LAST).replace(minute=7)), {"as_of"}),
            (generate(as_of=close_of(LAST + 1)), {"as_of"}),
            (
                generate(request_id="", product_ids=["?"], as_of=close_of(0).replace(year=1999)),
                {"request_id", "product_ids[0]", "as_of"},
            ),
        ]
        for request, fields in cases:
            error = await refused(stub.GenerateSignals(request))
            assert (error.code, {violation.field for violation in error.violations}) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                fields,
            )
        assert (await refused(stub.GetSignal(pb.GetSignalRequest(signal_id="7")))).reason == "INVALID_REQUEST"
        assert (await refused(stub.GetSignal(pb.GetSignalRequest(signal_id=str(uuid4()))))).reason == "NOT_FOUND"
        bad = pb.ListSignalsRequest(page_size=-5, product_id="?", side=9)
        assert len((await refused(stub.ListSignals(bad))).violations) == 3
        for token in ("x", paging.encode({"at": "1", "id": "2"}, "signals||0")):
            error = await refused(stub.ListSignals(pb.ListSignalsRequest(page_token=token)))
            assert error.reason == "INVALID_POSITION"
        for after in (10**6, 2**64 - 1):
            call = stub.WatchSignals(pb.WatchSignalsRequest(after_sequence=after))
            assert (await refused(call.read())).reason == "INVALID_POSITION"


async def test_lists_page_and_watches_resume(world: World, model_dir: Path, keys: Path) -> None:
    await world.store(0, LAST + 1)
    await world.complete(LAST)
    async with world.service(**with_model(model_dir, keys)) as stub:
        await world.until_decided(LAST)
        await world.complete(LAST + 1)
        rows = await world.until_decided(LAST + 1)
        seen: list[str] = []
        token = ""
        while True:
            page = await stub.ListSignals(pb.ListSignalsRequest(page_size=2, page_token=token))
            seen += [signal.signal_id for signal in page.signals]
            token = page.next_page_token
            if not token:
                break
        order = sorted(rows, key=lambda row: (-row["as_of"].timestamp(), row["product_id"]))
        assert seen == [str(row["signal_id"]) for row in order]
        full = (await stub.GetSignal(pb.GetSignalRequest(signal_id=seen[0]))).signal
        stored = {str(row["signal_id"]): row for row in rows}[seen[0]]
        model = await stub.GetModel(pb.GetModelRequest())
        assert model.feature_set_hash == full.feature_set_hash == stored["feature_set_hash"]
        # Whoever has the model's list and the packed row can name every value.
        assert list(model.feature_names) == json.loads(model.manifest_json)["feature_set"]["names"]
        assert dict(zip(model.feature_names, full.features, strict=True)) == dict(
            zip(NAMES, stored["features"], strict=True)
        )
        for after in (0, 2, 6):
            call = stub.WatchSignals(pb.WatchSignalsRequest(after_sequence=after))
            found: list[Any] = []
            async with asyncio.timeout(60):
                while True:
                    frame = await call.read()
                    found += list(frame.batch.signals)
                    if frame.HasField("watermark"):
                        break
            call.cancel()
            assert [signal.sequence for signal in found] == list(range(after + 1, 7))
            assert frame.watermark.as_of == wire.timestamp_message(close_of(LAST + 1))
            for signal in found:
                assert len(signal.features) == (0 if signal.side == 3 else 51)


async def test_catching_up_is_bounded_and_goes_on_from_the_newest_bars(world: World) -> None:
    await world.store(0, LAST)
    await world.complete(LAST - 30)
    async with world.service():
        await world.until_decided(LAST - 30)
    await world.complete(LAST)
    async with world.service(catch_up_bars=4):
        rows = await world.until_decided(LAST)
    bars = [close_of(LAST - 30)] + [close_of(LAST - back) for back in (3, 2, 1, 0)]
    assert sorted({row["as_of"] for row in rows}) == bars


async def test_the_training_job_writes_a_model_that_is_served(world: World, tmp_path: Path, keys: Path) -> None:
    await world.store(0, TRAIN_BARS - 1)
    await world.complete(TRAIN_BARS - 1)
    given: dict[str, Any] = {
        **world.database.settings_of("training"),
        "products": ",".join(PRODUCTS),
        "taker_fee": "0.0005",
        "model_signing_key_file": keys / "private.pem",
        "model_out": tmp_path / "out",
    }
    with pytest.raises(ValidationError):
        TrainJobSettings(**given, train_until="2025-01-01T00:00:00")
    shares: list[float] = []
    few = TrainJobSettings(**given, train_until=close_of(40))
    with pytest.raises(TrainingRefused):
        await asyncio.to_thread(run, few, lambda stage, share: shares.append(share))
    assert not (tmp_path / "out").exists()
    until = close_of(TRAIN_BARS - 2)
    settings = TrainJobSettings(**given, train_until=until)
    trained = await asyncio.to_thread(run, settings, lambda stage, share: shares.append(share))
    assert trained.model.train_to <= until.timestamp()
    assert all(0 <= share <= 1 for share in shares)
    pinned = {"model_dir": tmp_path / "out", "model_manifest_sha256": trained.manifest_sha256}
    async with world.service(**pinned, taker_fee="0.0005") as stub:
        rows = await world.until_decided(TRAIN_BARS - 1)
        model = await stub.GetModel(pb.GetModelRequest())
    assert model.loaded
    assert {row["model_version"] for row in rows} == {model.model_version}
