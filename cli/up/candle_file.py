"""What a candle file to be replayed holds, read before anything starts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.exits import CommandFailed, ExitCode
from tradekit.bars import GRANULARITY_SECONDS


@dataclass(frozen=True, slots=True)
class CandleFileFacts:
    """Products and span of a file; `first` and `last` are open times."""

    granularity: str
    products: tuple[str, ...]
    first: datetime
    last: datetime

    @property
    def bars(self) -> int:
        """Bars from the first to the last."""
        return int((self.last - self.first).total_seconds()) // GRANULARITY_SECONDS[self.granularity] + 1

    def start_after(self, history_bars: int) -> datetime:
        """Where the replay begins, so that there are this many bars to learn from before it."""
        return self.first + timedelta(seconds=history_bars * GRANULARITY_SECONDS[self.granularity])


def read_facts(path: Path) -> CandleFileFacts:
    """Raises CommandFailed for a file that cannot be replayed."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        raise CommandFailed(f"there is no file {path}", "say --market replay:FILE.parquet", ExitCode.USAGE)
    try:
        table = pq.read_table(path, columns=["product_id", "granularity", "start"])
        bounds = pc.min_max(table["start"]).as_py()
        granularities = pc.unique(table["granularity"]).to_pylist()
        products = tuple(sorted(pc.unique(table["product_id"]).to_pylist()))
    except (OSError, ValueError, KeyError) as error:
        raise CommandFailed(f"{path} is no Parquet file of candles: {error}", code=ExitCode.USAGE) from None
    if len(granularities) != 1 or granularities[0] not in GRANULARITY_SECONDS or bounds["min"] is None:
        raise CommandFailed(f"{path} must hold candles of one length; it has {granularities}", code=ExitCode.USAGE)
    return CandleFileFacts(granularities[0], products, bounds["min"].astimezone(UTC), bounds["max"].astimezone(UTC))
