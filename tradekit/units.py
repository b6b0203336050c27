"""What a number counts: base units, quote currency, or quote currency for one base unit. And a product's id.

At run time each is the plain Decimal (or str) it is made from, so a type costs nothing where money is reckoned with, stored or
sent. What may be done with each is written in `units.pyi`, which mypy reads in place of this file: base units times a price
are quote currency, and base units plus quote currency, or less than quote currency, are an error.

Only the edges make one of a bare number: messages, rows, replies of the exchange, settings. No isinstance knows them.
"""

from decimal import Decimal
from typing import NewType

ProductId = NewType("ProductId", str)
BaseSize = NewType("BaseSize", Decimal)
QuoteSize = NewType("QuoteSize", Decimal)
Price = NewType("Price", Decimal)
# Quote currency for a BUY, base units for a SELL; `tradekit.sizes` gives it out as the one or the other.
OrderSize = NewType("OrderSize", Decimal)
