"""The first order of a live start, as the exchange previews it: made by the code that makes every order, and not sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cli.exits import CommandFailed
from exchange_client import Exchange, ExchangeProduct, Limit, OrderPreview, OrderTerms
from meshkit.errors import InvalidRequest
from svc_executor.entry_order import limit_of
from svc_executor.intent import Intent, grid_violation, make_intent
from svc_executor.settings import ExecutorSettings
from tradekit import ids
from tradekit.products import floor_to
from tradekit.recommendation import Recommendation
from tradekit.states import LifeClock, Origin, Profile, Side
from tradekit.units import Price, ProductId, QuoteSize

_LIFE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class FirstOrder:
    """What would be sent, byte for byte but for its id, and what the exchange says of it."""

    intent: Intent
    told: OrderPreview


async def preview_first(exchange: Exchange, settings: ExecutorSettings, entry_size: QuoteSize) -> FirstOrder:
    """A BUY of the usual size of the first product that can be bought now. Makes no order. Raises CommandFailed."""
    product = first_tradable(settings.products, await exchange.products(settings.products))
    bids = await exchange.best_bids([product.product_id])
    price = bids.get(product.product_id, Price(product.price_increment))
    limit = await _limit(exchange, settings, product, entry_size)
    intent = first_intent(exchange, settings, product, entry_size, price, datetime.now(UTC), limit)
    terms = OrderTerms(intent.order_id, intent.product_id, intent.side, intent.size, limit=limit)
    return FirstOrder(intent, await exchange.preview_order(terms))


async def _limit(
    exchange: Exchange, settings: ExecutorSettings, product: ExchangeProduct, entry_size: QuoteSize
) -> Limit | None:
    """None where entries are market orders."""
    if not settings.entry_order.rests:
        return None
    touch, rates = await exchange.touch(product.product_id), await exchange.fee_rates()
    if touch is None:
        raise CommandFailed(f"nobody bids for {product.product_id}, so there is no price to rest at", "try again later")
    try:
        return limit_of(entry_size, touch, product, max(rates.maker, rates.taker), _LIFE, settings.entry_rules)
    except InvalidRequest as error:
        raise CommandFailed(f"ENTRY_QUOTE_SIZE {error.violations[0].description}") from None


def first_tradable(wanted: Sequence[ProductId], found: Sequence[ExchangeProduct]) -> ExchangeProduct:
    """The first of the wanted products that takes market orders now."""
    known = {one.product_id: one for one in found}
    tradable = [known[name] for name in wanted if name in known and known[name].tradable]
    if not tradable:
        states = ", ".join(f"{name} {known[name].status if name in known else 'not listed'}" for name in wanted)
        raise CommandFailed(f"none of the products can be bought now: {states}", "choose others with --products")
    return tradable[0]


def first_intent(
    exchange: Exchange,
    settings: ExecutorSettings,
    product: ExchangeProduct,
    entry_size: QuoteSize,
    price: Price,
    now: datetime,
    limit: Limit | None = None,
) -> Intent:
    """The intent of an approved BUY of this size, floored to the product's grid as the risk engine does."""
    size = floor_to(entry_size, product.quote_increment)
    recommendation = Recommendation(
        recommendation_id=ids.recommendation_id_of_request(ids.new_request_id()),
        product_id=product.product_id,
        side=Side.BUY,
        size=size,
        reference_price=price,
        as_of=now,
        expire_time=now + _LIFE,
        life_clock=LifeClock.MACHINE,
        origin=Origin.OPERATOR,
        profile=Profile.EVIDENCE,
        priority=1.0,
        note="preview",
    )
    if violation := grid_violation(product, Side.BUY, size):
        raise CommandFailed(f"ENTRY_QUOTE_SIZE {violation.description}")
    return make_intent(recommendation, size, None, settings.venue, now, exchange.body_of, limit)
