"""`mesh export FOLDER`: the account as files, for a spreadsheet, for data tools, and for Koinly and CoinTracking."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.trades import ForceOption
from cli.console import guarded

if TYPE_CHECKING:
    from cli.account_reading import Account
    from tradekit.lots import Method
    from tradekit.three_way_match import Match

_SHEETS = ("fills", "trades", "lots", "ledger")
# These two are read by others, who take CSV alone.
_TAX_FILES = ("koinly.csv", "cointracking.csv")


@guarded
def export(
    folder: Annotated[str, typer.Argument(help="where the files go; made if it is not there")],
    file_format: Annotated[str, typer.Option("--format", help="csv or parquet")] = "csv",
    method: Annotated[str, typer.Option(help="of the lots: fifo, lifo, hifo or average")] = "fifo",
    force: ForceOption = False,
) -> None:
    """Write fills, trades (one row for each order), lots and ledger, and the CSV that Koinly and CoinTracking read.

    Exit code 1 if fills, ledger and exchange do not agree to the last digit.
    """
    from cli.account_reading import read_account
    from cli.account_shown import show_match
    from cli.console import escape, out
    from cli.exits import refuse
    from cli.ledger_options import parse_format, parse_method
    from cli.whole_files import check_folder, write_whole_files

    if not folder.strip():
        raise refuse("FOLDER is empty", "name a folder; . is the one you are in")
    kind, way = parse_format(file_format), parse_method(method)
    names = (*(f"{name}.{kind}" for name in _SHEETS), *_TAX_FILES)
    place = check_folder("FOLDER", Path(folder), names, force)
    account, found = read_account()
    contents = _contents(account, found, way, kind)
    write_whole_files("FOLDER", {place / name: contents[name] for name in names})
    out.print(f"[green]written[/] {escape(str(place))}: {', '.join(names)}")
    raise typer.Exit(show_match(found, out))


def _contents(account: "Account", found: "Match", method: "Method", kind: str) -> dict[str, bytes]:
    """Every file by its name."""
    from cli.account_sheets import ledger_sheet, lots_sheet, orders_sheet, trades_sheet
    from cli.account_shown import lots_of
    from cli.ledger_options import Period
    from cli.sheet import as_csv, as_parquet
    from cli.tax_sheets import cointracking_sheet, koinly_sheet

    made, played, always = lots_of(account.events, method), found.replay, Period()
    sheets = (
        trades_sheet("fills", account.fills, played, None, always),
        orders_sheet("trades", account.fills, played),
        lots_sheet("lots", made, method, always),
        ledger_sheet("ledger", account, played),
    )
    write = as_parquet if kind == "parquet" else as_csv
    files = {f"{sheet.name}.{kind}": write(sheet) for sheet in sheets}
    files["koinly.csv"] = as_csv(koinly_sheet("koinly", account, played))
    files["cointracking.csv"] = as_csv(cointracking_sheet("cointracking", account, played), quote_all=True)
    return files
