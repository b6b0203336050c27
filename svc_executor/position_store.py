"""The SQL of what ListPositions tells: positions, their prices and the ledger's sums, all of one moment in one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import Column, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.base import Json
from svc_executor.account_store import StoredPosition
from svc_executor.ledger import Position
from svc_executor.protection_store import STANDING, standing_of
from tradekit.decimals import ZERO
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

# Amounts go through JSON as text, so that no digit is lost.
_READ = text(f"""
    SELECT
      (SELECT coalesce(jsonb_agg(jsonb_build_array(p.product_id, p.base_size::text, p.cost::text, p.realized_pnl::text,
         p.total_fees::text, p.updated_at, (
           SELECT c.close::text FROM executor_latest_closes c
           WHERE c.product_id = p.product_id AND c.granularity = :granularity
         ), {STANDING}) ORDER BY p.product_id), '[]') FROM positions p) AS held,
      (SELECT coalesce(jsonb_agg(jsonb_build_array(s.account, s.currency, s.amount::text)), '[]') FROM ledger_balances s) AS sums
""").columns(Column("held", Json), Column("sums", Json))


@dataclass(frozen=True, slots=True)
class Standing:
    """Positions by product, the newest closes there are, and the sum of each account of the ledger by currency."""

    positions: list[StoredPosition]
    marks: Mapping[ProductId, Price]
    sums: Mapping[str, Mapping[str, Decimal]]

    def of(self, account: str) -> dict[str, Decimal]:
        """What an account has, by currency."""
        return {currency: total for currency, total in self.sums.get(account, {}).items() if total}

    def total(self, account: str, currency: str) -> Decimal:
        """One account in one currency."""
        return self.sums.get(account, {}).get(currency, ZERO)


async def read_standing(connection: AsyncConnection, granularity_seconds: int) -> Standing:
    """Everything as it stands now."""
    row = (await connection.execute(_READ, {"granularity": granularity_seconds})).one()
    sums: dict[str, dict[str, Decimal]] = {}
    for account, currency, total in row.sums:
        sums.setdefault(account, {})[currency] = Decimal(total)
    positions, marks = [], {}
    for product_id, size, cost, pnl, fees, updated_at, close, standing in row.held:
        position = Position(
            BaseSize(Decimal(size)), QuoteSize(Decimal(cost)), QuoteSize(Decimal(pnl)), QuoteSize(Decimal(fees))
        )
        orders = tuple(standing_of(*values) for values in standing)
        positions.append(
            StoredPosition(product_id, position, datetime.fromisoformat(updated_at).astimezone(UTC), orders)
        )
        if close is not None:
            marks[product_id] = Price(Decimal(close))
    return Standing(positions, marks, sums)
