"""Whether three tellings of one account agree to the last digit: its fills, the ledger's positions and cash, the exchange.

The exchange's side is that of the newest reconciliation. What was booked after it is added to it, so that a mesh that goes
on trading can be matched as well; `since` says how much that was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from tradekit.account_history import AccountFill, Adjustment, Event, Held, Replay, in_booking_order, replay
from tradekit.decimals import CONTEXT, ZERO, plain, to_stored_scale
from tradekit.ledger_words import MOST_ADJUSTMENTS
from tradekit.products import base_currency, quote_currency
from tradekit.sizes import NO_QUOTE, price_of
from tradekit.states import Side
from tradekit.units import BaseSize, Price, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class BookedPosition:
    """A position as ListPositions tells it; the average cost is that of one unit, rounded to 18 decimals."""

    size: BaseSize
    average_cost: Price
    realized: QuoteSize


@dataclass(frozen=True, slots=True)
class ExchangeBalance:
    """One currency at the newest reconciliation: what the exchange has, and what of it the mesh never adopted."""

    total: Decimal
    unadopted: Decimal


@dataclass(frozen=True, slots=True)
class Booked:
    """What ledger and exchange say. Amounts without a currency in their name are in the account's. `reconciled_at` is None where
    the ledger was not compared with the exchange yet, else what it had booked then is up to `reconciled_sequence`."""

    currency: str
    opening_balance: QuoteSize
    transfers: QuoteSize
    total_fees: QuoteSize
    cash: Mapping[str, Decimal]
    positions: Mapping[ProductId, BookedPosition]
    exchange: Mapping[str, ExchangeBalance]
    reconciled_at: datetime | None
    reconciled_sequence: int = 0
    orders_unknown: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One figure by each side; None where a side does not have it."""

    what: str
    fills: Decimal
    ledger: Decimal
    exchange: Decimal | None = None

    @property
    def agrees(self) -> bool:
        """Whether every side that has it says the same, to the last digit."""
        return self.fills == self.ledger and self.exchange in (None, self.ledger)

    @property
    def words(self) -> str:
        """The figure in one line."""
        told = f"{self.what}: {plain(self.fills)} by fills, {plain(self.ledger)} by the ledger"
        return told if self.exchange is None else f"{told}, {plain(self.exchange)} by the exchange"


@dataclass(frozen=True, slots=True)
class Match:
    """Every check, what explains a difference, and the replay in the order of booking. `reconciled_at` is when the exchange was
    asked; None if it never was, and then nobody can say that it agrees."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    replay: Replay
    reconciled_at: datetime | None

    @property
    def agrees(self) -> bool:
        """Whether all sides were there, and all checks agree."""
        return self.reconciled_at is not None and all(check.agrees for check in self.checks)


def match(events: Sequence[Event], booked: Booked) -> Match:
    """Compares the sides. `events` are in order of time; what the ledger made of them is played in the order it booked them."""
    fills = [event for event in events if isinstance(event, AccountFill)]
    adjustments = [event for event in events if isinstance(event, Adjustment)]
    played = replay(in_booking_order(events))
    checks = _position_checks(played, booked)
    notes = []
    if played.positions != replay(events).positions:
        notes.append("the ledger booked some events in another order than they happened; its profit is in that order")
    since = _since(fills, adjustments, booked)
    with localcontext(CONTEXT):
        checks = [
            *_coin_checks(played, booked, since),
            *checks,
            _cash_check(fills, adjustments, booked, since),
            Check(f"fees, {booked.currency}", _fees(fills, booked.currency), booked.total_fees),
            Check(f"brought in or taken out, {booked.currency}", _transfers(adjustments, booked), booked.transfers),
        ]
    return Match(tuple(checks), (*notes, *_notes(adjustments, booked, since)), played, booked.reconciled_at)


def _position_checks(played: Replay, booked: Booked) -> list[Check]:
    checks = []
    nothing = BookedPosition(Held().size, Price(ZERO), NO_QUOTE)
    for product_id in sorted({*played.positions, *booked.positions}):
        held = played.positions.get(product_id, Held())
        told = booked.positions.get(product_id, nothing)
        quote = quote_currency(product_id)
        average = to_stored_scale(price_of(held.cost, held.size)) if held.size else Price(ZERO)
        checks.append(Check(f"realised {product_id}, {quote}", held.realized, told.realized))
        checks.append(Check(f"average cost {product_id}, {quote}", average, told.average_cost))
    return checks


def _coin_checks(played: Replay, booked: Booked, since: Mapping[str, Decimal]) -> list[Check]:
    by_fills = _by_coin((name, held.size) for name, held in played.positions.items())
    by_ledger = _by_coin((name, held.size) for name, held in booked.positions.items())
    coins = {*by_fills, *by_ledger, *booked.exchange} - {booked.currency}
    checks = [
        Check(coin, by_fills.get(coin, ZERO), by_ledger.get(coin, ZERO), _at_exchange(coin, booked, since))
        for coin in sorted(coins)
    ]
    # Coins that were never adopted are nobody's figure here.
    return [check for check in checks if check.fills or check.ledger or check.exchange]


def _by_coin(sizes: Iterable[tuple[ProductId, BaseSize]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for product_id, size in sizes:
        coin = base_currency(product_id)
        found[coin] = found.get(coin, ZERO) + size
    return found


def _cash_check(
    fills: Sequence[AccountFill], adjustments: Sequence[Adjustment], booked: Booked, since: Mapping[str, Decimal]
) -> Check:
    currency = booked.currency
    moved = sum((one.amount for one in adjustments if one.currency == currency), ZERO)
    spent = sum((fill.cash for fill in fills if quote_currency(fill.product_id) == currency), ZERO)
    told = booked.cash.get(currency, ZERO)
    return Check(currency, booked.opening_balance + moved + spent, told, _at_exchange(currency, booked, since))


def _at_exchange(currency: str, booked: Booked, since: Mapping[str, Decimal]) -> Decimal | None:
    """What the exchange has of the mesh's own; None before the first reconciliation."""
    if booked.reconciled_at is None:
        return None
    told = booked.exchange.get(currency, ExchangeBalance(ZERO, ZERO))
    return told.total - told.unadopted + since.get(currency, ZERO)


def _fees(fills: Sequence[AccountFill], currency: str) -> QuoteSize:
    return sum((fill.fee for fill in fills if quote_currency(fill.product_id) == currency), NO_QUOTE)


def _transfers(adjustments: Sequence[Adjustment], booked: Booked) -> Decimal:
    """Cash that came in or went out, and the cost of the coins that joined or left a position."""
    return sum((one.amount if one.currency == booked.currency else one.cost for one in adjustments), ZERO)


def _since(fills: Sequence[AccountFill], adjustments: Sequence[Adjustment], booked: Booked) -> dict[str, Decimal]:
    """Changes of the mesh's own by currency that were booked after the newest reconciliation."""
    moved: dict[str, Decimal] = {}
    if booked.reconciled_at is None:
        return moved

    def add(currency: str, amount: Decimal) -> None:
        moved[currency] = moved.get(currency, ZERO) + amount

    with localcontext(CONTEXT):
        for fill in fills:
            if fill.booking_sequence > booked.reconciled_sequence:
                add(quote_currency(fill.product_id), fill.cash)
                add(base_currency(fill.product_id), fill.size if fill.side is Side.BUY else -fill.size)
        for one in adjustments:
            own = one.currency == booked.currency or one.moves_position
            if own and one.booking_sequence > booked.reconciled_sequence:
                add(one.currency, one.amount)
    return moved


def _notes(adjustments: Sequence[Adjustment], booked: Booked, since: Mapping[str, Decimal]) -> list[str]:
    notes = []
    if booked.reconciled_at is None:
        notes.append("the ledger was not compared with the exchange yet; ask again in a moment")
    elif since:
        at = f"{booked.reconciled_at:%H:%M:%S} UTC"
        notes.append(f"what was booked after the newest reconciliation, {at}, is counted for the exchange too")
    if len(adjustments) >= MOST_ADJUSTMENTS:
        notes.append(f"the ledger tells its newest {MOST_ADJUSTMENTS} adjustments; older ones are missing here")
    if booked.orders_unknown:
        notes.append(f"{booked.orders_unknown} order(s) are UNKNOWN: what they filled is not booked yet")
    return notes
