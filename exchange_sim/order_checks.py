"""Whether the venue takes an order: one check per rule, all of them pure.

Sizes and prices off the grid are refused, never rounded. A new order is refused with the first
reason; a preview lists them all.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from exchange_sim import reasons
from exchange_sim.market import Quote
from exchange_sim.numbers import EXACT, ONE, ZERO, ceil_to, floor_to, is_multiple, parse_number
from exchange_sim.order_request import SUPPORTED, Configuration, OrderRequest
from exchange_sim.orders import Order, Trigger
from exchange_sim.products import Product
from exchange_sim.reasons import Rejection
from exchange_sim.times import parse_iso

_FARTHEST_RATIO = Decimal("0.5")
# A bracket's stop becomes a limit order so far beyond its trigger, as on the venue.
_STOP_ROOM = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Fees:
    taker: Decimal
    maker: Decimal

    @property
    def highest(self) -> Decimal:
        return max(self.taker, self.maker)


@dataclass(frozen=True, slots=True)
class Terms:
    """An order's numbers. Exactly one size is set, and `stop_price` where the order has a stop; `trigger` says which way the
    price must go to reach it. `attached` are the limit and the stop of the bracket that it brings.
    """

    side: str
    base_size: Decimal | None
    quote_size: Decimal | None
    limit_price: Decimal | None
    end_us: int | None
    stop_price: Decimal | None = None
    trigger: Trigger = Trigger.NONE
    is_bracket: bool = False
    attached: tuple[Decimal, Decimal] | None = None


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
    supported = request.configuration.variant in SUPPORTED and _one_fitting_size(request) and _attachable(request)
    if request.beyond_spot or not supported:
        yield reasons.UNSUPPORTED_CONFIGURATION
    if request.preview_id not in ("", request.own_preview_id):
        yield reasons.UNKNOWN_PREVIEW


def _one_fitting_size(request: OrderRequest) -> bool:
    base, quote = "base_size" in request.configuration.terms, "quote_size" in request.configuration.terms
    quote_fits = request.configuration.is_market and request.side == "BUY"
    return base != quote and (base or quote_fits)


def _attachable(request: OrderRequest) -> bool:
    """A bracket may hang on what buys, and takes its size from that."""
    attached, own = request.attached, request.configuration
    if attached is None:
        return True
    fits = attached.variant == "trigger_bracket_gtc" and not {"base_size", "quote_size"} & set(attached.terms)
    return fits and request.side == "BUY" and not (own.is_stop or own.is_bracket)


def check_state(request: OrderRequest, product: Product) -> Iterator[Rejection]:
    limited = not request.configuration.is_market
    if product.status != "online" or product.view_only:
        yield reasons.UNTRADABLE
    if product.trading_disabled or product.is_disabled:
        yield reasons.TRADING_DISABLED
    only_posting = product.post_only or product.auction_mode
    if product.cancel_only or (product.limit_only and not limited) or (only_posting and not request.post_only):
        yield reasons.MARKET_STATE


def parse_terms(request: OrderRequest, now_us: int) -> Terms | Rejection:
    own = request.configuration
    stop_name = "stop_trigger_price" if own.is_bracket else "stop_price"
    numbers = {name: _number(own, name) for name in ("base_size", "quote_size", "limit_price", stop_name)}
    for one in numbers.values():
        if isinstance(one, Rejection):
            return one
    base, quote, limit, stop = (one if isinstance(one, Decimal) else None for one in numbers.values())
    if not own.is_market and not limit:
        return reasons.INVALID_PRICE
    trigger = Trigger.NONE
    if own.is_stop or own.is_bracket:
        if not stop:
            return reasons.INVALID_STOP_PRICE
        found = _trigger(request)
        if isinstance(found, Rejection):
            return found
        trigger = found
    end_us = _end(own, now_us)
    if isinstance(end_us, Rejection):
        return end_us
    attached = _attached(request.attached)
    if isinstance(attached, Rejection):
        return attached
    return Terms(request.side, base, quote, limit, end_us, stop, trigger, own.is_bracket, attached)


def _number(own: Configuration, name: str) -> Decimal | Rejection | None:
    text = own.text(name)
    if text is None:
        return None
    number = parse_number(text)
    return reasons.NOT_A_NUMBER if number is None else number


def _trigger(request: OrderRequest) -> Trigger | Rejection:
    """A bracket's stop lies on the side of the loss; a stop order says where it looks."""
    if request.configuration.is_bracket:
        return Trigger.UP if request.side == "BUY" else Trigger.DOWN
    directions = {"STOP_DIRECTION_STOP_UP": Trigger.UP, "STOP_DIRECTION_STOP_DOWN": Trigger.DOWN}
    return directions.get(request.configuration.text("stop_direction") or "", reasons.NO_STOP_DIRECTION)


def _end(own: Configuration, now_us: int) -> int | Rejection | None:
    if not own.ends:
        return None
    text = own.text("end_time")
    if text is None:
        return reasons.NO_END_TIME
    try:
        end_us = parse_iso(text)
    except (ValueError, OverflowError):
        return reasons.BAD_END_TIME
    return reasons.END_TIME_PAST if end_us <= now_us else end_us


def _attached(own: Configuration | None) -> tuple[Decimal, Decimal] | Rejection | None:
    if own is None:
        return None
    limit, stop = _number(own, "limit_price"), _number(own, "stop_trigger_price")
    if isinstance(limit, Rejection) or isinstance(stop, Rejection):
        return reasons.NOT_A_NUMBER
    if not limit:
        return reasons.INVALID_PRICE
    return (limit, stop) if stop else reasons.INVALID_STOP_PRICE


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
    prices = (terms.limit_price, terms.stop_price, *(terms.attached or ()))
    if any(price is not None and not is_multiple(price, product.price_increment) for price in prices):
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
    if required(terms, product, situation.quote, situation.fees) > situation.available:
        yield reasons.INSUFFICIENT_FUND


def check_price(request: OrderRequest, terms: Terms, quote: Quote) -> Iterator[Rejection]:
    if terms.limit_price is not None:
        middle = (quote.bid + quote.ask) / 2
        if abs(terms.limit_price / middle - ONE) >= _FARTHEST_RATIO:
            yield reasons.PRICE_TOO_FAR
        if request.post_only and crosses(terms, quote):
            yield reasons.POST_ONLY_CROSSES
    if terms.is_bracket:
        yield from _check_bracket(terms, quote)
    elif terms.stop_price is not None and terms.limit_price is not None:
        yield from _check_stop(terms, terms.stop_price, terms.limit_price, quote)
    if terms.attached is not None:
        bought_at = reference_price(terms, quote)
        if terms.attached[0] <= bought_at:
            yield reasons.ATTACHED_TAKE_PROFIT
        if terms.attached[1] >= bought_at:
            yield reasons.ATTACHED_STOP_LOSS


def _check_bracket(terms: Terms, quote: Quote) -> Iterator[Rejection]:
    prices = (terms.stop_price or ZERO, quote.last, terms.limit_price or ZERO)
    low, middle, high = prices if terms.side == "SELL" else prices[::-1]
    if not low < middle < high:
        yield reasons.BRACKET_PRICES


def _check_stop(terms: Terms, stop: Decimal, limit: Decimal, quote: Quote) -> Iterator[Rejection]:
    if terms.trigger is Trigger.DOWN:
        if stop >= quote.last:
            yield reasons.STOP_ABOVE_LAST
        if terms.side == "SELL" and stop < limit:
            yield reasons.STOP_BELOW_LIMIT
    else:
        if stop <= quote.last:
            yield reasons.STOP_BELOW_LAST
        if terms.side == "BUY" and stop > limit:
            yield reasons.STOP_ABOVE_LIMIT


def stop_limit(terms: Terms, product: Product) -> Decimal | None:
    """The limit that an order has once its stop was reached: a stop order's own, and a bracket's with room for the fall."""
    if terms.stop_price is None or not terms.is_bracket:
        return terms.limit_price if terms.stop_price is not None else None
    return bracket_stop_limit(terms.side, terms.stop_price, product)


def bracket_stop_limit(side: str, stop: Decimal, product: Product) -> Decimal:
    """On the grid, and never below one step of it."""
    tick = product.price_increment
    if side == "SELL":
        return max(tick, floor_to(EXACT.multiply(stop, ONE - _STOP_ROOM), tick))
    return ceil_to(EXACT.multiply(stop, ONE + _STOP_ROOM), tick)


def check_edit(order: Order, edited: Terms, situation: Situation) -> Iterator[str]:
    """What speaks against the new price and size of an open order; it has what it holds already to spend."""
    product, price, size = situation.product, edited.limit_price or ZERO, edited.base_size or ZERO
    if size <= order.filled_size:
        yield reasons.EDIT_BELOW_FILLED
    if not is_multiple(size, product.base_increment) or not product.base_min_size <= size <= product.base_max_size:
        yield reasons.EDIT_SIZE
    middle = (situation.quote.bid + situation.quote.ask) / 2
    too_far = abs(price / middle - ONE) >= _FARTHEST_RATIO
    only_posts = json.loads(order.terms).get("post_only") is True and reaches(order.side, price, situation.quote)
    if not price or not is_multiple(price, product.price_increment) or too_far or only_posts:
        yield reasons.EDIT_PRICE
    notional = EXACT.multiply(size, price)
    if not product.quote_min_size <= notional <= product.quote_max_size:
        yield reasons.EDIT_SIZE
    if required(edited, product, situation.quote, situation.fees) > EXACT.add(situation.available, order.hold):
        yield reasons.INSUFFICIENT_FUND.error


def taker_price(side: str, quote: Quote) -> Decimal:
    return quote.ask if side == "BUY" else quote.bid


def reference_price(terms: Terms, quote: Quote) -> Decimal:
    return taker_price(terms.side, quote) if terms.limit_price is None else terms.limit_price


def crosses(terms: Terms, quote: Quote) -> bool:
    """Whether an order would trade at once; one with a stop waits for it."""
    if terms.trigger is not Trigger.NONE:
        return False
    if terms.limit_price is None:
        return True
    return reaches(terms.side, terms.limit_price, quote)


def reaches(side: str, limit: Decimal, quote: Quote) -> bool:
    """Whether a limit order would trade at this quote."""
    return limit >= quote.ask if side == "BUY" else limit <= quote.bid


def required(terms: Terms, product: Product, quote: Quote, fees: Fees) -> Decimal:
    """Funds the order needs before it is taken: base when selling, quote with fee when buying."""
    if terms.side == "SELL":
        return terms.base_size or ZERO
    if terms.quote_size is not None:
        return terms.quote_size
    rate = fees.taker if terms.limit_price is None else fees.highest
    price = reference_price(terms, quote)
    if terms.is_bracket and terms.stop_price is not None:
        price = max(price, bracket_stop_limit("BUY", terms.stop_price, product))
    value = EXACT.multiply(terms.base_size or ZERO, price)
    return EXACT.multiply(value, EXACT.add(ONE, rate))
