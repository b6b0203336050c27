"""What the replay tests share: a small file of real candles, and the undisturbed run that others are compared with."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from real_candles import SAMPLE

from cli.replay.options import ReplayOptions
from cli.replay.run import ReplayReport, Watching, replay
from tradekit.states import Profile

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
HISTORY = datetime(2024, 8, 1, tzinfo=UTC)
BEGIN = datetime(2025, 1, 11, 12, tzinfo=UTC)
END = datetime(2025, 1, 15, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Undisturbed:
    """The replay that others are compared with, and where its model lies."""

    report: ReplayReport
    file: Path
    home: Path

    def options(self, **changes: object) -> ReplayOptions:
        base = {"file": self.file, "products": PRODUCTS, "begin": BEGIN, "end": END, "profile": Profile.EXERCISE}
        return ReplayOptions(**{**base, **changes})


def quiet() -> Watching:
    return Watching(lambda stage, share: None, lambda event: None)


def write_candles(path: Path) -> Path:
    """Five months of three products: enough to learn from, small enough to load at once."""
    table = pq.read_table(SAMPLE)
    low, high = (pa.scalar(moment, table["start"].type) for moment in (HISTORY, END + timedelta(days=1)))
    wanted = pc.and_(pc.greater_equal(table["start"], low), pc.less(table["start"], high))
    wanted = pc.and_(wanted, pc.is_in(table["product_id"], pa.array(PRODUCTS)))
    pq.write_table(table.filter(wanted), path)
    return path


def undisturbed_run(file: Path, home: Path) -> Undisturbed:
    """One replay of four days; its folder is kept for its model."""
    options = ReplayOptions(file, PRODUCTS, BEGIN, END, Profile.EXERCISE)
    return Undisturbed(asyncio.run(replay(options, home, quiet(), keep=True)), file, home)
