"""The options of `mesh trades`, `lots` and `export`: what each must look like, and what to do about one that does not."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.exits import CommandFailed, ExitCode
from cli.whole_files import check_file
from tradekit.lots import Method
from tradekit.products import is_product_id
from tradekit.units import ProductId

STANDARD_OUTPUT = "-"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIRST_YEAR, _LAST_YEAR = 1970, 9998


@dataclass(frozen=True, slots=True)
class Period:
    """From a time on, and up to one that is not inside any more; None is open."""

    begin: datetime | None = None
    end: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        return (self.begin is None or self.begin <= moment) and (self.end is None or moment < self.end)


@dataclass(frozen=True, slots=True)
class CsvTarget:
    """Where a CSV goes; `path` is None for standard output."""

    option: str
    path: Path | None


def parse_method(text: str) -> Method:
    """A method of lots. Raises CommandFailed."""
    try:
        return Method(text.lower())
    except ValueError:
        rule = f"must be one of {', '.join(Method)}"
        raise _refused("--method", text, rule, "leave it out for fifo") from None


def parse_year(text: str | None) -> Period:
    """A year of the calendar, UTC; all time for None. Raises CommandFailed."""
    if text is None:
        return Period()
    if not re.fullmatch(r"[0-9]{4}", text) or not _FIRST_YEAR <= int(text) <= _LAST_YEAR:
        rule = f"must be a year of four digits, {_FIRST_YEAR} to {_LAST_YEAR}"
        raise _refused("--year", text, rule, "write --year 2025, or leave it out for all years")
    return Period(datetime(int(text), 1, 1, tzinfo=UTC), datetime(int(text) + 1, 1, 1, tzinfo=UTC))


def parse_period(begin: str | None, end: str | None) -> Period:
    """Days or times of UTC; a day that it ends on is inside. Raises CommandFailed."""
    first = _moment("--from", begin) if begin is not None else None
    last = _moment("--to", end) if end is not None else None
    if last is not None and end is not None and _DAY.fullmatch(end):
        last += timedelta(days=1)
    if first is not None and last is not None and first >= last:
        raise _refused("--from", begin or "", f"must lie before --to {end}", "swap them")
    return Period(first, last)


def parse_product(text: str | None) -> ProductId | None:
    """A product's id, in any case of letters. Raises CommandFailed."""
    if text is None:
        return None
    if not is_product_id(text.upper()):
        raise _refused("--product", text, "must look like BTC-USD", "`mesh status` names the products")
    return ProductId(text.upper())


def require_known(product: ProductId | None, known: Collection[ProductId]) -> None:
    """Raises CommandFailed for a product that was never traded here."""
    if product is not None and product not in known:
        rule = f"must be a product of this mesh: {', '.join(known)}"
        raise _refused("--product", product, rule, "name one of these, or leave it out for all")


def parse_csv(text: str | None, force: bool) -> CsvTarget | None:
    """Where --csv goes, if it is there. Raises CommandFailed where it cannot be written."""
    if text is None:
        if force:
            raise CommandFailed("--force replaces a file, and none is named", "add --csv FILE", ExitCode.USAGE)
        return None
    if text == STANDARD_OUTPUT:
        return CsvTarget("--csv", None)
    return CsvTarget("--csv", check_file("--csv", Path(text), force))


def parse_format(text: str) -> str:
    """csv or parquet. Raises CommandFailed."""
    if text.lower() not in ("csv", "parquet"):
        raise _refused("--format", text, "must be csv or parquet", "leave it out for csv")
    return text.lower()


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        rule = "must be a day such as 2025-01-01 or a time such as 2025-01-01T06:00Z"
        raise _refused(option, text, rule, "write it so; both are UTC") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _refused(option: str, value: str, rule: str, advice: str) -> CommandFailed:
    return CommandFailed(f"{option} is {value!r}; it {rule}; nothing was written", advice, ExitCode.USAGE)
