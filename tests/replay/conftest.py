"""A small file of real candles, and one undisturbed replay of it that several tests look at."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from real_candles import SAMPLE
from replay_runs import BEGIN, END, HISTORY, PRODUCTS, Undisturbed, quiet

from cli.replay.options import ReplayOptions
from cli.replay.run import replay
from tradekit.states import Profile


@pytest.fixture(scope="session")
def candle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five months of three products: enough to learn from, small enough to load at once."""
    table = pq.read_table(SAMPLE)
    low, high = (pa.scalar(moment, table["start"].type) for moment in (HISTORY, END + timedelta(days=1)))
    wanted = pc.and_(pc.greater_equal(table["start"], low), pc.less(table["start"], high))
    wanted = pc.and_(wanted, pc.is_in(table["product_id"], pa.array(PRODUCTS)))
    path = tmp_path_factory.mktemp("candles") / "candles.parquet"
    pq.write_table(table.filter(wanted), path)
    return path


@pytest.fixture(scope="session")
def undisturbed(candle_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """One replay of four days; its folder is kept for its model."""
    home = tmp_path_factory.mktemp("replay-home")
    home.chmod(0o755)
    options = ReplayOptions(candle_file, PRODUCTS, BEGIN, END, Profile.EXERCISE)
    yield Undisturbed(asyncio.run(replay(options, home, quiet(), keep=True)), candle_file, home)
