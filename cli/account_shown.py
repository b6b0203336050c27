"""What `mesh trades`, `lots` and `export` say beside their rows: whether the sides agree, and the totals."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from cli.console import err, escape, out
from cli.exits import CommandFailed, ExitCode
from cli.ledger_options import CsvTarget, Period
from cli.sheet import Sheet, as_csv, cents
from cli.whole_files import write_whole_files
from tradekit.account_history import Adjustment, Event, movements_in_time
from tradekit.decimals import CONTEXT, ZERO
from tradekit.ledger_words import MOST_ADJUSTMENTS
from tradekit.lots import Lots, LotsRefused, Method, make_lots
from tradekit.products import quote_currency
from tradekit.three_way_match import Match

if TYPE_CHECKING:
    from rich.console import Console


def lots_of(events: Sequence[Event], method: Method) -> Lots:
    """The lots of the account. Raises CommandFailed where more was sold than came in."""
    try:
        return make_lots(movements_in_time(events), method)
    except LotsRefused as refused:
        advice = "`mesh ledger show` tells what others did in the account; `mesh trades` lists the sales all the same"
        if sum(isinstance(event, Adjustment) for event in events) >= MOST_ADJUSTMENTS:
            advice += f"; coins of adjustments before the newest {MOST_ADJUSTMENTS} are missing here"
        raise CommandFailed(f"no lots can be made: {refused}", advice) from None


def console_beside(target: CsvTarget | None) -> "Console":
    """Where words go: what is written to standard output must hold the CSV and nothing else."""
    return err if target is not None and target.path is None else out


def show_match(found: Match, console: "Console") -> ExitCode:
    """Says whether fills, ledger and exchange agree to the last digit; the exit code says it too."""
    for note in found.notes:
        console.print(f"[yellow]note[/] {escape(note)}")
    wrong = [check for check in found.checks if not check.agrees]
    for check in wrong:
        console.print(f"[bold red]✗ differs[/] {escape(check.words)}")
    if wrong:
        console.print("[yellow]→[/] `mesh ledger show` tells what the exchange has and how to book it")
        return ExitCode.FAILED
    if found.reconciled_at is None:
        return ExitCode.FAILED
    figures, at = len(found.checks), f"{found.reconciled_at:%Y-%m-%d %H:%M:%S}"
    console.print(
        f"[green]✓[/] fills, ledger and exchange agree to the last digit: {figures} figures, the exchange as of {at} UTC"
    )
    return ExitCode.OK


def write_sheet(sheet: Sheet, target: CsvTarget) -> None:
    """A sheet as CSV, to its file or to standard output."""
    data = as_csv(sheet)
    if target.path is None:
        import sys

        sys.stdout.write(data.decode())
        sys.stdout.flush()
        return
    write_whole_files(target.option, {target.path: data})
    out.print(f"[green]written[/] {escape(str(target.path))}: {len(sheet.rows)} row(s)")


def show_totals(lots: Lots, period: Period, console: "Console") -> None:
    """Sums of what was sold in the period and of what is open, by currency."""
    sold = [one for one in lots.sold if one.disposed_time in period]
    currencies = {quote_currency(one.lot.product_id) for one in sold}
    currencies |= {quote_currency(one.product_id) for one in lots.open}
    for currency in sorted(currencies):
        own = [one for one in sold if quote_currency(one.lot.product_id) == currency]
        cost, proceeds = _sum(one.lot.cost for one in own), _sum(one.proceeds for one in own)
        gain = _sum(one.gain for one in own)
        left = [one for one in lots.open if quote_currency(one.product_id) == currency]
        console.print(
            f"sold      {len(own)} lot(s): proceeds {cents(proceeds)}, cost {cents(cost)}, "
            f"[bold]gain {cents(gain)} {currency}[/] (fees inside)"
        )
        console.print(f"open now  {len(left)} lot(s): cost {cents(_sum(one.cost for one in left))} {currency}")


def _sum(amounts: Iterable[Decimal | None]) -> Decimal:
    with localcontext(CONTEXT):
        return sum((amount for amount in amounts if amount is not None), ZERO)
