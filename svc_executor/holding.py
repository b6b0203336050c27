"""What the ledger holds of a product, and what orders are about to sell of it."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekit.decimals import to_stored_scale
from tradekit.sizes import NO_BASE, price_of
from tradekit.units import BaseSize, Price, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class Holding:
    """What the ledger holds of a product and at which cost, what open orders are about to sell of it or have sold and nobody has
    booked yet, and its newest close if there is one."""

    held: BaseSize
    cost: QuoteSize
    selling: BaseSize
    close: Price | None

    @property
    def price(self) -> Price | None:
        """The newest close; what it cost where there is none; None where neither says anything."""
        if self.close is not None or not self.held or not self.cost:
            return self.close
        return to_stored_scale(price_of(self.cost, self.held))

    @property
    def free(self) -> BaseSize:
        return max(self.held - self.selling, NO_BASE)


_HOLDING = text("""
    SELECT coalesce((SELECT base_size FROM positions WHERE product_id = :product), 0) AS held,
           coalesce((SELECT cost FROM positions WHERE product_id = :product), 0) AS cost,
           coalesce((SELECT sum(greatest(coalesce(done_size, base_size) - filled_size, 0)) FROM orders
                     WHERE product_id = :product AND side = 'SELL' AND state IN ('PENDING', 'UNKNOWN', 'OPEN')), 0) AS selling,
           (SELECT close FROM executor_latest_closes WHERE product_id = :product AND granularity = :granularity) AS price
""")


async def read_holding(connection: AsyncConnection, product_id: ProductId, granularity: int) -> Holding:
    """What could be sold of a product; under the account lock nobody else sells it meanwhile."""
    row = (await connection.execute(_HOLDING, {"product": product_id, "granularity": granularity})).one()
    return Holding(row.held, row.cost, row.selling, row.price)
