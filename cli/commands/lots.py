"""`mesh lots`: what each sale gained, lot by lot, what is still open, and whether everything agrees."""

from typing import Annotated

import typer

from cli.commands.trades import CsvOption, ForceOption
from cli.console import guarded


@guarded
def lots(
    method: Annotated[str, typer.Option(help="which lots a sale takes: fifo, lifo, hifo or average")] = "fifo",
    year: Annotated[str | None, typer.Option(help="only what was sold in this year (UTC), such as 2025")] = None,
    csv_file: CsvOption = None,
    force: ForceOption = False,
) -> None:
    """List the lots that sales closed and those that are open, with cost, proceeds and gain, fees inside.

    Exit code 1 if fills, ledger and exchange do not agree to the last digit.
    """
    from cli.account_reading import read_account
    from cli.account_sheets import LOTS_SHOWN, lots_sheet
    from cli.account_shown import console_beside, lots_of, show_match, show_totals, write_sheet
    from cli.console import out
    from cli.ledger_options import parse_csv, parse_method, parse_year
    from cli.sheet import as_table

    way, period, target = parse_method(method), parse_year(year), parse_csv(csv_file, force)
    account, found = read_account()
    made = lots_of(account.events, way)
    sheet = lots_sheet("lots", made, way, period)
    if target is not None:
        write_sheet(sheet, target)
    elif sheet.rows:
        out.print(as_table(sheet, LOTS_SHOWN))
    console = console_beside(target)
    show_totals(made, period, console)
    raise typer.Exit(show_match(found, console))
