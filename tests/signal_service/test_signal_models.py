"""Champion and challenger over a real socket: who is adopted, who challenges, what a promotion asks for, and the way back."""

import asyncio
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from refusals import refused
from sqlalchemy import select, text
from waiting import eventually

from modelkit.manifest import ARTIFACT_NAME, MANIFEST_NAME
from modelkit.model_folders import MOST_FOLDERS
from schema.signals import model_changes, model_roles
from tests.signal.conftest import SMALL
from tests.signal.signal_series import FIRST_BAR, synthetic
from tests.signal_service.conftest import KEY, WHEN
from tests.signal_service.model_calls import HOUR, store_evidence, told, until
from tests.signal_service.signal_world import BARS, PRODUCTS, World, close_of
from tradekit import ids
from trading.signal.v1 import signal_service_pb2 as pb
from training.artifact import model_version, write_model
from training.fit import TrainedModel, train

LAST = BARS - 1
Write = Callable[..., str]


@pytest.fixture(scope="session")
def trained() -> TrainedModel:
    return train(synthetic(3, 1500), SMALL, lambda step, share: None)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def write(models: Path, trained: TrainedModel) -> Write:
    """Writes the model as if it had been trained `later` hours further, and gives its version."""

    def written(later: int, folder: str = ".", **changes: Any) -> str:
        model = replace(trained, train_to=trained.train_to + later * HOUR, **changes)
        write_model(models / folder, model, WHEN, "abc123", KEY)
        return model_version(model)

    return written


def served(models: Path, keys: Path) -> dict[str, Any]:
    return {"model_dir": models, "model_public_key_file": keys / "public.pem"}


def promotion(version: str, request_id: str = "") -> pb.PromoteModelRequest:
    return pb.PromoteModelRequest(request_id=request_id or str(ids.new_request_id()), model_version=version)


def rollback(note: str = "", request_id: str = "") -> pb.RollbackModelRequest:
    return pb.RollbackModelRequest(request_id=request_id or str(ids.new_request_id()), note=note)


async def record(world: World) -> list[tuple[str, str, str]]:
    rows = await world.run(select(model_changes).order_by(model_changes.c.number))
    return [(row["kind"], row["model_version"], row["previous_version"]) for row in rows]


async def test_the_first_model_is_adopted_and_a_newer_one_challenges(
    world: World, models: Path, write: Write, keys: Path
) -> None:
    first = write(0)
    async with world.service(**served(models, keys)) as stub:
        found = await until(stub, first)
        assert (found.serving_engine, found.previous_version) == ("FLAT_ARRAYS", "")
        older = write(-5, "older")
        third = write(9, "third")
        await until(stub, first, third)
        second = write(5, "second")
        fourth = write(12, "fourth")
        await until(stub, first, fourth)
        (models / "fourth" / ARTIFACT_NAME).write_bytes(b"x")
        listed: pb.ListModelsResponse = await stub.ListModels(pb.ListModelsRequest())

        async def refusal_told() -> bool:
            nonlocal listed
            listed = await stub.ListModels(pb.ListModelsRequest())
            return listed.models[-1].refusal_code == "HASH_MISMATCH"

        await eventually(refusal_told)
        # What serves in shadow goes on from memory; GetModel tells what is wrong, and where.
        found = await told(stub)
        assert (found.challenger_version, found.refusal_code) == (fourth, "HASH_MISMATCH")
        assert found.refusal_detail.startswith("fourth: ")
    role = pb.ModelRole.Name
    parts = [(info.model_version, info.folder, role(info.role)[11:]) for info in listed.models]
    assert parts == [
        (first, ".", "CHAMPION"),
        (fourth, "", "CHALLENGER"),
        (third, "third", "RETIRED"),
        (second, "second", "RETIRED"),
        (older, "older", "RETIRED"),
        ("", "fourth", "REFUSED"),
    ]
    evidence = listed.models[1].evidence
    assert [reason.code for reason in evidence.missing] == ["EVIDENCE_TOO_SHORT", "LOG_LOSS_NOT_LOWER"]
    assert await record(world) == [
        ("ADOPTED", first, ""),
        ("CHALLENGED", third, first),
        ("CHALLENGED", fourth, first),
    ]
    assert [change.model_version for change in listed.changes] == [fourth, third, first]


async def test_a_promotion_without_evidence_is_refused_with_all_that_is_missing(
    world: World, models: Path, write: Write, keys: Path
) -> None:
    first, second = write(0), write(5, "second")
    async with world.service(**served(models, keys)) as stub:
        await until(stub, first, second)
        error = await refused(stub.PromoteModel(promotion(second)))
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PROMOTION_REFUSED")
        assert set(error.metadata) == {"EVIDENCE_TOO_SHORT", "LOG_LOSS_NOT_LOWER"}
        assert "0.0 days, 0 labels" in error.message and "14 days or 1000 labels" in error.message
        # A request_id whose promotion was refused stands for nothing yet.
        again = promotion(second)
        for _ in range(2):
            assert (await refused(stub.PromoteModel(again))).reason == "PROMOTION_REFUSED"
        await store_evidence(world, first, second, knows=False)
        error = await refused(stub.PromoteModel(promotion(second)))
        assert set(error.metadata) == {"LOG_LOSS_NOT_LOWER", "CALIBRATION_OFF"}
        assert (await refused(stub.PromoteModel(promotion(first)))).message.startswith(f"{first} is the champion")
        assert (await refused(stub.PromoteModel(promotion("nobody")))).reason == "NOT_FOUND"
        assert (await refused(stub.RollbackModel(rollback()))).reason == "NOT_FOUND"
        (models / "second" / ARTIFACT_NAME).write_bytes(b"x")
        error = await refused(stub.PromoteModel(promotion(second)))
        assert error.reason == "PROMOTION_REFUSED" and "HASH_MISMATCH" in error.message
        bad = pb.PromoteModelRequest(request_id="7", model_version="x" * 201)
        assert len((await refused(stub.PromoteModel(bad))).violations) == 2
        bad = pb.RollbackModelRequest(note="\x00" + "x" * 500)
        assert len((await refused(stub.RollbackModel(bad))).violations) == 2
        assert (await told(stub)).model_version == first
    assert [kind for kind, *_ in await record(world)] == ["ADOPTED", "CHALLENGED"]


async def test_a_promotion_swaps_the_champion_everywhere_and_a_rollback_brings_it_back(
    world: World, models: Path, write: Write, keys: Path
) -> None:
    first, second = write(0), write(5, "second")
    await world.store(0, LAST + 2)
    await world.complete(LAST)
    # A pace of an hour: what is in force at once was told, not found.
    given = {**served(models, keys), "model_poll_seconds": 3600.0}
    async with world.service(**given) as stub, world.service(**given) as other:
        await until(stub, first, second)
        await until(other, first, second)
        await world.until_decided(LAST)
        await store_evidence(world, first, second)
        evidence = (await stub.ListModels(pb.ListModelsRequest())).models[1].evidence
        assert not evidence.missing and evidence.matured_labels == 1020 and evidence.probability_better == 1.0
        assert evidence.log_loss < evidence.champion_log_loss
        request = promotion(second)
        answers = await asyncio.gather(
            stub.PromoteModel(request), other.PromoteModel(request), other.PromoteModel(promotion(second)),
            return_exceptions=True,
        )  # fmt: skip
        done = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(done) in (1, 2) and all(answer == done[0] for answer in done)
        change = done[0].change
        assert (change.kind, change.model_version, change.previous_version) == ("PROMOTED", second, first)
        assert change.caller == "operator"
        for one in (stub, other):
            assert (await until(one, second)).previous_version == first
        await world.complete(LAST + 1)
        rows = await world.until_decided(LAST + 1)
        versions = {row["as_of"]: row["model_version"] for row in rows if row["sequence"] < 1_000_000}
        decided = [row["model_version"] for row in rows if row["as_of"] == close_of(LAST + 1)]
        assert decided == [second] * 3 and versions[close_of(LAST)] == first
        body = rollback("it buys at the top")
        answer = await other.RollbackModel(body)
        assert answer == await stub.RollbackModel(body)
        body.note = "something else"
        assert (await refused(stub.RollbackModel(body))).reason == "REQUEST_ID_REUSED"
        assert answer.challenger_version == second
        for one in (stub, other):
            assert (await until(one, first, second)).previous_version == ""
        assert (await refused(stub.RollbackModel(rollback()))).reason == "NOT_FOUND"
        # What it once was promoted on counts no more; what both say from now on does.
        error = await refused(stub.PromoteModel(promotion(second)))
        assert set(error.metadata) == {"EVIDENCE_TOO_SHORT", "LOG_LOSS_NOT_LOWER"} and "0 labels" in error.message
        evidence = (await stub.ListModels(pb.ListModelsRequest())).models[1].evidence
        assert evidence.matured_labels == 0 and not evidence.HasField("shadow_since_time")
    # A start later the roles hold.
    async with world.service(**served(models, keys)) as stub:
        await until(stub, first, second)
        changes = (await stub.ListModels(pb.ListModelsRequest())).changes
        assert [(one.kind, one.note, one.caller) for one in changes[:2]] == [
            ("CHALLENGED", "may prove itself after the rollback", "operator"),
            ("ROLLED_BACK", "it buys at the top", "operator"),
        ]
        await store_evidence(world, first, second, first_bar=-800)
        evidence = (await stub.ListModels(pb.ListModelsRequest())).models[1].evidence
        assert evidence.matured_labels == 1020 and evidence.shadow_since_time.seconds == (FIRST_BAR - 800) * HOUR
        await stub.PromoteModel(promotion(second))
        assert (await until(stub, second)).previous_version == first
    assert await record(world) == [
        ("ADOPTED", first, ""),
        ("CHALLENGED", second, first),
        ("PROMOTED", second, first),
        ("ROLLED_BACK", first, second),
        ("CHALLENGED", second, first),
        ("PROMOTED", second, first),
    ]
    rows = await world.run(select(model_changes).where(model_changes.c.kind == "PROMOTED"))
    assert rows[0]["evidence"]["matured_labels"] == 1020 and rows[0]["evidence"]["probability_better"] == 1.0


async def test_a_version_in_two_folders_and_folders_beyond_the_bound_are_told(
    world: World, models: Path, write: Write, keys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The folder of a version is the one that what serves came from, whichever copy is newer or better named."""
    first = write(0, "first")
    async with world.service(**served(models, keys)) as stub:
        await until(stub, first)
        write(0, first)
        for number in range(20):
            (models / f"draft{number:02d}").mkdir()
            (models / f"draft{number:02d}" / MANIFEST_NAME).write_bytes(b"{}")
        listed = pb.ListModelsResponse()

        async def all_told() -> bool:
            nonlocal listed
            listed = await stub.ListModels(pb.ListModelsRequest())
            return listed.folders_left_out == 22 - MOST_FOLDERS

        await eventually(all_told)
        info = listed.models[0]
        assert (info.model_version, info.folder, list(info.other_folders)) == (first, "first", [first])
        assert len(listed.models) == 1 + MOST_FOLDERS - 2
        # Another training of the same version serves from neither: what serves stays what it was.
        sha256 = info.manifest_sha256
        shutil.rmtree(models / first)
        write_again = write(0, "first", evidence={"another": 1})
        assert write_again == first

        async def from_memory() -> bool:
            nonlocal info
            info = (await stub.ListModels(pb.ListModelsRequest())).models[0]
            return not info.folder

        await eventually(from_memory)
        assert (info.manifest_sha256, list(info.other_folders)) == (sha256, ["first"])
    said = capfd.readouterr().out
    assert said.count("model_version_in_several_folders") == 1
    told = [line for line in said.splitlines() if "model_folders_left_out" in line]
    # As text on a terminal, as JSON where a test before this one has set up logging.
    assert any(re.search(rf"\bcount\W+{22 - MOST_FOLDERS}\b", re.sub(r"\x1b\[\d*m", "", line)) for line in told), told


async def test_where_the_champion_cannot_serve_another_is_adopted(
    world: World, models: Path, write: Write, keys: Path
) -> None:
    first, second = write(0, "first"), write(5, "second")
    async with world.service(**served(models, keys)) as stub:
        await until(stub, second)  # nothing lies at the top, and it is the newest
        shutil.rmtree(models / "second")

        async def missed() -> bool:
            return (await told(stub)).refusal_code == "FILE_UNREADABLE"

        await eventually(missed)
        assert (await told(stub)).model_version == second  # from memory
    async with world.service(**served(models, keys)) as stub:
        await until(stub, first)
    # A top that was made anew, because the champion does not know all products, takes its place at the next start.
    few = PRODUCTS[:2]
    unfit, top = write(9, "unfit", products=few), write(7)
    await world.run(model_roles.update().values(champion=unfit))
    async with world.service(**served(models, keys)) as stub:
        await until(stub, top, "")
    assert [one for one in await record(world) if one[0] == "ADOPTED"] == [
        ("ADOPTED", second, ""),
        ("ADOPTED", first, second),
        ("ADOPTED", top, unfit),
    ]


async def test_a_model_that_is_refused_at_the_database_does_no_harm(
    world: World, models: Path, write: Write, keys: Path
) -> None:
    """An outage in the middle of a look: nothing is in part taken, and the next look takes all of it."""
    first = write(0)
    await world.run(
        text("""
        DO $do$ BEGIN
          CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P03'; END $$;
          CREATE TRIGGER away BEFORE INSERT ON model_changes FOR EACH ROW EXECUTE FUNCTION away();
        END $do$""")
    )
    async with world.service(**served(models, keys)) as stub:
        await asyncio.sleep(1.0)
        assert not (await told(stub)).loaded
        assert (await world.run(select(model_roles)))[0]["champion"] is None
        await world.run(text("DROP TRIGGER away ON model_changes"))
        await until(stub, first)
        assert not stub.service.stopped
    assert await record(world) == [("ADOPTED", first, "")]


async def test_who_lacks_the_champions_files_takes_nothing_from_a_process_that_serves_it(
    world: World, models: Path, write: Write, keys: Path, tmp_path: Path
) -> None:
    """And once nobody serves it any more, the best that is there is adopted."""
    champion, newer = write(0), write(-5, "newer")
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.move(models / "newer", other / "newer")
    async with world.service(**served(models, keys)) as first:
        await until(first, champion)
        async with world.service(**served(other, keys)) as second:

            async def told_why() -> bool:
                return (await told(second)).refusal_code == "FILE_UNREADABLE"

            await eventually(told_why)
            assert not (await told(second)).loaded
            assert (await told(first)).model_version == champion
    async with world.service(**served(other, keys)) as second:
        await until(second, newer)
