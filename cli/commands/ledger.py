"""`mesh ledger`: what the account holds by the ledger and by the exchange, and how an operator books what others did."""

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import escape, guarded, out, require_yes
from cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from trading.executor.v1 import ledger_pb2 as pb

_SECONDS = 60.0

app = typer.Typer(name="ledger", no_args_is_help=True, help="Look at the ledger, adopt coins, book what others did.")


class KindOption(StrEnum):
    """What happened outside the mesh."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    REWARD = "reward"
    CONVERSION = "conversion"
    TRADE = "trade"
    CORRECTION = "correction"


NoteOption = Annotated[str, typer.Option(help="why, for the record")]
YesOption = Annotated[bool, typer.Option("--yes", help="do not ask")]
CostOption = Annotated[
    str | None, typer.Option(help="what the coins cost, in the account's currency", show_default=False)
]


@app.command()
@guarded
def show() -> None:
    """Show every balance beside the exchange's, orders of others, adjustments and fees. Exit code 1 if they differ."""
    from rich.table import Table

    from tradekit.ledger_words import commands, words_of

    answer = _ask("GetLedger", _messages().GetLedgerRequest())
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("currency", "mesh", "not adopted", "exchange", "difference", ""):
        table.add_column(name, justify="right" if name not in ("currency", "") else "left")
    for one in answer.balances:
        mark = "[green]ok[/]" if one.agrees else "[bold red]differs[/]"
        table.add_row(
            escape(one.currency), one.own.value, one.unadopted.value, one.exchange.value, one.difference.value, mark
        )
    out.print(table)
    words = words_of(answer)
    for line in words.foreign:
        out.print(f"[yellow]foreign order[/] {escape(line)}")
    if answer.HasField("fee_tier"):
        tier = answer.fee_tier
        out.print(
            f"fees      taker {tier.taker.value}, maker {tier.maker.value} {escape(tier.tier)}; reckoned {tier.reckoned.value}"
        )
    for row in answer.adjustments[:10]:
        out.print(f"[dim]{row.create_time.ToDatetime():%Y-%m-%d %H:%M}[/] {escape(_booked(row))}")
    if words.unadopted:
        out.print(
            f"not the mesh's own and never sold: {escape(', '.join(words.unadopted))}; `mesh ledger adopt COIN` takes it over"
        )
    for line in commands(answer):
        out.print(f"[yellow]→[/] {escape(line)}")
    raise typer.Exit(ExitCode.OK if answer.clean else ExitCode.FAILED)


@app.command(context_settings={"ignore_unknown_options": True})
@guarded
def adjust(
    currency: Annotated[str, typer.Argument(help="such as USD or BTC")],
    amount: Annotated[str, typer.Argument(help="what came in, or below zero what went out, such as -0.5")],
    kind: Annotated[KindOption, typer.Option(help="what happened")],
    note: NoteOption,
    cost: CostOption = None,
    yes: YesOption = False,
) -> None:
    """Book a deposit, withdrawal, reward, conversion, trade by hand or correction.

    Coins that came in are not adopted unless --cost is given; coins that went out are taken from what was never adopted,
    then out of the position at its average cost.
    """
    pb = _messages()
    request = pb.AdjustLedgerRequest(
        request_id=_new_id(),
        currency=currency.upper(),
        amount=_decimal("AMOUNT", amount),
        kind=pb.AdjustmentKind.Value(f"ADJUSTMENT_KIND_{kind.value.upper()}"),
        note=note,
        preview=True,
    )
    if cost is not None:
        request.cost.CopyFrom(_decimal("--cost", cost))
    previewed = _ask("AdjustLedger", request)
    _require_of_the_account(previewed.before)
    for line in _preview(previewed):
        out.print(escape(line))
    require_yes("Book it?", "nothing was booked", yes)
    request.preview = False
    request.expected_difference.CopyFrom(previewed.before.difference)
    done = _ask("AdjustLedger", request)
    word = "agrees with the exchange" if done.after.agrees else f"still differs by {done.after.difference.value}"
    out.print(f"[green]booked[/] {escape(_booked(done.adjustment))}; {done.after.currency} {word}")


@app.command()
@guarded
def adopt(
    coins: Annotated[list[str], typer.Argument(help="such as BTC, or all")],
    cost: CostOption = None,
    note: NoteOption = "adopted by hand",
) -> None:
    """Make positions of coins that were in the account before the mesh; it may sell them from then on."""
    names = [] if [coin.lower() for coin in coins] == ["all"] else [coin.upper() for coin in coins]
    request = _messages().AdoptHoldingsRequest(request_id=_new_id(), currencies=names, note=note)
    if cost is not None:
        request.cost.CopyFrom(_decimal("--cost", cost))
    answer = _ask("AdoptHoldings", request)
    for row in answer.adopted:
        out.print(f"[green]adopted[/] {escape(f'{row.amount.value} {row.currency} at a cost of {row.cost.value}')}")
    if not answer.adopted:
        out.print("nothing was there to adopt")
    if answer.unadopted:
        left = ", ".join(f"{money.amount.value} {money.currency}" for money in answer.unadopted)
        out.print(f"still not adopted, never sold: {escape(left)}")


def _require_of_the_account(balance: "pb.LedgerBalance") -> None:
    """Raises CommandFailed for a currency that nobody here has anything to do with: most likely it is misspelt."""
    from cli.calls import require_instance
    from cli.instance_file import mesh_home

    products = require_instance(mesh_home()).products
    followed = sorted({currency for product in products for currency in product.split("-")})
    has_some = any(Decimal(part.value or 0) for part in (balance.own, balance.unadopted, balance.exchange))
    if balance.currency not in followed and not has_some:
        message = f"{balance.currency} is of no product that is followed, and neither ledger nor exchange has any of it"
        advice = f"nothing was booked; the products' currencies are {', '.join(followed)}"
        raise CommandFailed(message, advice, ExitCode.USAGE)


def _preview(answer: "pb.AdjustLedgerResponse") -> list[str]:
    before, after, money = answer.before, answer.after, answer.adjustment
    lines = [
        f"{before.currency} of the mesh: {before.own.value} → {after.own.value}; not adopted: "
        f"{before.unadopted.value} → {after.unadopted.value}; the exchange has {before.exchange.value}",
        f"difference: {before.difference.value} → {after.difference.value}"
        + ("" if after.agrees else f", which {'closes entries' if before.agrees else 'still keeps entries closed'}"),
    ]
    if answer.product_id:
        sizes = f"{answer.position_before.value} → {answer.position_after.value}"
        lines.append(
            f"position {answer.product_id}: {sizes}, its cost changes by {money.cost.value}; no profit or loss"
        )
    return lines


def _booked(row: "pb.LedgerAdjustment") -> str:
    kind = _messages().AdjustmentKind.Name(row.kind).removeprefix("ADJUSTMENT_KIND_").lower()
    return f"{kind} {row.amount.value} {row.currency} by {row.caller}: {row.note}"


def _messages() -> Any:
    from trading.executor.v1 import ledger_pb2

    return ledger_pb2


def _new_id() -> str:
    from tradekit import ids

    return str(ids.new_request_id())


def _decimal(name: str, text: str) -> Any:
    from tradekit.wire import decimal_message

    try:
        return decimal_message(Decimal(text))
    except (InvalidOperation, ValueError):
        raise CommandFailed(f"{name} is {text!r}; must be a number such as -0.5 or 250", code=ExitCode.USAGE) from None


def _ask(method: str, request: Any) -> Any:
    """One call of the executor of this shell's instance."""
    import grpc

    from cli.calls import ask, require_instance
    from cli.instance_file import mesh_home
    from tradekit import services
    from trading.executor.v1 import executor_service_pb2_grpc as rpc

    async def call(channel: grpc.aio.Channel) -> Any:
        return await getattr(rpc.ExecutorServiceStub(channel), method)(request, timeout=_SECONDS)

    return ask(require_instance(mesh_home()), services.EXECUTOR, call)
