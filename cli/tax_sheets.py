"""The account as Koinly and CoinTracking read it: trades, and what came in or went out of the mesh's own.

Koinly's universal template wants amounts without the fee and times in UTC:
https://support.koinly.io/en/articles/9489976-how-to-create-a-custom-csv-file-with-your-data
CoinTracking's CSV import wants the fee inside of what was paid and out of what was received; the fee's own column only tells it:
https://cointracking.info/import/import_csv/
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from cli.account_reading import Account
from cli.account_sheets import own_change, position_changes
from cli.sheet import Cell, Kind, Sheet
from tradekit.account_history import AccountFill, Adjustment, Replay
from tradekit.decimals import CONTEXT
from tradekit.products import base_currency, quote_currency
from tradekit.states import Side, Venue

_KOINLY = (
    *("Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency", "Fee Amount", "Fee Currency"),
    *("Net Worth Amount", "Net Worth Currency", "Label", "Description", "TxHash"),
)
_COINTRACKING = (
    *("Type", "Buy Amount", "Buy Currency", "Sell Amount", "Sell Currency", "Fee", "Fee Currency"),
    *("Exchange", "Trade-Group", "Comment", "Date", "Tx-ID"),
)
_REWARD = "REWARD"


@dataclass(frozen=True, slots=True)
class _Transfer:
    """What came into the mesh's own, or went out where it is below zero, with its worth in the account's currency."""

    time: datetime
    kind: str
    currency: str
    amount: Decimal
    worth: Decimal
    words: str
    reference: str


def koinly_sheet(name: str, account: Account, played: Replay) -> Sheet:
    """Koinly's universal template. A trade is worth its value; coins that came in are worth what they cost."""
    exchange, rows = _exchange(account), list[tuple[Cell, ...]]()
    for event in _told(account, played):
        when = f"{event.time:%Y-%m-%d %H:%M:%S} UTC"
        if isinstance(event, _Transfer):
            came = event.amount > 0
            there: tuple[Cell, ...] = (abs(event.amount), event.currency)
            label = "reward" if event.kind == _REWARD else ""
            sides: tuple[Cell, ...] = ("", "", *there) if came else (*there, "", "")
            worth: tuple[Cell, ...] = (abs(event.worth), account.booked.currency)
            rows.append((when, *sides, "", "", *worth, label, f"{exchange}: {event.words}", event.reference))
            continue
        coin: tuple[Cell, ...] = (event.size, base_currency(event.product_id))
        money: tuple[Cell, ...] = (event.value, quote_currency(event.product_id))
        sides = (*money, *coin) if event.side is Side.BUY else (*coin, *money)
        fee = (event.fee, money[1])
        rows.append((when, *sides, *fee, *money, "", f"{exchange}: order {event.order_id}", event.fill_id))
    return Sheet(name, tuple((column, Kind.TEXT) for column in _KOINLY), rows)


def cointracking_sheet(name: str, account: Account, played: Replay) -> Sheet:
    """CoinTracking's columns, every one quoted when it is written; its account must be set to UTC."""
    exchange, rows = _exchange(account), list[tuple[Cell, ...]]()
    for event in _told(account, played):
        when = f"{event.time:%d.%m.%Y %H:%M:%S}"
        if isinstance(event, _Transfer):
            came = event.amount > 0
            there: tuple[Cell, ...] = (abs(event.amount), event.currency)
            kind = "Reward / Bonus" if event.kind == _REWARD else "Deposit" if came else "Withdrawal"
            sides: tuple[Cell, ...] = (*there, "", "") if came else ("", "", *there)
            rows.append((kind, *sides, "", "", exchange, event.kind, event.words, when, event.reference))
            continue
        coin: tuple[Cell, ...] = (event.size, base_currency(event.product_id))
        cash = -event.cash if event.side is Side.BUY else event.cash
        money: tuple[Cell, ...] = (cash, quote_currency(event.product_id))
        sides = (*coin, *money) if event.side is Side.BUY else (*money, *coin)
        fee = (event.fee, money[1])
        rows.append(("Trade", *sides, *fee, exchange, "mesh", f"order {event.order_id}", when, event.fill_id))
    return Sheet(name, tuple((column, Kind.TEXT) for column in _COINTRACKING), rows)


def _exchange(account: Account) -> str:
    """Where it happened, in plain sight: what is simulated is no tax matter."""
    return "Coinbase" if account.venue is Venue.LIVE else f"mesh {account.venue.value}"


def _told(account: Account, played: Replay) -> list[AccountFill | _Transfer]:
    booked = account.booked
    told: list[AccountFill | _Transfer] = []
    if booked.opening_balance and account.opened_at is not None:
        amount = booked.opening_balance
        words = "balance at the opening of the ledger"
        told.append(_Transfer(account.opened_at, "OPENING", booked.currency, amount, amount, words, "opening"))
    moved = position_changes(played)
    for event in account.events:
        if isinstance(event, AccountFill):
            told.append(event)
            continue
        change = own_change(event, booked.currency, moved)
        if change:
            told.append(_transfer(event, change))
    return told


def _transfer(one: Adjustment, change: Decimal) -> _Transfer:
    with localcontext(CONTEXT):
        worth = one.cost if one.product_id is not None else change
    words = f"{one.kind.lower()}: {one.note}"
    return _Transfer(one.time, one.kind, one.currency, change, worth, words, one.adjustment_id)
