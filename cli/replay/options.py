"""What a replay is asked to do, checked against the file before anything starts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.candle_file import CandleFileFacts, read_facts
from cli.exits import CommandFailed, ExitCode
from modelkit.labels import LabelRule
from tradekit.bars import bar_close, is_on_grid
from tradekit.products import is_product_id, market_factor
from tradekit.states import Profile
from training.settings import TrainingSettings, least_bars

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


def parse_day(text: str, name: str) -> datetime:
    """A day or time in UTC, such as 2025-01-01 or 2025-01-01T06:00Z."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        rule = "write a day such as 2025-01-01 or a time such as 2025-01-01T06:00Z"
        raise ReplayRefused(f"{name} is {text!r}; {rule}") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def examine(options: ReplayOptions) -> CandleFileFacts:
    """Reads what the file holds. Raises ReplayRefused or CommandFailed for anything that cannot be replayed."""
    bad = [product for product in options.products if not is_product_id(product)]
    if bad or not options.products:
        raise ReplayRefused(f"--products {','.join(options.products)}: {bad or 'none'} must look like BTC-USD")
    if options.begin >= options.end:
        raise ReplayRefused(f"--from {options.begin} must lie before --to {options.end}")
    found = read_facts(options.file, options.products)
    step = found.granularity_seconds
    if not (is_on_grid(options.begin, step) and is_on_grid(options.end, step)):
        raise ReplayRefused(f"--from and --to must lie on bars of {found.granularity}")
    last = bar_close(found.last, step)
    if not found.first < options.begin < options.end <= last:
        raise ReplayRefused(f"{options.file.name} covers {found.first} to {last}; --from and --to must lie inside")
    return found


def require_history(options: ReplayOptions, found: CandleFileFacts) -> None:
    """Raises CommandFailed where too little lies before the period for a model to be trained on, whatever it holds."""
    if options.model is not None:
        return
    step, rule = found.granularity_seconds, LabelRule()
    learnt_from = {*options.products, *map(market_factor, options.products)}
    # What is learned from ends before what a label of it could see of the period.
    least = least_bars(len(learnt_from), TrainingSettings(label=rule)) + rule.horizon_bars
    bars = int((options.begin - found.first).total_seconds()) // step
    if bars < least:
        earliest = found.first + timedelta(seconds=least * step)
        raise CommandFailed(
            f"{bars:,} bars before --from are too few to train a model on {len(learnt_from)} product(s): it takes {least:,}",
            f"say --from {earliest:%Y-%m-%dT%H:%MZ} or later, take a file that begins earlier, or give a model with --model",
            ExitCode.USAGE,
        )
