"""`mesh trades`: every fill with its value, its fee and what a sale realised."""

from typing import Annotated

import typer

from cli.console import guarded

CsvOption = Annotated[str | None, typer.Option("--csv", help="write it here instead, - for standard output")]
ForceOption = Annotated[bool, typer.Option("--force", help="replace a file that is there")]


@guarded
def trades(
    product: Annotated[str | None, typer.Option(help="only this one, such as BTC-USD")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="first day or time (UTC), such as 2025-01-01")] = None,
    end: Annotated[str | None, typer.Option("--to", help="last day, or the time it ends at")] = None,
    csv_file: CsvOption = None,
    force: ForceOption = False,
) -> None:
    """List every fill: time, product, side, size, price, value, fee and, of a sale, what it realised."""
    from cli.account_reading import read_account
    from cli.account_sheets import TRADES_SHOWN, trades_sheet
    from cli.account_shown import write_sheet
    from cli.console import out
    from cli.ledger_options import parse_csv, parse_period, parse_product, require_known
    from cli.sheet import as_table

    only, period, target = parse_product(product), parse_period(begin, end), parse_csv(csv_file, force)
    account, found = read_account()
    require_known(only, account.products)
    sheet = trades_sheet("trades", account.fills, found.replay, only, period)
    if target is not None:
        write_sheet(sheet, target)
    elif sheet.rows:
        out.print(as_table(sheet, TRADES_SHOWN))
    else:
        out.print("no trades" if product or begin or end else "no trades yet")
