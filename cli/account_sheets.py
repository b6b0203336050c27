"""The account as sheets: trades, orders, lots and the ledger's movements, every one with what it was made from."""

from collections.abc import Iterable
from decimal import Decimal, localcontext

from cli.account_reading import Account
from cli.ledger_options import Period
from cli.sheet import Cell, Kind, Sheet
from tradekit.account_history import AccountFill, Adjustment, Replay
from tradekit.decimals import CONTEXT, ZERO, to_stored_scale
from tradekit.lots import Acquired, ClosedLot, Lot, Lots, Method
from tradekit.products import base_currency, quote_currency
from tradekit.sizes import price_of
from tradekit.states import Side
from tradekit.units import BaseSize, ProductId, QuoteSize

TRADE_COLUMNS = (
    ("time", Kind.TIME),
    ("product", Kind.TEXT),
    ("side", Kind.TEXT),
    ("size", Kind.AMOUNT),
    ("price", Kind.AMOUNT),
    ("value", Kind.MONEY),
    ("fee", Kind.MONEY),
    ("realised", Kind.MONEY),
    ("currency", Kind.TEXT),
    ("why", Kind.TEXT),
    ("liquidity", Kind.TEXT),
    ("order_id", Kind.TEXT),
    ("fill_id", Kind.TEXT),
    ("trade_id", Kind.TEXT),
)
ORDER_COLUMNS = (
    ("first_time", Kind.TIME),
    ("last_time", Kind.TIME),
    ("product", Kind.TEXT),
    ("side", Kind.TEXT),
    ("size", Kind.AMOUNT),
    ("average_price", Kind.AMOUNT),
    ("value", Kind.MONEY),
    ("fee", Kind.MONEY),
    ("realised", Kind.MONEY),
    ("currency", Kind.TEXT),
    ("fills", Kind.COUNT),
    ("order_id", Kind.TEXT),
)
LOT_COLUMNS = (
    ("state", Kind.TEXT),
    ("product", Kind.TEXT),
    ("acquired", Kind.TIME),
    ("disposed", Kind.TIME),
    ("days", Kind.COUNT),
    ("size", Kind.AMOUNT),
    ("cost", Kind.MONEY),
    ("proceeds", Kind.MONEY),
    ("gain", Kind.MONEY),
    ("currency", Kind.TEXT),
    ("method", Kind.TEXT),
    ("acquired_as", Kind.TEXT),
    ("acquired_by", Kind.TEXT),
    ("disposed_as", Kind.TEXT),
    ("disposed_by", Kind.TEXT),
)
LEDGER_COLUMNS = (
    ("time", Kind.TIME),
    ("kind", Kind.TEXT),
    ("currency", Kind.TEXT),
    ("change", Kind.AMOUNT),
    ("balance", Kind.AMOUNT),
    ("cost", Kind.MONEY),
    ("reference", Kind.TEXT),
    ("note", Kind.TEXT),
)
# What a terminal shows of each; the ids are in the files.
TRADES_SHOWN, LOTS_SHOWN = 10, 10


def trades_sheet(
    name: str, fills: Iterable[AccountFill], played: Replay, product: ProductId | None, period: Period
) -> Sheet:
    """Each fill, oldest first; `realised` is what the ledger booked for a sale, empty for a BUY;
    `why` what the order was for, or what made a protective one sell."""
    rows: list[tuple[Cell, ...]] = [
        (
            *(one.time, one.product_id, one.side.value, one.size, one.price, one.value, one.fee),
            *(played.realized.get(one.fill_id), quote_currency(one.product_id)),
            *(one.why, one.liquidity, one.order_id, one.fill_id, one.trade_id),
        )
        for one in fills
        if product in (None, one.product_id) and one.time in period
    ]
    return Sheet(name, TRADE_COLUMNS, rows)


def orders_sheet(name: str, fills: Iterable[AccountFill], played: Replay) -> Sheet:
    """The fills of each order as one row, in the order of their first one."""
    orders: dict[str, list[AccountFill]] = {}
    for one in fills:
        orders.setdefault(one.order_id, []).append(one)
    return Sheet(name, ORDER_COLUMNS, [_order(own, played) for own in orders.values()])


def _order(fills: list[AccountFill], played: Replay) -> tuple[Cell, ...]:
    first = fills[0]
    with localcontext(CONTEXT):
        size, value, fee = (sum((getattr(one, part) for one in fills), ZERO) for part in ("size", "value", "fee"))
        price = to_stored_scale(price_of(QuoteSize(value), BaseSize(size)))
        gain = None
        if first.side is Side.SELL:
            gain = sum((played.realized.get(one.fill_id, ZERO) for one in fills), ZERO)
    return (
        *(first.time, fills[-1].time, first.product_id, first.side.value, size, price, value, fee),
        *(gain, quote_currency(first.product_id), len(fills), first.order_id),
    )


def lots_sheet(name: str, lots: Lots, method: Method, period: Period) -> Sheet:
    """What was sold and what left without a sale in the period, then what is open now."""
    rows = [_closed("sold", one, method) for one in lots.sold if one.disposed_time in period]
    rows += [_closed("left", one, method) for one in lots.left if one.disposed_time in period]
    rows += [
        (*_lot("open", one, None, None), None, None, quote_currency(one.product_id), *_ids(one, method), None, None)
        for one in lots.open
    ]
    return Sheet(name, LOT_COLUMNS, rows)


def _closed(state: str, one: ClosedLot, method: Method) -> tuple[Cell, ...]:
    currency = quote_currency(one.lot.product_id)
    lead = _lot(state, one.lot, one.disposed_time, one.holding_days)
    return *lead, one.proceeds, one.gain, currency, *_ids(one.lot, method), one.origin, one.disposed_by


def _lot(state: str, lot: Lot, disposed: Cell, days: int | None) -> tuple[Cell, ...]:
    return state, lot.product_id, lot.acquired_time, disposed, days, lot.size, lot.cost


def _ids(lot: Lot, method: Method) -> tuple[Cell, ...]:
    return method.value, lot.origin, lot.acquired_by


def ledger_sheet(name: str, account: Account, played: Replay) -> Sheet:
    """Every change of the mesh's own, by currency, with what there was after it; coins that were never adopted are none."""
    balances: dict[str, Decimal] = {}
    rows: list[tuple[Cell, ...]] = []

    def move(row: tuple[Cell, ...], currency: str, change: Decimal, rest: tuple[Cell, ...]) -> None:
        with localcontext(CONTEXT):
            balances[currency] = balances.get(currency, ZERO) + change
        rows.append((*row, currency, change, balances[currency], *rest))

    booked, moved = account.booked, position_changes(played)
    if booked.opening_balance:
        move((account.opened_at, "OPENING"), booked.currency, booked.opening_balance, (None, "opening", None))
    for event in account.events:
        if isinstance(event, AccountFill):
            base, quote = base_currency(event.product_id), quote_currency(event.product_id)
            size = event.size if event.side is Side.BUY else -event.size
            move((event.time, event.side.value), base, size, (None, event.fill_id, None))
            move((event.time, event.side.value), quote, event.cash, (None, event.fill_id, None))
        else:
            change = own_change(event, booked.currency, moved)
            rest = (event.cost if event.product_id else None, event.adjustment_id, event.note)
            if change:
                move((event.time, event.kind), event.currency, change, rest)
    return Sheet(name, LEDGER_COLUMNS, rows)


def position_changes(played: Replay) -> dict[str, Decimal]:
    """What each event changed of its position, base units."""
    return {one.event_id: one.size if isinstance(one, Acquired) else -one.size for one in played.movements}


def own_change(one: Adjustment, account_currency: str, moved: dict[str, Decimal]) -> Decimal:
    """What an adjustment changed of the mesh's own: cash whole, of coins what joined or left the position."""
    return one.amount if one.currency == account_currency else moved.get(one.adjustment_id, ZERO)
