"""What a replay came to: the canonical decisions and their hash, the funnel, the account, and its agreement with the exchange.

The hash covers what was decided and filled, in canonical order; not ids, machine times or attempts, so a replay that was
disturbed and recovered has the hash of one that was not.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekit.decimals import ZERO, plain

_SIGNALS = """
SELECT product_id, bar_start, side FROM trading_signals WHERE side <> 'HOLD' ORDER BY as_of, product_id
"""
_ITEMS = """
SELECT r.product_id, r.side, r.as_of, r.size, r.state, r.decided_by, r.adjusted_size, r.reasons, r.origin,
       o.state AS order_state, o.filled_size, o.filled_value, o.total_fees
FROM trade_recommendations r LEFT JOIN orders o USING (recommendation_id)
ORDER BY r.as_of, (r.side = 'SELL') DESC, r.priority DESC, r.product_id
"""
_PROTECTIVE = """
SELECT o.product_id, o.order_type, o.trigger, o.target_price, o.filled_size, o.filled_value, o.total_fees, max(f.as_of) AS as_of,
  sum(f.realized_pnl) AS realized_pnl
FROM orders o JOIN fills f USING (order_id) WHERE o.purpose = 'PROTECTION'
GROUP BY o.order_id ORDER BY max(f.as_of), o.product_id, o.order_id
"""
_PROTECTIVE_ORDERS = """
SELECT order_type, state, count(*) AS items FROM orders WHERE purpose = 'PROTECTION' GROUP BY 1, 2 ORDER BY 1, 2
"""
_SALES = """
SELECT o.purpose AS reason, o.filled_value, o.total_fees, sum(f.realized_pnl) AS realized_pnl
FROM orders o JOIN fills f USING (order_id) WHERE o.side = 'SELL' AND o.purpose <> 'PROTECTION' GROUP BY o.order_id
"""
_FEES = """
SELECT side, liquidity, count(*) AS items, sum(price * size) AS value, sum(commission) AS fees
FROM fills GROUP BY 1, 2 ORDER BY 1, 2
"""
_CASH = """
SELECT currency, sum(amount) AS amount FROM ledger_entries WHERE account = 'exchange' GROUP BY currency ORDER BY currency
"""
_POSITIONS = """
SELECT p.product_id, p.base_size, p.cost, p.realized_pnl, p.total_fees,
  (SELECT close FROM crypto_prices c WHERE c.product_id = p.product_id ORDER BY start DESC LIMIT 1) AS mark
FROM positions p ORDER BY p.product_id
"""
_OUTCOMES = """
SELECT outcome, coalesce(reasons->0->>'code', '') AS reason, count(*) AS items
FROM signal_outcomes GROUP BY 1, 2 ORDER BY 1, 2
"""
_VALIDATIONS = """
SELECT reviewer, enforced AS verdict, coalesce(reasons->0->>'code', '') AS reason, count(*) AS items
FROM llm_validation WHERE enforced IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_ASSESSMENTS = """
SELECT side, decision, coalesce(reasons->0->>'code', '') AS reason, count(*) AS items
FROM risk_assessments GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_LEDGER_SUMS = "SELECT transaction_id FROM ledger_entries GROUP BY transaction_id, currency HAVING sum(amount) <> 0"
_COUNTS = """
SELECT (SELECT count(*) FROM crypto_prices WHERE start >= :first AND start < :end) AS candles,
       (SELECT count(*) FROM fills) AS fills,
       (SELECT count(*) FROM orders WHERE exchange_order_id IS NOT NULL) AS orders_with_exchange_id,
       (SELECT count(*) FROM orders WHERE state = 'UNKNOWN') AS orders_unknown
"""
_FIRST_LAST = """
SELECT product_id,
  (array_agg(close ORDER BY start))[1] AS first, (array_agg(close ORDER BY start DESC))[1] AS last
FROM crypto_prices WHERE start >= :first AND start < :end
GROUP BY product_id ORDER BY product_id
"""


@dataclass(frozen=True, slots=True)
class AccountResult:
    """Money at the end, quote currency."""

    opening: Decimal
    cash: Decimal
    equity: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    fees: Decimal
    buy_and_hold: Decimal  # its profit, with the fees of entry and exit

    @property
    def pnl(self) -> Decimal:
        """Equity less the opening balance."""
        return self.equity - self.opening


@dataclass(frozen=True, slots=True)
class ExitResult:
    """All sales for one reason, quote currency: EXIT for the model's own decision, else what triggered a protective order.

    `realized_pnl` is net of the fees of entry and exit.
    """

    reason: str
    items: int
    filled_value: Decimal
    fees: Decimal
    realized_pnl: Decimal


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Everything a replay has to say."""

    hash: str
    candles: int
    signals: Mapping[str, int]
    outcomes: Sequence[Mapping[str, Any]]
    validations: Sequence[Mapping[str, Any]]
    assessments: Sequence[Mapping[str, Any]]
    recommendations: Mapping[str, int]
    orders: Mapping[str, int]
    protective_orders: Mapping[str, int]
    exits: Sequence[ExitResult]
    fills: int
    fees: Sequence[Mapping[str, Any]]
    orders_with_exchange_id: int
    orders_unknown: int
    unbalanced_transactions: int
    items: Sequence[Mapping[str, Any]]
    cash: Mapping[str, Decimal]
    positions: Sequence[Mapping[str, Any]]
    account: AccountResult


async def read_result(
    connection: AsyncConnection, parameters: Mapping[str, Any], quote: str, opening: Decimal, taker_fee: Decimal
) -> ReplayResult:
    """Reads everything from the rows; candles of the period open in [`first`, `end`). `taker_fee` is what the exchange
    charged, as a share.
    """
    signals = await _rows(connection, _SIGNALS)
    items = await _rows(connection, _ITEMS)
    protective = await _rows(connection, _PROTECTIVE)
    cash = {row["currency"]: row["amount"] for row in await _rows(connection, _CASH)}
    positions = await _rows(connection, _POSITIONS)
    counts = (await _rows(connection, _COUNTS, parameters))[0]
    sides = await _rows(connection, "SELECT side, count(*) AS items FROM trading_signals GROUP BY 1 ORDER BY 1")
    held = await _rows(connection, _FIRST_LAST, parameters)
    return ReplayResult(
        hash=canonical_hash(signals, items, protective, cash, positions),
        candles=counts["candles"],
        signals={row["side"]: row["items"] for row in sides},
        outcomes=await _rows(connection, _OUTCOMES),
        validations=await _rows(connection, _VALIDATIONS),
        assessments=await _rows(connection, _ASSESSMENTS),
        recommendations=Counter(f"{item['side']} {item['state']}" for item in items),
        orders=Counter(f"{item['side']} {item['order_state']}" for item in items if item["order_state"]),
        protective_orders={
            f"{row['order_type']} {row['state']}": row["items"] for row in await _rows(connection, _PROTECTIVE_ORDERS)
        },
        exits=exits_of([*await _rows(connection, _SALES), *({**row, "reason": exit_of(row)} for row in protective)]),
        fills=counts["fills"],
        fees=await _rows(connection, _FEES),
        orders_with_exchange_id=counts["orders_with_exchange_id"],
        orders_unknown=counts["orders_unknown"],
        unbalanced_transactions=len(await _rows(connection, _LEDGER_SUMS)),
        items=items,
        cash=cash,
        positions=positions,
        account=_account(cash.get(quote, ZERO), positions, opening, buy_and_hold(held, opening, taker_fee)),
    )


async def _rows(
    connection: AsyncConnection, query: str, parameters: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(text(query), parameters or {})).mappings()]


def _account(
    cash: Decimal, positions: Sequence[Mapping[str, Any]], opening: Decimal, holding: Decimal
) -> AccountResult:
    value = sum((row["base_size"] * row["mark"] for row in positions if row["mark"] is not None), ZERO)
    cost = sum((row["cost"] for row in positions), ZERO)
    return AccountResult(
        opening=opening,
        cash=cash,
        equity=cash + value,
        realized_pnl=sum((row["realized_pnl"] for row in positions), ZERO),
        unrealized_pnl=value - cost,
        fees=sum((row["total_fees"] for row in positions), ZERO),
        buy_and_hold=holding,
    )


def buy_and_hold(held: Sequence[Mapping[str, Any]], opening: Decimal, taker_fee: Decimal) -> Decimal:
    """The profit of equal parts of the opening balance, bought at the first close and sold at the last, a fee paid for each;
    the first lies inside the amount, as that of a BUY does.
    """
    if not held:
        return ZERO
    part = opening / len(held) / (1 + taker_fee)
    return sum((part / row["first"] * row["last"] * (1 - taker_fee) for row in held), ZERO) - opening


def canonical_hash(
    signals: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    protective: Sequence[Mapping[str, Any]],
    cash: Mapping[str, Decimal],
    positions: Sequence[Mapping[str, Any]],
) -> str:
    """sha256 over one JSON line per signal to act, per recommendation, per protective order that sold, and the final holdings."""
    digest = hashlib.sha256()

    def take(*line: object) -> None:
        digest.update(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    for row in signals:
        take("signal", row["product_id"], int(row["bar_start"].timestamp()), row["side"])
    for item in items:
        codes = sorted(reason["code"] for reason in item["reasons"])
        sizes = [_plain(item[name]) for name in ("size", "adjusted_size", "filled_size", "filled_value", "total_fees")]
        when = int(item["as_of"].timestamp())
        take("item", item["product_id"], item["side"], when, item["state"], item["decided_by"], codes, sizes)
    for row in protective:
        sizes = [_plain(row[name]) for name in ("filled_size", "filled_value", "total_fees")]
        take("protection", row["product_id"], int(row["as_of"].timestamp()), exit_of(row), sizes)
    for currency, amount in sorted(cash.items()):
        take("cash", currency, plain(amount))
    for row in positions:
        take("position", row["product_id"], plain(row["base_size"]))
    return digest.hexdigest()


def exits_of(sales: Sequence[Mapping[str, Any]]) -> list[ExitResult]:
    """Sums of sales, by reason."""
    found = []
    for reason in sorted({row["reason"] for row in sales}):
        rows = [row for row in sales if row["reason"] == reason]
        value, fees, pnl = (
            sum((row[name] for row in rows), ZERO) for name in ("filled_value", "total_fees", "realized_pnl")
        )
        found.append(ExitResult(reason, len(rows), value, fees, pnl))
    return found


def exit_of(row: Mapping[str, Any]) -> str:
    """Why a protective order sold; a bracket at its target or better, or else at its stop."""
    if row["order_type"] != "BRACKET":
        return str(row["trigger"])
    return "TARGET" if row["filled_value"] >= row["target_price"] * row["filled_size"] else "STOP"


def _plain(value: Decimal | None) -> str:
    return "" if value is None else plain(value)
