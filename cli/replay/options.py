"""What a replay is asked to do, checked against the file before anything starts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tradekit.bars import GRANULARITY_SECONDS, is_on_grid, utc
from tradekit.products import is_product_id
from tradekit.states import Profile

DEFAULT_REVIEWS_PER_BAR = 2
DEFAULT_SEED = 1


class ReplayRefused(Exception):
    """The replay cannot be run as asked; the text says what to change."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """A replay. `begin` and `end` are market times: decisions are made from the close at `begin` to the one at `end`."""

    file: Path
    products: tuple[str, ...]
    begin: datetime
    end: datetime
    profile: Profile = Profile.EXERCISE
    seed: int = DEFAULT_SEED
    reviews_per_bar: int = DEFAULT_REVIEWS_PER_BAR
    model: Path | None = None
    in_sample: bool = False
    with_monitor: bool = False


@dataclass(frozen=True, slots=True)
class CandleFile:
    """What the file holds of the products asked for."""

    granularity: str
    first: datetime
    last_close: datetime

    @property
    def granularity_seconds(self) -> int:
        """Length of a bar in seconds."""
        return GRANULARITY_SECONDS[self.granularity]


def parse_day(text: str, name: str) -> datetime:
    """A day or time in UTC, such as 2025-01-01 or 2025-01-01T06:00Z."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        rule = "write a day such as 2025-01-01 or a time such as 2025-01-01T06:00Z"
        raise ReplayRefused(f"{name} is {text!r}; {rule}") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def examine(options: ReplayOptions) -> CandleFile:
    """Reads what the file holds. Raises ReplayRefused for anything that cannot be replayed."""
    if not options.file.is_file():
        raise ReplayRefused(f"there is no file {options.file}")
    bad = [product for product in options.products if not is_product_id(product)]
    if bad or not options.products:
        raise ReplayRefused(f"--products {','.join(options.products)}: {bad or 'none'} must look like BTC-USD")
    if options.begin >= options.end:
        raise ReplayRefused(f"--from {options.begin} must lie before --to {options.end}")
    try:
        table = pq.read_table(options.file, columns=["product_id", "granularity", "start"])
    except (OSError, ValueError, KeyError) as error:
        raise ReplayRefused(f"{options.file} is no Parquet file of candles: {error}") from error
    return _found(options, table)


def _found(options: ReplayOptions, table: pa.Table) -> CandleFile:
    have = set(pc.unique(table["product_id"]).to_pylist())
    missing = [product for product in options.products if product not in have]
    if missing:
        raise ReplayRefused(f"{options.file.name} has no {', '.join(missing)}; it has {', '.join(sorted(have))}")
    mine = table.filter(pc.is_in(table["product_id"], pa.array(options.products)))
    granularities = pc.unique(mine["granularity"]).to_pylist()
    if len(granularities) != 1 or granularities[0] not in GRANULARITY_SECONDS:
        raise ReplayRefused(f"{options.file.name} mixes granularities: {granularities}")
    step = GRANULARITY_SECONDS[granularities[0]]
    bounds = pc.min_max(mine["start"]).as_py()
    first = bounds["min"].astimezone(UTC)
    last = utc(int(bounds["max"].timestamp()) + step)
    if not (is_on_grid(options.begin, step) and is_on_grid(options.end, step)):
        raise ReplayRefused(f"--from and --to must lie on bars of {granularities[0]}")
    if not first < options.begin < options.end <= last:
        raise ReplayRefused(f"{options.file.name} covers {first} to {last}; --from and --to must lie inside")
    return CandleFile(granularities[0], first, last)
