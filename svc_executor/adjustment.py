"""What an operator's adjustment does to the ledger and to a position: balanced entries, and nothing that looks like a trade.

What a person does in the account is not the mesh's profit or loss. Coins that come in are not adopted unless their cost is
given; coins that go out are taken from what was never adopted first, and then out of the position with their share of
its cost. Equity that moves so is a transfer, which neither the day's loss nor the drawdown counts.
"""

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from enum import StrEnum

from svc_executor.ledger import Entry, Position, cost_share
from tradekit.decimals import CONTEXT, ZERO, plain, to_stored_scale
from tradekit.ledger_accounts import ADJUSTMENTS, EXCHANGE, TRADING, UNADOPTED
from tradekit.sizes import NO_BASE, NO_PRICE, NO_QUOTE
from tradekit.units import BaseSize, Price, ProductId, QuoteSize


class Kind(StrEnum):
    """What happened outside the mesh; the names of the contract."""

    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    REWARD = "REWARD"
    CONVERSION = "CONVERSION"
    TRADE = "TRADE"
    CORRECTION = "CORRECTION"
    ADOPTION = "ADOPTION"


_COMES_IN = (Kind.DEPOSIT, Kind.REWARD)
_GOES_OUT = (Kind.WITHDRAWAL,)


class Refusal(Exception):
    """The field of the request that cannot be booked, the rule, and what to do."""

    def __init__(self, field: str, rule: str, description: str) -> None:
        super().__init__(f"{field} {description}")
        self.field = field
        self.rule = rule
        self.description = description


@dataclass(frozen=True, slots=True)
class Standing:
    """One currency by the ledger. `product_id` is None for cash and for coins that are not traded here."""

    currency: str
    own: Decimal
    unadopted: Decimal
    product_id: ProductId | None = None
    position: Position = field(default_factory=Position)
    mark: Price | None = None

    @property
    def total(self) -> Decimal:
        """What the exchange should have of it."""
        with localcontext(CONTEXT):
            return self.own + self.unadopted


@dataclass(frozen=True, slots=True)
class Booking:
    """What is written."""

    entries: tuple[Entry, ...]
    after: Standing
    cost: QuoteSize = NO_QUOTE
    equity_change: QuoteSize = NO_QUOTE


def sign_refusal(kind: Kind, amount: Decimal) -> Refusal | None:
    """A deposit comes in, a withdrawal goes out, and an adjustment of nothing is none."""
    if amount == 0:
        return Refusal("amount", "OUT_OF_RANGE", "is 0; say what came in (above 0) or went out (below 0)")
    if kind in _COMES_IN and amount < 0:
        return Refusal(
            "amount", "OUT_OF_RANGE", f"is {plain(amount)}; a {kind.lower()} comes in: write {plain(-amount)}"
        )
    if kind in _GOES_OUT and amount > 0:
        return Refusal(
            "amount", "OUT_OF_RANGE", f"is {plain(amount)}; a {kind.lower()} goes out: write -{plain(amount)}"
        )
    return None


def adjust(standing: Standing, amount: Decimal, cost: QuoteSize | None, account_currency: str) -> Booking:
    """The booking of a change of one currency. Raises Refusal."""
    with localcontext(CONTEXT):
        if standing.total + amount < 0:
            have = plain(standing.total)
            raise Refusal("amount", "OUT_OF_RANGE", f"is {plain(amount)}; the ledger has {have} {standing.currency}")
        if cost is not None and (amount < 0 or standing.currency == account_currency):
            raise Refusal("cost", "NOT_ALLOWED", "goes with coins that came in only; leave it out")
        if standing.currency == account_currency:
            return _cash(standing, amount)
        if amount < 0:
            return _out(standing, BaseSize(-amount), account_currency)
        if cost is None:
            entries = (Entry(UNADOPTED, standing.currency, amount), Entry(ADJUSTMENTS, standing.currency, -amount))
            return Booking(entries, _moved(standing, ZERO, amount))
        return _joined(standing, ADJUSTMENTS, BaseSize(amount), cost, account_currency)


def adopt(standing: Standing, cost: QuoteSize | None, account_currency: str) -> Booking:
    """All of a coin that is not adopted becomes part of its position. Raises Refusal."""
    name = standing.currency
    if standing.unadopted <= 0:
        raise Refusal("currencies", "NOT_HELD", f"{name}: nothing is there to adopt")
    if not standing.product_id:
        raise Refusal(
            "currencies", "NOT_TRADED", f"{name} is not traded here; add {name}-{account_currency} to PRODUCTS"
        )
    if cost is None and standing.mark is None:
        raise Refusal("cost", "REQUIRED", f"{standing.product_id} has no price yet; say what the {name} cost")
    with localcontext(CONTEXT):
        coins = BaseSize(standing.unadopted)
        worth = cost if cost is not None else coins * (standing.mark or NO_PRICE)
        return _joined(standing, UNADOPTED, coins, to_stored_scale(worth), account_currency)


def _cash(standing: Standing, amount: Decimal) -> Booking:
    # Cash of the account that was never adopted does not exist: it is the mesh's own from the opening on.
    entries = (Entry(EXCHANGE, standing.currency, amount), Entry(ADJUSTMENTS, standing.currency, -amount))
    return Booking(entries, _moved(standing, amount, ZERO), equity_change=QuoteSize(amount))


def _joined(standing: Standing, source: str, amount: BaseSize, cost: QuoteSize, account_currency: str) -> Booking:
    """Coins join the position and bring their cost in, as if their owner had brought that cash and bought them."""
    if not standing.product_id:
        why = (
            f"goes with coins traded here only; add {standing.currency}-{account_currency} to PRODUCTS, or leave it out"
        )
        raise Refusal("cost", "NOT_TRADED", why)
    entries = [Entry(EXCHANGE, standing.currency, amount), Entry(source, standing.currency, -amount)]
    entries += _cost_moved(cost, account_currency)
    held = standing.position
    position = Position(held.base_size + amount, held.cost + cost, held.realized_pnl, held.total_fees)
    after = _moved(standing, amount, -amount if source == UNADOPTED else ZERO, position)
    worth = cost if standing.mark is None else to_stored_scale(amount * standing.mark)
    return Booking(tuple(entries), after, cost, worth)


def _out(standing: Standing, amount: BaseSize, account_currency: str) -> Booking:
    free = min(BaseSize(max(standing.unadopted, ZERO)), amount)
    sold = amount - free
    entries = []
    if free:
        entries += [Entry(UNADOPTED, standing.currency, -free), Entry(ADJUSTMENTS, standing.currency, free)]
    if not sold:
        return Booking(tuple(entries), _moved(standing, ZERO, -free))
    entries += [Entry(EXCHANGE, standing.currency, -sold), Entry(ADJUSTMENTS, standing.currency, sold)]
    held = standing.position
    share = cost_share(held, sold) if held.base_size else NO_QUOTE
    entries += _cost_moved(-share, account_currency)
    left = max(held.base_size - sold, NO_BASE)
    position = Position(left, held.cost - share, held.realized_pnl, held.total_fees)
    worth = share if standing.mark is None else to_stored_scale((held.base_size - left) * standing.mark)
    return Booking(tuple(entries), _moved(standing, -sold, -free, position), -share, -worth)


def _cost_moved(cost: QuoteSize, account_currency: str) -> list[Entry]:
    if not cost:
        return []
    return [Entry(TRADING, account_currency, cost), Entry(ADJUSTMENTS, account_currency, -cost)]


def _moved(standing: Standing, own: Decimal, unadopted: Decimal, position: Position | None = None) -> Standing:
    return Standing(
        standing.currency,
        standing.own + own,
        standing.unadopted + unadopted,
        standing.product_id,
        standing.position if position is None else position,
        standing.mark,
    )
