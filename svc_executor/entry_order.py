"""How an entry is ordered: at the market's price, or with a limit at the best bid that rests for as long as the entry may live.

Pure. A limit buys a size that its amount pays for even if it is charged the taker's fee, so that no entry ever spends more than
the risk engine allowed; what remains stays in the account.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, localcontext

from exchange_client import ExchangeProduct, Limit, Touch
from meshkit.errors import DeadlineTooShort, InvalidRequest, Violation
from tradekit.decimals import CONTEXT, ONE, plain
from tradekit.products import floor_to
from tradekit.sizes import base_of
from tradekit.states import OrderType
from tradekit.units import Price, QuoteSize

# An exchange's times have no less, and one that rests for less is only a market order that may miss.
_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class EntryRules:
    """Settings. `offset`: how far below the best bid the limit lies, share of the price; below zero it lies above."""

    order_type: OrderType
    offset: Decimal


def limit_of(
    size: QuoteSize, touch: Touch, product: ExchangeProduct, fee: Decimal, left: timedelta, rules: EntryRules
) -> Limit | None:
    """The limit of an entry that may spend `size` and has `left` to live; None for a market order. `fee` is the highest that
    the exchange may charge, share of the value. InvalidRequest, DeadlineTooShort."""
    if rules.order_type is OrderType.MARKET:
        return None
    if left < _SHORTEST:
        raise DeadlineTooShort(
            f"{left.total_seconds():g} s are left; an order cannot rest for less than 1 s", reason="EXPIRED"
        )
    with localcontext(CONTEXT):
        price = max(floor_to(Price(touch.bid * (ONE - rules.offset)), product.price_increment), product.price_increment)
        wanted = floor_to(base_of(QuoteSize(size / (ONE + fee)), price), product.base_increment)
        bought = min(wanted, product.base_max_size)
        value = bought * price
    if bought < product.base_min_size or value < product.quote_min_size:
        what = f"buys {plain(bought)} {product.base_currency} for {plain(value)} at a limit of {plain(price)} with the fee inside"
        least = f"{plain(product.base_min_size)} and {plain(product.quote_min_size)}"
        raise InvalidRequest([Violation("size", "MIN_SIZE", f"{plain(size)} {what}; the exchange's least are {least}")])
    return Limit(price, bought, touch.time + left, rules.order_type is OrderType.POST_ONLY)
