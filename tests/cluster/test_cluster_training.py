"""The training of a cluster waits for the market's history, and keeps a model that serves."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cluster import training
from cluster.training import ClusterTrainingSettings, kept_model, wait_for_market
from meshkit.database_link import DatabaseAddress
from tests.conftest import Database


async def test_it_waits_until_the_market_has_published_its_watermark(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_LOOK_SECONDS", 0.05)
    address = DatabaseAddress.of_variables(database.env)
    assert not await wait_for_market(address, 0.3)
    waiting = asyncio.create_task(wait_for_market(address, 60.0))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    async with database.engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO watermarks (stage, as_of, sequence) VALUES ('market', :at, 1)"),
            {"at": datetime(2026, 1, 1, tzinfo=UTC)},
        )
    assert await waiting


async def test_a_database_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_LOOK_SECONDS", 0.05)
    began = time.monotonic()
    assert not await wait_for_market(DatabaseAddress(str(tmp_path), 5432, "trading", "trading"), 0.3)
    assert time.monotonic() - began >= 0.3


def test_a_model_is_kept_if_it_serves_every_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.pem"
    key.touch()
    settings = ClusterTrainingSettings(
        model_signing_key_file=key, model_out=tmp_path, model_public_key_file=key, products=("BTC-USD", "ETH-USD")
    )

    def says(**found: Any) -> str:
        monkeypatch.setattr(training, "verdict", lambda *_: {"model_version": "v7", "products": [], **found})
        return kept_model(settings)

    assert says(usable=True, products=["BTC-USD", "ETH-USD", "SOL-USD"]) == "v7"
    assert says(usable=True, products=["BTC-USD"]) == ""
    assert says(usable=False, products=["BTC-USD", "ETH-USD"]) == ""


def test_an_empty_folder_has_no_model_to_keep(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key")
    settings = ClusterTrainingSettings(model_signing_key_file=key, model_out=tmp_path, model_public_key_file=key)
    assert kept_model(settings) == ""
    assert json.dumps(settings.products)
