"""Private paths over HTTP: accounts, orders, fills, fees and the key's own permissions."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from aiohttp import web

from exchange_sim import account_views, reasons, views
from exchange_sim.access import API_KEY
from exchange_sim.exchange import Acceptable, Exchange
from exchange_sim.numbers import EXACT, ZERO, floor_to, parse_number, plain
from exchange_sim.order_request import (
    OrderRequest,
    parse_cancel,
    parse_close,
    parse_create,
    parse_edit,
    parse_preview,
)
from exchange_sim.orders import Balance, Fill, Order
from exchange_sim.products import quote_currencies
from exchange_sim.queries import fill_conditions, fill_sorting, order_conditions, order_sorting, whole
from exchange_sim.reasons import Rejection
from exchange_sim.state import Condition, Sorting
from exchange_sim.times import SECOND_US
from exchange_sim.views import Settlement
from exchange_sim.web import HttpError, not_found, reply

_ACCOUNTS_PAGE, _MOST_ACCOUNTS = 49, 250
_ORDERS_PAGE = 1000
_FILLS_PAGE, _MOST_FILLS = 100, 3000
_SUMMARY_US = 30 * 86_400 * SECOND_US
_EVERY_ROW = 2**31


class AccountRoutes:
    def __init__(self, exchange: Exchange, wall_clock: Callable[[], float]) -> None:
        self._exchange = exchange
        self._state = exchange.state
        self._wall_clock = wall_clock
        self._shown_balances: tuple[float, list[Balance]] | None = None

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(f"{prefix}/accounts", self.accounts),
            web.get(f"{prefix}/accounts/{{account_id}}", self.account),
            web.post(f"{prefix}/orders", self.create),
            web.post(f"{prefix}/orders/preview", self.preview),
            web.post(f"{prefix}/orders/batch_cancel", self.cancel),
            web.post(f"{prefix}/orders/edit", self.edit),
            web.post(f"{prefix}/orders/edit_preview", self.edit_preview),
            web.post(f"{prefix}/orders/close_position", self.close_position),
            web.get(f"{prefix}/orders/historical/batch", self.orders),
            web.get(f"{prefix}/orders/historical/fills", self.fills),
            web.get(f"{prefix}/orders/historical/{{order_id}}", self.order),
            web.get(f"{prefix}/transaction_summary", self.transaction_summary),
            web.get(f"{prefix}/key_permissions", self.key_permissions),
            web.get(f"{prefix}/portfolios", self.portfolios),
            web.get(f"{prefix}/portfolios/{{portfolio_id}}", self.portfolio),
            web.get(f"{prefix}/payment_methods", self.payment_methods),
        ]

    async def accounts(self, request: web.Request) -> web.Response:
        limit = whole(request, "limit", _ACCOUNTS_PAGE, 1, _MOST_ACCOUNTS)
        begin = whole(request, "cursor", 0, 0, _EVERY_ROW)
        balances = self._balances()
        page = balances[begin : begin + limit]
        has_next = begin + limit < len(balances)
        return reply(
            {
                "accounts": [account_views.account(one, self._is_fiat(one.currency)) for one in page],
                "has_next": has_next,
                "cursor": str(begin + limit) if has_next else "",
                "size": len(page),
            }
        )

    async def account(self, request: web.Request) -> web.Response:
        for one in self._balances():
            if account_views.account_id(one.currency) == request.match_info["account_id"]:
                return reply({"account": account_views.account(one, self._is_fiat(one.currency))})
        raise not_found("account not found")

    async def create(self, request: web.Request) -> web.Response:
        order = parse_create(await request.read())
        result = self._exchange.create(order)
        if isinstance(result, Rejection):
            return reply(views.rejected(result, order))
        return reply(views.created(result, order))

    async def preview(self, request: web.Request) -> web.Response:
        order = parse_preview(await request.read())
        return reply(_preview(self._exchange, order))

    async def cancel(self, request: web.Request) -> web.Response:
        results = self._exchange.cancel(parse_cancel(await request.read()))
        rows = [
            {"success": reason == reasons.CANCEL_ACCEPTED, "failure_reason": reason, "order_id": order_id}
            for order_id, reason in results
        ]
        return reply({"results": rows})

    async def edit(self, request: web.Request) -> web.Response:
        edit = parse_edit(await request.read())
        price, size = parse_number(edit.price), parse_number(edit.size)
        if price is None or size is None:
            against = [reasons.EDIT_PRICE if price is None else reasons.EDIT_SIZE]
        else:
            against = self._exchange.edit(edit.order_id, price, size)
        return reply({"success": not against, "errors": [views.edit_error(reason) for reason in against]})

    async def edit_preview(self, request: web.Request) -> web.Response:
        edit = parse_edit(await request.read())
        price, size = parse_number(edit.price), parse_number(edit.size)
        if price is None or size is None:
            return reply(views.edit_preview([reasons.EDIT_PRICE if price is None else reasons.EDIT_SIZE], None, None))
        found = self._exchange.check_edit(self._state.order(edit.order_id), price, size)
        if isinstance(found, list):
            return reply(views.edit_preview(found, None, None))
        return reply(views.edit_preview([], found.quote, self._exchange.estimate(found)))

    async def close_position(self, request: web.Request) -> web.Response:
        """Sells what is free of a product at market."""
        close = parse_close(await request.read())
        product = self._exchange.market.product(close.product_id)
        size = close.size
        if not size and product is not None:
            size = plain(floor_to(self._state.balance(product.base).available, product.base_increment))
        order = close.order(size or "0")
        result = self._exchange.create(order)
        return reply(views.rejected(result, order) if isinstance(result, Rejection) else views.created(result, order))

    async def portfolios(self, _: web.Request) -> web.Response:
        return reply({"portfolios": [account_views.portfolio()]})

    async def portfolio(self, request: web.Request) -> web.Response:
        if request.match_info["portfolio_id"] != views.PORTFOLIO_ID:
            raise not_found("portfolio not found")
        quotes = quote_currencies(self._exchange.market.products())
        values = self._exchange.values()
        return reply({"breakdown": account_views.breakdown(self._state.balances(), values, quotes)})

    async def payment_methods(self, _: web.Request) -> web.Response:
        """None: money comes in by the operator's path."""
        return reply({"payment_methods": []})

    async def order(self, request: web.Request) -> web.Response:
        order = self._state.order(request.match_info["order_id"])
        if order is None or self._is_hidden(order):
            # Seen on the venue, whose other answers of this status say NOT_FOUND.
            raise HttpError(404, "unknown", "order with this orderID was not found")
        return reply({"order": self._view(order)})

    async def orders(self, request: web.Request) -> web.Response:
        limit = whole(request, "limit", _ORDERS_PAGE, 1, _ORDERS_PAGE)
        sorting = order_sorting(request)
        pending = self._exchange.habits.pending_seconds
        conditions = order_conditions(request, self._wall_clock() - pending if pending else None)
        if self._exchange.habits.hide_new_seconds:
            conditions.append(Condition("created_wall_seconds <= ?", (self._newest_shown,)))
        found = self._state.orders(conditions, limit + 1, sorting)
        page, has_next = found[:limit], len(found) > limit
        cursor = _cursor(page, sorting) if has_next else ""
        views_ = [self._view(one) for one in page]
        return reply({"orders": views_, "sequence": "0", "has_next": has_next, "cursor": cursor})

    async def fills(self, request: web.Request) -> web.Response:
        limit = whole(request, "limit", _FILLS_PAGE, 1, _MOST_FILLS)
        sorting = fill_sorting(request)
        found = self._state.fills(fill_conditions(request), limit + 1, sorting)
        page = found[:limit]
        cursor = _cursor(page, sorting) if len(found) > limit else ""
        return reply({"fills": [views.fill(one) for one in page], "cursor": cursor})

    async def transaction_summary(self, _: web.Request) -> web.Response:
        volume, fees = self._state.traded_since(self._exchange.now_us - _SUMMARY_US)
        rates = self._exchange.fees
        return reply(
            {
                "total_volume": float(volume),
                "total_fees": float(fees),
                "fee_tier": account_views.fee_tier(rates.taker, rates.maker),
                "advanced_trade_only_volume": float(volume),
                "advanced_trade_only_fees": float(fees),
                "coinbase_pro_volume": 0,
                "coinbase_pro_fees": 0,
                "total_balance": plain(self._cash()),
                "has_promo_fee": False,
            }
        )

    async def key_permissions(self, request: web.Request) -> web.Response:
        key = request[API_KEY]
        return reply(
            {
                "can_view": key.can_view,
                "can_trade": key.can_trade,
                "can_transfer": key.can_transfer,
                "portfolio_uuid": views.PORTFOLIO_ID,
                "portfolio_type": "DEFAULT",
            }
        )

    def _view(self, order: Order) -> views.Json:
        return views.order(order, self._settlement)

    @property
    def _settlement(self) -> Settlement:
        habits = self._exchange.habits
        return Settlement(habits.settle_seconds, self._wall_clock(), habits.pending_seconds)

    @property
    def _newest_shown(self) -> float:
        """What was made after this moment is not shown yet."""
        return self._wall_clock() - self._exchange.habits.hide_new_seconds

    def _is_hidden(self, order: Order) -> bool:
        return order.created_wall_seconds > self._newest_shown

    def _balances(self) -> list[Balance]:
        """As they are, or as they were shown not long ago."""
        now, stale = self._wall_clock(), self._exchange.habits.stale_balance_seconds
        if self._shown_balances is None or now >= self._shown_balances[0] + stale:
            self._shown_balances = now, self._state.balances()
        return self._shown_balances[1]

    def _is_fiat(self, currency: str) -> bool:
        return currency in quote_currencies(self._exchange.market.products())

    def _cash(self) -> Decimal:
        cash = ZERO
        for balance in self._state.balances():
            if self._is_fiat(balance.currency):
                cash = EXACT.add(cash, EXACT.add(balance.available, balance.hold))
        return cash


def _cursor(page: Sequence[Order] | Sequence[Fill], sorting: Sorting | None) -> str:
    """Where the next page begins: behind the last row, or after so many rows where they are sorted otherwise."""
    return str(page[-1].sequence) if sorting is None else str(sorting.skip + len(page))


def _preview(exchange: Exchange, request: OrderRequest) -> views.Json:
    """What the order would do now; every reason against it is in `errs`, with HTTP 200."""
    checked = exchange.check(request)
    body: views.Json = {
        "order_total": "0",
        "commission_total": "0",
        "errs": [] if isinstance(checked, Acceptable) else [reason.preview for reason in checked],
        "warning": [],
        "quote_size": "0",
        "base_size": "0",
        "best_bid": "",
        "best_ask": "",
        "is_max": False,
        "slippage": "0",
        "est_average_filled_price": "0",
        "preview_id": request.own_preview_id,
    }
    if isinstance(checked, Acceptable):
        amounts = exchange.estimate(checked)
        buying = checked.terms.side == "BUY"
        total = EXACT.add(amounts.value, amounts.fee) if buying else EXACT.subtract(amounts.value, amounts.fee)
        body |= {
            "order_total": plain(total),
            "commission_total": plain(amounts.fee),
            "quote_size": plain(amounts.value),
            "base_size": plain(amounts.size),
            "best_bid": plain(checked.quote.bid),
            "best_ask": plain(checked.quote.ask),
            "est_average_filled_price": plain(views.average_price(amounts)),
        }
    return body
