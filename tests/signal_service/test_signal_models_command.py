"""`mesh model` against a running service: what it shows, what it refuses, and what it changes."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import pytest

from cli.instance_file import Instance, write_instance
from supervisor.home import MeshHome
from tests.signal.conftest import SMALL
from tests.signal.signal_series import synthetic
from tests.signal_service.conftest import KEY, WHEN
from tests.signal_service.model_calls import store_evidence, until
from tests.signal_service.signal_world import PRODUCTS, World, eventually
from tradekit.states import Profile, Venue
from training.artifact import model_version, write_model
from training.fit import train


async def mesh(*arguments: str) -> tuple[int, str]:
    ran = await commands.mesh("model", *arguments)
    return ran.exit_code, " ".join(ran.output.split())


async def test_list_promote_and_rollback(
    world: World, tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    assert (await mesh("list"))[0] == 3
    (tmp_path / "home").mkdir(mode=0o700)
    first = train(synthetic(3, 1500), SMALL, lambda step, share: None)
    second = replace(first, train_to=first.train_to + 3600)
    models = tmp_path / "models"
    write_model(models, first, WHEN, "abc123", KEY)
    write_model(models / "second", second, WHEN, "abc123", KEY)
    champion, challenger = model_version(first), model_version(second)
    given: dict[str, Any] = {"model_dir": models, "model_public_key_file": keys / "public.pem"}
    async with world.service(**given) as stub:
        instance = Instance(
            market="simulated",
            venue=Venue.SIMULATED,
            profile=Profile.EXERCISE,
            products=PRODUCTS,
            granularity="ONE_HOUR",
            seed=1,
            speed=1.0,
            run_id="main",
            history_bars=1,
            services={"signal": stub.service.port},
        )
        write_instance(MeshHome.at(tmp_path / "home"), instance)
        await until(stub, champion, challenger)
        code, said = await mesh("list")
        assert code == 0 and "CHAMPION" in said and "CHALLENGER" in said
        assert f"{challenger} has not predicted a bar yet" in said
        assert "ADOPTED" in said and "CHALLENGED" in said
        code, said = await mesh("promote", challenger)
        assert code == 1 and "EVIDENCE_TOO_SHORT: 0.0 days, 0 labels" in said and "mesh model list" in said
        code, said = await mesh("promote", "nobody")
        assert code == 1 and "NOT_FOUND" in said
        code, said = await mesh("rollback")
        assert code == 1 and "NOT_FOUND" in said
        await store_evidence(world, champion, challenger)
        code, said = await mesh("list")
        assert code == 0 and f"nothing is missing: mesh model promote {challenger}" in said
        assert "1020 rows" in said and "probability that its loss is lower: 1.000" in said
        code, said = await mesh("promote", challenger)
        assert code == 0 and f"{challenger} decides" in said
        await until(stub, challenger)
        code, said = await mesh("rollback", "--note", "too eager")
        assert code == 0 and f"{champion} decides again" in said and f"{challenger} challenges" in said
        await until(stub, champion, challenger)
        shutil.copytree(models / "second", models / "copy")
        for number in range(15):
            shutil.copytree(
                models / "second", models / f"draft{number:02d}", ignore=lambda *_: ["balanced_model.joblib"]
            )

        async def told() -> bool:
            nonlocal said
            said = (await mesh("list"))[1]
            return "not looked at" in said and "copy" in said

        await eventually(told)
        assert "too eager" in said and f"{challenger} has not predicted a bar yet" in said
        assert f"{challenger} lies in copy as well; the one in second is used" in said
        assert "2 more folders hold a model and were not looked at" in said
    code, said = await mesh("list")
    assert code == 3 and "nothing runs in" in said and "mesh up" in said
