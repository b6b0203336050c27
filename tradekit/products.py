"""Product ids, increments and the rounding of sizes and prices: the only place where an order amount is rounded.

Off-grid sizes are rejected by the exchange, never rounded by it, so sizes are floored here before they are sent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import TypeVar

from tradekit.decimals import CONTEXT
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

# A size is rounded to an increment of its own unit; anything else comes out as a bare Decimal.
U = TypeVar("U", BaseSize, QuoteSize, Price, Decimal)

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

    product_id: ProductId
    base_increment: BaseSize
    quote_increment: QuoteSize
    price_increment: Price
    base_min_size: BaseSize
    quote_min_size: QuoteSize
    tradable: bool
    status: str

    def floor_base(self, size: BaseSize) -> BaseSize:
        """Largest base size on the grid that is not above `size`."""
        return floor_to(size, self.base_increment)

    def floor_quote(self, size: QuoteSize) -> QuoteSize:
        """Largest quote amount on the grid that is not above `size`."""
        return floor_to(size, self.quote_increment)


def floor_to(value: U, increment: U) -> U:
    """Largest whole multiple of `increment` that is not above `value`."""
    with localcontext(CONTEXT):
        return (value / increment).to_integral_value(ROUND_FLOOR) * increment


def ceil_to(value: U, increment: U) -> U:
    """Smallest whole multiple of `increment` that is not below `value`."""
    with localcontext(CONTEXT):
        return (value / increment).to_integral_value(ROUND_CEILING) * increment


def factor_product(products: Sequence[str]) -> str:
    """The market factor: BTC in the quote currency of the traded products."""
    return f"BTC-{quote_currency(products[0])}"
