"""Commands run in this process, with an environment and a state folder of their own."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cli import console
from cli.main import app

Mesh = Callable[..., "Ran"]


class Ran:
    """A command that ended: its code and everything it said, as one line."""

    def __init__(self, result: Any) -> None:
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code = result.exit_code
        self.out = result.stdout
        self.said = re.sub(r"\s+", " ", result.output)


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mesh:
    """The command in this process, with an environment and a state folder of its own."""
    for name in set(os.environ) - {"PATH", "PYTHONPATH", "TMPDIR"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "mesh"))
    for one in (console.out, console.err):
        monkeypatch.setattr(one, "width", 200)

    def run(*arguments: str, **variables: str) -> Ran:
        return Ran(CliRunner().invoke(app, list(arguments), env=variables))

    return run


@pytest.fixture
def candle_file(tmp_path: Path) -> Path:
    """1000 hours of two products."""
    start = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(1000)]
    columns: dict[str, Any] = {
        "product_id": ["BTC-USD"] * 1000 + ["ETH-USD"] * 1000,
        "granularity": ["ONE_HOUR"] * 2000,
    }
    columns |= {"start": start * 2, **{name: [7.0] * 2000 for name in ("open", "high", "low", "close", "volume")}}
    path = tmp_path / "candles.parquet"
    pq.write_table(pa.table(columns), path)
    return path
