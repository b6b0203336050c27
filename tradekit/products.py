"""Product ids, increments and the rounding of sizes and prices: the only place where an order amount is rounded.

Off-grid sizes are rejected by the exchange, never rounded by it, so sizes are floored here before they are sent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from tradekit.decimals import CONTEXT

_PRODUCT_ID = re.compile(r"[A-Z0-9]{1,12}-[A-Z0-9]{2,12}\Z")


def is_product_id(text: str) -> bool:
    """True if `text` is spelled like a product, such as BTC-USD."""
    return bool(_PRODUCT_ID.match(text))


def base_currency(product_id: str) -> str:
    """BTC of BTC-USD."""
    return product_id.partition("-")[0]


def quote_currency(product_id: str) -> str:
    """USD of BTC-USD."""
    return product_id.partition("-")[2]


def market_factor(product_id: str) -> str:
    """The product that stands for the whole market in the features of this one: BTC in its quote currency."""
    return f"BTC-{quote_currency(product_id)}"


@dataclass(frozen=True, slots=True)
class Product:
    """What the exchange says of one market. Increments and minimums are in units of their currency."""

    product_id: str
    base_increment: Decimal
    quote_increment: Decimal
    price_increment: Decimal
    base_min_size: Decimal
    quote_min_size: Decimal
    tradable: bool
    status: str

    def floor_base(self, size: Decimal) -> Decimal:
        """Largest base size on the grid that is not above `size`."""
        return floor_to(size, self.base_increment)

    def floor_quote(self, size: Decimal) -> Decimal:
        """Largest quote amount on the grid that is not above `size`."""
        return floor_to(size, self.quote_increment)


def floor_to(value: Decimal, increment: Decimal) -> Decimal:
    """Largest whole multiple of `increment` that is not above `value`."""
    with localcontext(CONTEXT):
        return (value / increment).to_integral_value(ROUND_FLOOR) * increment


def ceil_to(value: Decimal, increment: Decimal) -> Decimal:
    """Smallest whole multiple of `increment` that is not below `value`."""
    with localcontext(CONTEXT):
        return (value / increment).to_integral_value(ROUND_CEILING) * increment


def factor_product(products: Sequence[str]) -> str:
    """The market factor: BTC in the quote currency of the traded products."""
    return f"BTC-{quote_currency(products[0])}"
