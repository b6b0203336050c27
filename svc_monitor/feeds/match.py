"""Whether fills, ledger and exchange tell the same account, matched from the rows now and then.

All rows are of one moment, in one statement: an order, its fills, its position and its entries are written in one transaction,
so what is on its way makes no difference here. The comparison itself is `tradekit.three_way_match`, as `mesh lots` uses it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import text

from meshkit.kit import Kit
from meshkit.spec import Task
from schema.base import Json
from schema.presence import schema_check
from schema.views.shared import ADJUSTMENT_TRANSACTION
from svc_monitor.feeds.feed import Feed, Pace, polled
from svc_monitor.settings import MonitorSettings
from tradekit import ledger_accounts
from tradekit.account_history import ONE_CLOCK, AccountFill, Adjustment, Event, in_time_order, values_of
from tradekit.decimals import ZERO, to_stored_scale
from tradekit.products import quote_currency
from tradekit.sizes import price_of
from tradekit.states import Side
from tradekit.three_way_match import Booked, BookedPosition, Check, ExchangeBalance, match
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

# A long history takes its time, here and in the database: it takes no more than a sixtieth of it.
PACE = Pace(10.0, rest=60.0)
STALE_SECONDS = 300.0
# Rows are read whole after every booking; without one as seldom as this, for what somebody changed by hand.
_WHOLE_SECONDS = 300.0
_FIRST_TIME = datetime.fromtimestamp(0, UTC)

# Amounts go through JSON as text, so that no digit is lost.
_BOOKED = """
    (SELECT coalesce(jsonb_agg(jsonb_build_array(product_id, base_size::text, cost::text, realized_pnl::text)
       ORDER BY product_id), '[]') FROM monitor_account_positions) AS position_rows,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(account, currency, amount::text) ORDER BY account, currency), '[]')
       FROM monitor_ledger_balances) AS sums,
    (SELECT jsonb_build_array(balances, orders_unknown, booking_sequence, created_at)
       FROM monitor_newest_reconciliation WHERE booking_sequence IS NOT NULL) AS reconciliation
"""
_CHANGES = text(f"""
    SELECT (SELECT count(*) FROM monitor_account_fills) AS fill_count,
           (SELECT count(*) FROM monitor_account_adjustments) AS adjustment_count, {_BOOKED}
""").columns(position_rows=Json, sums=Json, reconciliation=Json)
_WHOLE = text(f"""
    SELECT (SELECT coalesce(jsonb_agg(jsonb_build_array(order_id, fill_id, trade_id, product_id, side, price::text, size::text,
              commission::text, liquidity, trade_time, ordered_at, coalesce(booking_sequence, 0), filled_value::text)
              ORDER BY order_id, trade_time, fill_id), '[]')
              FROM monitor_account_fills LEFT JOIN ledger_bookings ON transaction_id = fill_id) AS fill_rows,
           (SELECT coalesce(jsonb_agg(jsonb_build_array(adjustment_id, kind, currency, amount::text, cost::text,
              equity_change::text, note, caller, created_at, coalesce(booking_sequence, 0))), '[]')
              FROM monitor_account_adjustments
              LEFT JOIN ledger_bookings ON transaction_id = '{ADJUSTMENT_TRANSACTION}' || adjustment_id) AS adjustment_rows,
           (SELECT opened_at FROM monitor_ledger_opening) AS opened_at, {_BOOKED}
""").columns(fill_rows=Json, adjustment_rows=Json, position_rows=Json, sums=Json, reconciliation=Json)


@dataclass(frozen=True, slots=True)
class AccountMatch:
    """Figures that differ: of the ledger from its own fills, and of the ledger from the exchange by more than is tolerated."""

    from_fills: tuple[Check, ...] = ()
    from_exchange: tuple[Check, ...] = ()


class Matcher:
    """Keeps the last result, and matches again where something changed."""

    def __init__(self, settings: MonitorSettings, kit: Kit[Any]) -> None:
        self._currency = quote_currency(settings.products[0])
        self._one_clock = settings.venue in ONE_CLOCK
        self._kit = kit
        self._schema = schema_check(kit)
        self._known: Any = None
        self._found = AccountMatch()
        self._whole_at = 0.0

    async def found(self) -> AccountMatch:
        """The match as the rows stand now."""
        await self._schema.run()
        now = self._kit.clock.monotonic()
        async with self._kit.autocommit.connect() as connection:
            changes = (await connection.execute(_CHANGES)).one()
            # When it was reconciled changes every few seconds, what it found seldom.
            known = (*changes[:4], changes.reconciliation and changes.reconciliation[:3])
            if known == self._known and now - self._whole_at < _WHOLE_SECONDS:
                return self._found
            row = (await connection.execute(_WHOLE)).one()
        # Beside the event loop, which a long history would hold up.
        self._found = await asyncio.to_thread(account_match, row, self._currency, one_clock=self._one_clock)
        self._known, self._whole_at = known, now
        return self._found


def feed(settings: MonitorSettings, kit: Kit[Any]) -> tuple[Feed[AccountMatch], Task]:
    """The feed and its task."""
    kept: Feed[AccountMatch] = Feed("match", STALE_SECONDS, kit)
    return kept, polled(kept, PACE, Matcher(settings, kit).found)


# ---- rows into figures: pure ---------------------------------------------------------------------------------------------


def account_match(row: Any, currency: str, *, one_clock: bool) -> AccountMatch:
    """The match of an account whose money is `currency`, from the columns of one moment."""
    opened_at = row.opened_at or _FIRST_TIME
    adjustments = [_adjustment(one, currency) for one in row.adjustment_rows]
    events: list[Event] = in_time_order(_fills(row.fill_rows), adjustments, opened_at, one_clock=one_clock)
    found = match(events, _booked(row, currency))
    tolerance = _tolerances(row.reconciliation)
    return AccountMatch(
        from_fills=tuple(one for one in found.checks if one.fills != one.ledger),
        from_exchange=tuple(
            one
            for one in found.checks
            if one.exchange is not None and abs(one.ledger - one.exchange) > tolerance.get(one.what, ZERO)
        ),
    )


def _fills(rows: Sequence[Sequence[Any]]) -> list[AccountFill]:
    found = []
    for order_id, group in groupby(rows, key=lambda one: one[0]):
        own = list(group)
        told = [(Price(Decimal(one[5])), BaseSize(Decimal(one[6]))) for one in own]
        values = values_of(QuoteSize(Decimal(own[0][12])), told)
        found += [
            AccountFill(
                fill_id=one[1],
                trade_id=one[2],
                order_id=order_id,
                product_id=ProductId(one[3]),
                side=Side(one[4]),
                price=price,
                size=size,
                value=value,
                fee=QuoteSize(Decimal(one[7])),
                liquidity=one[8],
                time=_time(one[9]),
                ordered_at=_time(one[10]),
                booking_sequence=one[11],
            )
            for one, (price, size), value in zip(own, told, values, strict=True)
        ]
    return found


def _adjustment(row: Sequence[Any], account_currency: str) -> Adjustment:
    adjustment_id, kind, currency, amount, cost, equity_change, note, caller, created_at, sequence = row
    return Adjustment(
        adjustment_id=adjustment_id,
        kind=kind,
        currency=currency,
        product_id=None if currency == account_currency else ProductId(f"{currency}-{account_currency}"),
        amount=Decimal(amount),
        cost=QuoteSize(Decimal(cost)),
        equity_change=QuoteSize(Decimal(equity_change)),
        note=note,
        caller=caller,
        time=_time(created_at),
        booked_at=_time(created_at),
        booking_sequence=sequence,
    )


def _booked(row: Any, currency: str) -> Booked:
    sums = {(account, name): Decimal(amount) for account, name, amount in row.sums}
    held = {ProductId(one[0]): _position(one) for one in row.position_rows}
    balances, unknown, sequence, reconciled_at = row.reconciliation or ((), 0, 0, None)
    return Booked(
        currency=currency,
        opening_balance=QuoteSize(-sums.get((ledger_accounts.OPENING, currency), ZERO)),
        transfers=QuoteSize(-sums.get((ledger_accounts.ADJUSTMENTS, currency), ZERO)),
        total_fees=QuoteSize(sums.get((ledger_accounts.FEES, currency), ZERO)),
        cash={currency: sums.get((ledger_accounts.EXCHANGE, currency), ZERO)},
        positions=held,
        exchange={
            one["currency"]: ExchangeBalance(Decimal(one["exchange"]), Decimal(one.get("unadopted", "0")))
            for one in balances
        },
        reconciled_at=_time(reconciled_at) if reconciled_at else None,
        reconciled_sequence=sequence,
        orders_unknown=unknown,
    )


def _position(row: Sequence[str]) -> BookedPosition:
    size, cost = BaseSize(Decimal(row[1])), QuoteSize(Decimal(row[2]))
    average = to_stored_scale(price_of(cost, size)) if size else Price(ZERO)
    return BookedPosition(size, average, QuoteSize(Decimal(row[3])))


def _tolerances(reconciliation: Sequence[Any] | None) -> Mapping[str, Decimal]:
    """By the name of the figure, which for a balance is its currency."""
    return {one["currency"]: Decimal(one.get("tolerance", "0")) for one in (reconciliation or ((),))[0]}


def _time(text_: str) -> datetime:
    return datetime.fromisoformat(text_).astimezone(UTC)
