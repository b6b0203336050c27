"""Reads a candle file that is to be replayed, before anything starts: for `mesh replay` and `mesh up --market replay:`.

This module says in words what the file holds and lacks; the rows that break a rule are counted and shown, and a file of
which a considerable part is lost is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from candle_files.account import Account
from candle_files.names import parse_length, unsupported
from candle_files.rows import UnusableFile
from candle_files.series import Candles, load
from cli.exits import CommandFailed, ExitCode, not_a_file
from tradekit.bars import GRANULARITY_NAMES, utc
from tradekit.products import market_factor


@dataclass(frozen=True, slots=True)
class CandleFileFacts:
    """Products and span of a file; `first` and `last` are open times."""

    granularity: str
    granularity_seconds: int
    products: tuple[str, ...]
    first: datetime
    last: datetime
    account: Account

    @property
    def bars(self) -> int:
        """Bars from the first to the last."""
        return int((self.last - self.first).total_seconds()) // self.granularity_seconds + 1

    def start_after(self, history_bars: int) -> datetime:
        """Where the replay begins, so that there are this many bars to learn from before it."""
        return utc(int(self.first.timestamp()) + history_bars * self.granularity_seconds)


def granularity_option(text: str) -> str:
    """`--granularity` by its name in the contract, UNSPECIFIED if it is empty. Raises CommandFailed for what is none."""
    seconds = parse_length(text)
    if text and seconds not in GRANULARITY_NAMES:
        raise CommandFailed(unsupported(f"--granularity is {text}"), code=ExitCode.USAGE)
    return f"GRANULARITY_{GRANULARITY_NAMES[seconds] if seconds else 'UNSPECIFIED'}"


def read_facts(path: Path, products: Sequence[str] = ()) -> CandleFileFacts:
    """What the file holds of the products and their market factor, or of all. Raises CommandFailed for a file that
    cannot be replayed."""
    if not path.is_file():
        raise not_a_file(path)
    stat = path.stat()
    return _facts(path, tuple(products), (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=1)
def _facts(path: Path, products: tuple[str, ...], _version: tuple[int, int]) -> CandleFileFacts:
    """A command asks more than once, and reading a large file takes seconds."""
    wanted = {*products, *map(market_factor, products)}
    found = _load(path, wanted)
    if products:
        require_products(path, products, tuple(found.series) if wanted <= set(found.series) else _all_products(path))
    if lost := found.account.lost():
        reasons = "\n  ".join((f"{path.name}: {lost}", *found.account.reasons()))
        raise CommandFailed(reasons, "mend the file, or take another one", ExitCode.USAGE)
    starts = [(series.starts[0], series.starts[-1]) for series in found.series.values()]
    return CandleFileFacts(
        GRANULARITY_NAMES[found.granularity],
        found.granularity,
        tuple(found.series),
        utc(min(first for first, _ in starts)),
        utc(max(last for _, last in starts)),
        found.account,
    )


def require_products(path: Path, products: Sequence[str], there: Sequence[str]) -> None:
    """CommandFailed unless the file has the products and the market factor that the features of each need."""
    missing = [product for product in products if product not in there]
    if missing:
        raise CommandFailed(f"{path.name} has no {', '.join(missing)}", f"it has {', '.join(there)}", ExitCode.USAGE)
    factors = dict.fromkeys(factor for factor in map(market_factor, products) if factor not in there)
    if factors:
        message = f"{path.name} has no {', '.join(factors)}, the market factor, without which nothing can be predicted"
        raise CommandFailed(message, "add its candles of the same period and length to the file", ExitCode.USAGE)


def told(name: str, account: Account) -> list[str]:
    """What became of every line of the file, in numbers that add up, and why some were refused."""
    counts = {
        "candles": account.stored,
        "repeated": account.unchanged,
        "of other products": account.left_out,
        "refused": account.refused,
        "headers": account.headers,
        "blank": account.blanks,
    }
    shown = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count or what == "candles")
    return [f"{name}: {account.lines:,} lines: {shown}", *(f"  {line}" for line in account.reasons())]


def _load(path: Path, wanted: set[str]) -> Candles:
    try:
        return load(path, wanted)
    except UnusableFile as error:
        if error.rule == "NO_CANDLES" and wanted:
            require_products(path, sorted(wanted), _all_products(path))
        required = error.rule == "REQUIRED"
        advice = "name the file after its product and length, such as BTC-USD_1h.csv" if required else ""
        words = error.descriptions[0] if required else "\n  ".join(error.descriptions)
        raise CommandFailed(f"{path} cannot be replayed: {words}", advice, ExitCode.USAGE) from None
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror or error}", code=ExitCode.USAGE) from None


def _all_products(path: Path) -> tuple[str, ...]:
    try:
        return tuple(load(path).series)
    except UnusableFile:
        return ()
