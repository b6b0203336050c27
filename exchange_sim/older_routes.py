"""The venue's older interface, /v2, as far as clients of the newer one still ask for it: time, currencies, rates, accounts."""

from aiohttp import web

from exchange_sim import account_views
from exchange_sim.exchange import Exchange
from exchange_sim.numbers import plain
from exchange_sim.products import quote_currencies
from exchange_sim.queries import whole
from exchange_sim.times import SECOND_US, iso
from exchange_sim.web import invalid_argument, reply

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
        pagination = {
            "ending_before": None,
            "starting_after": after or None,
            "previous_ending_before": None,
            "next_starting_after": last,
            "limit": limit,
            "order": "desc",
            "previous_uri": None,
            "next_uri": f"{PREFIX}/accounts?limit={limit}&starting_after={last}" if more else None,
        }
        quotes = quote_currencies(self._exchange.market.products())
        data = [account_views.older_account(one, one.currency in quotes) for one in page]
        return reply({"pagination": pagination, "data": data})
