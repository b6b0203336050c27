"""The venue's older interface, /v2, as far as clients of the newer one still ask for it: time, currencies, rates, accounts and
what moved them."""

from aiohttp import web

from exchange_sim import account_views
from exchange_sim.exchange import Exchange
from exchange_sim.numbers import plain
from exchange_sim.products import quote_currencies
from exchange_sim.queries import whole
from exchange_sim.state import Condition
from exchange_sim.times import SECOND_US, iso
from exchange_sim.views import Json
from exchange_sim.web import invalid_argument, not_found, reply

PREFIX = "/v2"
OPEN_PATHS = tuple(f"{PREFIX}/{name}" for name in ("time", "currencies", "currencies/crypto", "exchange-rates"))
_PAGE, _MOST = 25, 300


class OlderRoutes:
    """Everything here is `{"data": ...}`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        time, currencies, crypto, rates = OPEN_PATHS
        return [
            web.get(time, self.time),
            web.get(currencies, self.currencies),
            web.get(crypto, self.crypto),
            web.get(rates, self.rates),
            web.get(f"{PREFIX}/accounts", self.accounts),
            web.get(f"{PREFIX}/accounts/{{account_id}}/transactions", self.transactions),
            web.get(f"{PREFIX}/accounts/{{account_id}}/deposits", self.none_made),
            web.get(f"{PREFIX}/accounts/{{account_id}}/withdrawals", self.none_made),
        ]

    async def time(self, _: web.Request) -> web.Response:
        """The same clock as the newer interface's."""
        now_us = self._exchange.told_us
        return reply({"data": {"iso": iso(now_us), "epoch": now_us // SECOND_US}})

    async def currencies(self, _: web.Request) -> web.Response:
        """Money."""
        return reply(
            {"data": [account_views.money(currency) for currency in quote_currencies(self._exchange.market.products())]}
        )

    async def crypto(self, _: web.Request) -> web.Response:
        """Coins."""
        coins = {product.base: product for product in self._exchange.market.products()}
        return reply(
            {"data": [account_views.coin(product, place) for place, product in enumerate(coins.values(), 100)]}
        )

    async def rates(self, request: web.Request) -> web.Response:
        """How much of each currency one unit of `currency` buys at the last price."""
        wanted = request.query.get("currency", "USD")
        values = self._exchange.values()
        if wanted not in values:
            raise invalid_argument(f"Currency is invalid: {wanted}")
        rates = {currency: plain(values[wanted] / value) for currency, value in values.items()}
        return reply({"data": {"currency": wanted, "rates": rates}})

    async def accounts(self, request: web.Request) -> web.Response:
        """Balances, in pages that begin after the account named by `starting_after`."""
        limit = whole(request, "limit", _PAGE, 1, _MOST)
        balances = self._exchange.state.balances()
        after = request.query.get("starting_after", "")
        ids = [account_views.account_id(one.currency) for one in balances]
        if after and after not in ids:
            raise invalid_argument("starting_after names no account")
        begin = ids.index(after) + 1 if after else 0
        page = balances[begin : begin + limit]
        more = begin + limit < len(balances)
        last = account_views.account_id(page[-1].currency) if more else None
        pagination = _pagination(request.path, limit, after, last)
        quotes = quote_currencies(self._exchange.market.products())
        data = [account_views.older_account(one, one.currency in quotes) for one in page]
        return reply({"pagination": pagination, "data": data})

    async def transactions(self, request: web.Request) -> web.Response:
        """One side of each fill, newest first: coins in their account, money in the other."""
        currency = self._currency(request)
        limit = whole(request, "limit", _PAGE, 1, _MOST)
        conditions = [Condition("(product_id LIKE ? OR product_id LIKE ?)", (f"{currency}-%", f"%-{currency}"))]
        after = request.query.get("starting_after", "")
        if after:
            named = self._exchange.state.fills([*conditions, Condition("entry_id = ?", (after,))], 1)
            if not named:
                raise invalid_argument("starting_after names no transaction of this account")
            conditions.append(Condition("sequence < ?", (named[0].sequence,)))
        found = self._exchange.state.fills(conditions, limit + 1)
        data = [account_views.transaction(fill, currency) for fill in found[:limit]]
        last = str(data[-1]["id"]) if len(found) > limit else None
        return reply({"pagination": _pagination(request.path, limit, after, last), "data": data})

    async def none_made(self, request: web.Request) -> web.Response:
        """What was put in or taken out since the account was opened, which nobody can do here."""
        self._currency(request)
        limit = whole(request, "limit", _PAGE, 1, _MOST)
        return reply({"pagination": _pagination(request.path, limit, "", None), "data": []})

    def _currency(self, request: web.Request) -> str:
        """Of the account in the path, which is named by its id or by its currency."""
        wanted = request.match_info["account_id"]
        for balance in self._exchange.state.balances():
            if wanted in (balance.currency, account_views.account_id(balance.currency)):
                return balance.currency
        raise not_found("account not found")


def _pagination(path: str, limit: int, after: str, last: str | None) -> Json:
    """`last` is the id that the next page begins after; None where there is none."""
    return {
        "ending_before": None,
        "starting_after": after or None,
        "previous_ending_before": None,
        "next_starting_after": last,
        "limit": limit,
        "order": "desc",
        "previous_uri": None,
        "next_uri": f"{path}?limit={limit}&starting_after={last}" if last else None,
    }
