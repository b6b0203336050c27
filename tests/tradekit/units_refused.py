"""Programs that confuse units. mypy must refuse each line that says "no", for what it says, and let every other one pass.

Never run: `test_tradekit_units` has mypy read it.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from exchange_client import ExchangeFill, ExchangeOrder, ExchangeProduct
from svc_bridge.proposal import ProductState, ProposalRules, sellable
from svc_executor.holding import Holding as Held
from svc_executor.holding import read_holding
from svc_executor.intent import BodyOf, close_intent, make_intent
from svc_executor.ledger import BookedFill, Position, cost_share
from svc_executor.reduce import reduce_only
from svc_risk.assess import Assessment
from svc_risk.case import Case
from svc_risk.exposure import Account, can_be_a_mark, ratio_of
from svc_risk.parameters import Parameters
from svc_risk.sizing import Sizing
from svc_risk.snapshot import Holding, Request
from tradekit import ids
from tradekit.exits import exit_size
from tradekit.products import Product, floor_to
from tradekit.recommendation import Recommendation
from tradekit.sizes import base_of, price_of
from tradekit.states import Venue
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

# ---- exits: what sells -----------------------------------------------------------------------------------------------


def planned(p: Product, held: BaseSize, cash: QuoteSize, mark: Price) -> None:
    exit_size(held, held, p.base_increment, mark, p.quote_min_size)
    exit_size(cash, held, p.base_increment, mark, p.quote_min_size)  # no: QuoteSize for BaseSize
    exit_size(held, held, p.quote_increment, mark, p.quote_min_size)  # no: QuoteSize for BaseSize
    exit_size(held, held, p.base_increment, cash, p.quote_min_size)  # no: QuoteSize for Price
    exit_size(held, held, p.base_increment, mark, p.base_min_size)  # no: BaseSize for QuoteSize
    exit_size(Decimal(1), held, p.base_increment, mark, p.quote_min_size)  # no: Decimal for BaseSize


def reduced(product: ExchangeProduct, holding: Held, cash: QuoteSize) -> BaseSize:
    reduce_only(holding.held, holding, holding.free, product)
    reduce_only(holding.cost, holding, None, product)  # no: QuoteSize for BaseSize
    reduce_only(holding.held, holding, cash, product)  # no: QuoteSize for BaseSize
    return holding.cost  # no: QuoteSize for BaseSize


def closed(order_id: UUID, product_id: ProductId, size: BaseSize, mark: Price, now: datetime, body: BodyOf) -> None:
    close_intent(order_id, product_id, size, Venue.LIVE, now, mark, "", body)
    close_intent(order_id, "BTC-USD", size, Venue.LIVE, now, mark, "", body)  # no: str for ProductId
    close_intent(order_id, product_id, size * mark, Venue.LIVE, now, mark, "", body)  # no: QuoteSize for BaseSize
    close_intent(order_id, product_id, mark, Venue.LIVE, now, mark, "", body)  # no: Price for BaseSize
    close_intent(order_id, product_id, size, Venue.LIVE, now, size, "", body)  # no: BaseSize for Price


def cost(position: Position, fill: BookedFill) -> None:
    cost_share(position, fill.size)
    cost_share(position, fill.value)  # no: QuoteSize for BaseSize


def proposed(state: ProductState, rules: ProposalRules) -> None:
    sellable(state.held, state.base_increment)
    sellable(rules.entry_quote_size, state.base_increment)  # no: QuoteSize for BaseSize


# ---- entries: what buys ----------------------------------------------------------------------------------------------


def sized(case: Case, p: Parameters, product: Product) -> Sizing:
    Sizing(min(case.request.quote_size, p.max_order_notional))
    Sizing(case.request.base_size)  # no: BaseSize for QuoteSize
    Sizing(case.request.size)  # no: QuoteSize | BaseSize for QuoteSize
    product.floor_quote(case.base_size)  # no: BaseSize for QuoteSize
    product.floor_base(case.quote_size)  # no: QuoteSize for BaseSize
    return Sizing(case.request.quote_size * case.request.reference_price)  # no: Decimal for QuoteSize


def exposed(holding: Holding, account: Account, request: Request) -> None:
    ratio_of(account.exposure, account.equity)
    ratio_of(holding.base_size, account.equity)  # no: BaseSize for QuoteSize
    can_be_a_mark(request.reference_price, holding.base_size)
    can_be_a_mark(holding.base_size, holding.base_size)  # no: BaseSize for Price
    account.exposure + holding.base_size  # no: +
    account.free_cash - holding.open_sell_base  # no: -
    assert request.quote_size > holding.base_size  # no: >


def ordered(recommendation: Recommendation, decided: Assessment, now: datetime, body: BodyOf) -> None:
    make_intent(recommendation, decided.adjusted_size, None, Venue.LIVE, now, body)
    make_intent(recommendation, recommendation.reference_price, None, Venue.LIVE, now, body)  # no: Price for QuoteSize
    replace(recommendation, size=Decimal(100))  # no: Decimal for QuoteSize


# ---- names -----------------------------------------------------------------------------------------------------------


async def named(connection: AsyncConnection, order: ExchangeOrder) -> None:
    await read_holding(connection, order.product_id, 3600)
    await read_holding(connection, "BTC-USD", 3600)  # no: str for ProductId
    ids.close_order_id(UUID(int=1), order.order_id)  # no: str for ProductId


# ---- what an operator makes of two units -----------------------------------------------------------------------------


def reckoned(size: BaseSize, price: Price, value: QuoteSize, share: Decimal, fill: ExchangeFill) -> QuoteSize:
    values: list[QuoteSize] = [size * price, price * size, value + size * price, share * value, value * share, -value]
    sizes: list[BaseSize] = [value / price, size - size, size / 2, base_of(value, price), floor_to(size, size)]
    prices: list[Price] = [value / size, price_of(value, size)]
    shares: list[Decimal] = [value / value, size / size, value + share, value]
    values.append(value + share)  # no: Decimal for QuoteSize
    values.append(size * value)  # no: Decimal for QuoteSize
    values.append(fill.price * fill.size)  # no: Decimal for QuoteSize
    sizes.append(floor_to(size, value))  # no: Decimal for BaseSize
    prices.append(base_of(value, price))  # no: BaseSize for Price
    shares.append(base_of(size, price))  # no: BaseSize for QuoteSize
    QuoteSize("100")  # no: str for Decimal
    return max(value, share)  # no: Decimal for QuoteSize
