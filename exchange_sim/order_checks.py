"""Whether the venue takes an order: one check per rule, all of them pure.

Sizes and prices off the grid are refused, never rounded. A new order is refused with the first
reason; a preview lists them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from exchange_sim import reasons
from exchange_sim.market import Quote
from exchange_sim.numbers import EXACT, ONE, ZERO, is_multiple, parse_number
from exchange_sim.order_request import SUPPORTED, OrderRequest
from exchange_sim.products import Product
from exchange_sim.reasons import Rejection
from exchange_sim.times import parse_iso

_FARTHEST_RATIO = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Fees:
    taker: Decimal
    maker: Decimal

    @property
    def highest(self) -> Decimal:
        return max(self.taker, self.maker)


@dataclass(frozen=True, slots=True)
class Terms:
    """An order's numbers, parsed and on the product's grid. Exactly one size is set."""

    side: str
    base_size: Decimal | None
    quote_size: Decimal | None
    limit_price: Decimal | None
    end_us: int | None


@dataclass(frozen=True, slots=True)
class Situation:
    """What the venue knows at the moment of the order."""

    product: Product
    quote: Quote
    available: Decimal  # of the currency this order would spend
    fees: Fees
    now_us: int


def check_form(request: OrderRequest, product: Product | None) -> Iterator[Rejection]:
    """Rules that need no numbers; numbers are only looked at when all of these hold."""
    if request.side not in ("BUY", "SELL"):
        yield reasons.INVALID_SIDE
    if product is None:
        yield reasons.INVALID_PRODUCT
    if request.variant not in SUPPORTED or request.beyond_spot or not _one_fitting_size(request):
        yield reasons.UNSUPPORTED_CONFIGURATION


def _one_fitting_size(request: OrderRequest) -> bool:
    base, quote = "base_size" in request.terms, "quote_size" in request.terms
    quote_fits = request.variant == "market_market_ioc" and request.side == "BUY"
    return base != quote and (base or quote_fits)


def check_state(request: OrderRequest, product: Product) -> Iterator[Rejection]:
    limited = request.variant != "market_market_ioc"
    if product.status != "online" or product.view_only:
        yield reasons.UNTRADABLE
    if product.trading_disabled or product.is_disabled:
        yield reasons.TRADING_DISABLED
    only_posting = product.post_only or product.auction_mode
    if product.cancel_only or (product.limit_only and not limited) or (only_posting and not request.post_only):
        yield reasons.MARKET_STATE


def parse_terms(request: OrderRequest, now_us: int) -> Terms | Rejection:
    numbers: dict[str, Decimal | None] = {"base_size": None, "quote_size": None, "limit_price": None}
    for name in numbers:
        text = request.text(name)
        numbers[name] = None if text is None else parse_number(text)
        if text is not None and numbers[name] is None:
            return reasons.NOT_A_NUMBER
    if request.variant != "market_market_ioc" and not numbers["limit_price"]:
        return reasons.INVALID_PRICE
    end_us = None
    if request.variant == "limit_limit_gtd":
        text = request.text("end_time")
        if text is None:
            return reasons.NO_END_TIME
        try:
            end_us = parse_iso(text)
        except (ValueError, OverflowError):
            return reasons.BAD_END_TIME
        if end_us <= now_us:
            return reasons.END_TIME_PAST
    return Terms(request.side, numbers["base_size"], numbers["quote_size"], numbers["limit_price"], end_us)


def check_grid(terms: Terms, product: Product) -> Iterator[Rejection]:
    if terms.base_size is not None:
        if not is_multiple(terms.base_size, product.base_increment):
            yield reasons.SIZE_PRECISION
        if terms.base_size < product.base_min_size:
            yield reasons.BASE_TOO_SMALL
        if terms.base_size > product.base_max_size:
            yield reasons.BASE_TOO_LARGE
    if terms.quote_size is not None and not is_multiple(terms.quote_size, product.quote_increment):
        yield reasons.QUOTE_PRECISION
    if terms.limit_price is not None and not is_multiple(terms.limit_price, product.price_increment):
        yield reasons.PRICE_PRECISION


def check_value(terms: Terms, situation: Situation) -> Iterator[Rejection]:
    product = situation.product
    notional = terms.quote_size
    if notional is None:
        notional = EXACT.multiply(terms.base_size or ZERO, reference_price(terms, situation.quote))
    if notional < product.quote_min_size:
        yield reasons.QUOTE_TOO_SMALL
    if notional > product.quote_max_size:
        yield reasons.QUOTE_TOO_LARGE
    if required(terms, situation.quote, situation.fees) > situation.available:
        yield reasons.INSUFFICIENT_FUND


def check_price(request: OrderRequest, terms: Terms, quote: Quote) -> Iterator[Rejection]:
    if terms.limit_price is None:
        return
    middle = (quote.bid + quote.ask) / 2
    if abs(terms.limit_price / middle - ONE) >= _FARTHEST_RATIO:
        yield reasons.PRICE_TOO_FAR
    if request.post_only and crosses(terms, quote):
        yield reasons.POST_ONLY_CROSSES


def taker_price(side: str, quote: Quote) -> Decimal:
    return quote.ask if side == "BUY" else quote.bid


def reference_price(terms: Terms, quote: Quote) -> Decimal:
    return taker_price(terms.side, quote) if terms.limit_price is None else terms.limit_price


def crosses(terms: Terms, quote: Quote) -> bool:
    """Whether a limit order would trade at once."""
    if terms.limit_price is None:
        return True
    return terms.limit_price >= quote.ask if terms.side == "BUY" else terms.limit_price <= quote.bid


def required(terms: Terms, quote: Quote, fees: Fees) -> Decimal:
    """Funds the order needs before it is taken: base when selling, quote with fee when buying."""
    if terms.side == "SELL":
        return terms.base_size or ZERO
    if terms.quote_size is not None:
        return terms.quote_size
    rate = fees.taker if terms.limit_price is None else fees.highest
    value = EXACT.multiply(terms.base_size or ZERO, reference_price(terms, quote))
    return EXACT.multiply(value, EXACT.add(ONE, rate))
