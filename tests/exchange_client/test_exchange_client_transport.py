"""The client over real TLS sockets: certificates, tokens, retries, pages, and what a broken connection proves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from forwarder import forwarding

from exchange_client import (
    Accepted,
    ExchangeConfig,
    ExchangeRefused,
    ExchangeUnavailable,
    NotSent,
    OrderTerms,
    Unknown,
)
from exchange_client.coinbase.client import PREFIX, CoinbaseClient
from exchange_client.coinbase.settings import LIVE_HOST, SANDBOX_HOST
from exchange_client.coinbase.transport import Reply, Transport
from exchange_client.throttle import Throttle
from exchange_sim.tls import ensure_tls, server_context
from meshkit.errors import Misconfigured
from tests.exchange_client.exchange_rows import FILL, ORDER
from tradekit.states import Side
from tradekit.units import ProductId, QuoteSize

ACCEPTED = {"success": True, "success_response": {"order_id": "x-1", "client_order_id": "c-1"}}
Handler = Callable[[web.Request], Any]


@dataclass
class Venue:
    """A TLS server whose answers are the test's; it keeps every request's method, path, query and token."""

    ca_file: Path
    key_file: Path
    private_key: EllipticCurvePrivateKey
    port: int = 0
    answers: list[Any] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self, **changes: Any) -> CoinbaseClient:
        values = {"ca_file": self.ca_file, "key_file": self.key_file, "private_per_second": 1e4, **changes}
        return CoinbaseClient(ExchangeConfig(self.host, public_per_second=1e4, read_seconds=0.5, **values))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.json_response(answer) if isinstance(answer, dict) else web.Response(status=answer, text="no")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Venue]:
    tls = ensure_tls(folder / "tls")
    key = generate_private_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    key_file = folder / "key.json"
    key_file.write_text(json.dumps({"name": "organizations/o/apiKeys/k", "privateKey": pem}))
    venue = Venue(tls.ca, key_file, key)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(tls)).start()
    venue.port = runner.addresses[0][1]
    try:
        yield venue
    finally:
        await runner.cleanup()


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with serving(tmp_path) as running:
        yield running


def claims_of(venue: Venue, request: web.Request) -> dict[str, Any]:
    token = request.headers["Authorization"].removeprefix("Bearer ")
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"], header["typ"]) == ("ES256", "organizations/o/apiKeys/k", "JWT")
    claims = jwt.decode(token, venue.private_key.public_key(), algorithms=["ES256"])
    return {**claims, "nonce": header["nonce"]}


async def test_every_request_has_its_own_token_and_no_query_in_it(venue: Venue) -> None:
    page = {"accounts": [], "has_next": True, "cursor": "2"}
    venue.answers = [page, {"accounts": [], "has_next": False, "cursor": "3"}]
    async with venue.client() as client:
        assert await client.accounts() == ()
    found = [claims_of(venue, request) for request in venue.requests]
    assert len({claims["nonce"] for claims in found}) == 2
    for claims in found:
        assert claims["uri"] == f"GET {venue.host}/api/v3/brokerage/accounts"
        assert (claims["iss"], claims["sub"]) == ("cdp", "organizations/o/apiKeys/k")
        assert claims["exp"] - claims["nbf"] == 120
        assert abs(claims["nbf"] - time.time()) < 5
    assert venue.requests[1].query["cursor"] == "2"


async def test_public_requests_are_unsigned_and_ask_for_fresh_data(venue: Venue) -> None:
    venue.answers = [{"iso": "2025-01-01T00:00:00Z", "epochSeconds": "1735689600"}]
    async with venue.client(key_file=None) as client:
        assert await client.market_time() == datetime(2025, 1, 1, tzinfo=UTC)
        with pytest.raises(Misconfigured, match="EXCHANGE_KEY_FILE"):
            await client.accounts()
    assert "Authorization" not in venue.requests[0].headers
    assert venue.requests[0].headers["Cache-Control"] == "no-cache"


async def test_a_certificate_of_somebody_else_is_not_spoken_to(venue: Venue) -> None:
    venue.answers = [ACCEPTED]
    async with venue.client(ca_file=None) as client:
        assert isinstance(await client.create_order(b"{}"), NotSent)
    assert venue.requests == []


async def test_reads_are_retried_and_orders_never(venue: Venue) -> None:
    time_reply = {"iso": "2025-01-01T00:00:00Z"}
    async with venue.client() as client:
        venue.answers = [503, 429, lambda r: _drop(r), time_reply]
        assert await client.market_time()
        assert len(venue.requests) == 4
        venue.requests.clear()
        venue.answers = [502]
        with pytest.raises(ExchangeUnavailable):
            await client.market_time()
        assert len(venue.requests) == 4
        for answer, kind in (
            (500, Unknown),
            (429, Unknown),
            (_throttled, NotSent),
            (lambda r: _drop(r), Unknown),
            (_hang, Unknown),
        ):
            venue.requests.clear()
            venue.answers = [answer]
            assert isinstance(await client.create_order(b"{}"), kind)
            assert len(venue.requests) == 1
        venue.answers = [404]
        assert await client.order("x") is None
        venue.answers = [403]
        with pytest.raises(ExchangeRefused):
            await client.accounts()


async def test_a_401_is_answered_once_with_a_fresh_token_and_the_same_bytes(venue: Venue) -> None:
    async with venue.client() as client:
        venue.answers = [401, ACCEPTED]
        assert await client.create_order(b'{"a":1}') == Accepted("x-1", "c-1")
        assert len({claims_of(venue, request)["nonce"] for request in venue.requests}) == 2
        assert [await request.read() for request in venue.requests] == [b'{"a":1}'] * 2
        venue.requests.clear()
        venue.answers = [401]
        # Words that nobody documents: a middlebox could say them after the exchange has accepted.
        assert isinstance(await client.create_order(b"{}"), Unknown)
        assert len(venue.requests) == 2
        venue.answers = [401, 500]
        assert isinstance(await client.create_order(b"{}"), Unknown)


async def test_no_redirect_is_followed_with_an_order(venue: Venue) -> None:
    venue.answers = [web.Response(status=307, headers={"Location": "/elsewhere"})]
    async with venue.client() as client:
        assert isinstance(await client.create_order(b"{}"), Unknown)
    assert len(venue.requests) == 1


async def test_nobody_listening_means_unsent(venue: Venue) -> None:
    venue.port = 1
    async with venue.client() as client:
        outcome = await client.create_order(b"{}")
    assert isinstance(outcome, NotSent)
    assert not outcome.permanent


async def test_candles_are_cut_to_the_page_oldest_first_each_once(venue: Venue) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    first = int(start.timestamp())

    def bucket(hour: int) -> dict[str, str]:
        return {
            "start": str(first + hour * 3600),
            "open": "1",
            "high": "2",
            "low": "1",
            "close": "1.000000000000000001",
            "volume": "",
        }

    venue.answers = [{"candles": [bucket(3), bucket(2), bucket(2), bucket(0), bucket(-1)]}]
    async with venue.client() as client:
        found = await client.candles("BTC-USD", 3600, start, start + timedelta(hours=3))
        assert [candle.start - start for candle in found] == [timedelta(0), timedelta(hours=2)]
        assert str(found[0].close) == "1.000000000000000001"
        assert found[0].volume.is_nan()
        with pytest.raises(ValueError, match="end before"):
            await client.candles("BTC-USD", 3600, start, start - timedelta(hours=1))
    assert venue.requests[0].query["granularity"] == "ONE_HOUR"


async def test_a_period_longer_than_a_page_is_several_requests(venue: Venue) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)

    async def all_buckets(request: web.Request) -> web.StreamResponse:
        begin, end = int(request.query["start"]), int(request.query["end"])
        assert (end - begin) // 3600 < 300
        prices = dict.fromkeys(("open", "high", "low", "close", "volume"), "1")
        return web.json_response({"candles": [{"start": str(one), **prices} for one in range(begin, end + 1, 3600)]})

    venue.answers = [all_buckets]
    async with venue.client() as client:
        found = await client.candles("BTC-USD", 3600, start, start + timedelta(hours=601))
    assert [candle.start for candle in found] == [start + timedelta(hours=hour) for hour in range(601)]
    assert len(venue.requests) == 3


@pytest.mark.parametrize(
    "answers",
    [
        [{"fills": [FILL], "cursor": "same"}],
        [{"fills": [], "cursor": str(number)} for number in range(9)],
        [{"fills": [FILL]}],
        [{"fills": [FILL], "cursor": None}],
        [{"fills": [FILL], "cursor": "", "has_next": True}],
        [{"fills": [{**FILL, "commission": None}], "cursor": ""}],
        [{"cursor": ""}],
    ],
)
async def test_a_list_that_may_lack_something_is_no_list(venue: Venue, answers: list[Any]) -> None:
    venue.answers = answers
    async with venue.client() as client:
        with pytest.raises(ExchangeUnavailable):
            await client.fills(["x"])
    assert venue.requests[0].query.getall("order_ids") == ["x"]


@pytest.mark.parametrize(
    "page", [{}, {"cursor": ""}, {"cursor": "", "has_next": True}, {"cursor": "", "has_next": None}]
)
async def test_a_list_of_orders_says_itself_that_it_ends(venue: Venue, page: dict[str, Any]) -> None:
    venue.answers = [{"orders": [], **page}]
    async with venue.client() as client:
        with pytest.raises(ExchangeUnavailable):
            await client.orders(None)
        venue.answers = [{"orders": [], "has_next": False}]
        assert await client.orders(None) == ()


async def test_orders_by_id_are_those_named_and_no_others(venue: Venue) -> None:
    wanted = [f"o{number}" for number in range(51)]
    shown = [{**ORDER, "order_id": name} for name in ("o1", "o50", "another's")]
    venue.answers = [{"orders": [one], "has_next": False} for one in shown[:2]]
    async with venue.client() as client:
        assert [order.order_id for order in await client.orders_by_id(wanted)] == ["o1", "o50"]
        assert [len(request.query.getall("order_ids")) for request in venue.requests] == [50, 1]
        venue.answers = [{"orders": shown, "has_next": False}]
        assert [order.order_id for order in await client.orders_by_id(["o1"])] == ["o1"]
        venue.answers = [{"orders": shown}]
        with pytest.raises(ExchangeUnavailable):
            await client.orders_by_id(["o1"])


async def test_a_row_on_two_pages_counts_once(venue: Venue) -> None:
    first = {"fills": [FILL, FILL], "cursor": "2"}
    venue.answers = [first, {"fills": [], "cursor": "3"}, {"fills": [FILL], "cursor": ""}]
    async with venue.client() as client:
        assert [fill.entry_id for fill in await client.fills(["x"])] == ["e"]
    assert len(venue.requests) == 3
    wallet = {"uuid": "u", "currency": "USD", "available_balance": {"value": "5"}, "hold": {"value": "1"}}
    venue.answers = [{"accounts": [wallet], "has_next": True, "cursor": "2"}, {"accounts": [wallet], "has_next": False}]
    async with venue.client() as client:
        assert [account.total for account in await client.accounts()] == [6]


async def test_the_permit_is_asked_when_the_connection_stands_and_again_after_a_401(venue: Venue) -> None:
    """It is withdrawn while a request waits for its connection, and while one is answered with 401."""
    async with venue.client() as client:
        venue.answers = [ACCEPTED]
        asked: list[int] = []

        def permit(*answers: bool) -> Callable[[], bool]:
            left = list(answers)

            def ask() -> bool:
                asked.append(len(venue.requests))
                return left.pop(0)

            return ask

        outcome = await client.create_order(b"{}", permit=permit(False))
        assert isinstance(outcome, NotSent)
        assert not outcome.permanent
        assert asked == [0]
        assert await client.create_order(b"{}", permit=permit(True)) == Accepted("x-1", "c-1")
        venue.requests.clear()
        venue.answers = [401, ACCEPTED]
        # The first request left: what became of it is not known by the second not being sent.
        assert isinstance(await client.create_order(b"{}", permit=permit(True, False)), Unknown)
        assert len(venue.requests) == 1
        venue.answers = [ACCEPTED]
        assert await client.create_order(b"{}", permit=permit(True)) == Accepted("x-1", "c-1")


async def test_nothing_of_a_request_without_a_permit_reaches_a_listener(venue: Venue) -> None:
    """By the bytes on the wire below TLS: a handshake, and no request."""
    venue.answers = [ACCEPTED]
    body = b"{" + b" " * 20_000 + b"}"
    async with forwarding(venue.port) as wire:
        config = ExchangeConfig(f"127.0.0.1:{wire.port}", venue.ca_file, venue.key_file)
        async with CoinbaseClient(config) as client:
            assert isinstance(await client.create_order(body, permit=lambda: False), NotSent)
            without = wire.carried
            assert await client.create_order(body) == Accepted("x-1", "c-1")
    assert 0 < without < 10_000 < wire.carried
    assert len(venue.requests) == 1


async def test_a_connection_that_is_not_made_in_time_has_carried_nothing(venue: Venue) -> None:
    """Somebody accepts and never greets; the limit of the whole request ends it before its body was due."""
    server = await asyncio.start_server(lambda reader, writer: asyncio.sleep(30), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = ExchangeConfig(f"127.0.0.1:{port}", venue.ca_file, venue.key_file, total_seconds=0.3)
    async with CoinbaseClient(config) as client:
        assert isinstance(await client.create_order(b"{}"), NotSent)
    server.close()


async def test_no_token_of_a_send_outlives_its_decision_by_more_than_a_life(venue: Venue) -> None:
    venue.answers = [401, ACCEPTED]
    now = [1_000_000.0]

    def wall_seconds() -> float:
        now[0] += 7
        return now[0]

    config = ExchangeConfig(venue.host, venue.ca_file, venue.key_file, token_seconds=30)
    async with CoinbaseClient(config, wall_seconds=wall_seconds) as client:
        born = client.wall_seconds()
        assert await client.create_order(b"{}", born=born) == Accepted("x-1", "c-1")
        claims = [unverified(request) for request in venue.requests]
        assert [one["exp"] for one in claims] == [int(born) + 30] * 2
        assert claims[0]["nbf"] < claims[1]["nbf"]
        venue.requests.clear()
        assert isinstance(await client.create_order(b"{}", born=born - 30), NotSent)
        # A clock that was set back since gives no longer life than one from now on.
        assert await client.create_order(b"{}", born=now[0] + 3600) == Accepted("x-1", "c-1")
        (claim,) = (unverified(request) for request in venue.requests)
        assert claim["exp"] - claim["nbf"] == 30


def unverified(request: web.Request) -> dict[str, Any]:
    token = request.headers["Authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def _throttled(_: web.Request) -> web.Response:
    body = {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
    return web.json_response(body, status=429)


async def _drop(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _hang(_: web.Request) -> web.Response:
    await asyncio.sleep(5)
    return web.Response()


async def test_the_throttle_lets_a_burst_pass_and_then_spaces_requests() -> None:
    throttle = Throttle(50)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(throttle.take() for _ in range(60)))
    assert loop.time() - began >= 9 / 50


async def test_a_preview_is_the_order_without_its_id_and_is_asked_for_once(venue: Venue) -> None:
    venue.answers = [{"errs": ["PREVIEW_INSUFFICIENT_FUND"]}, 503, 403]
    terms = OrderTerms(UUID(int=7), ProductId("BTC-USD"), Side.BUY, QuoteSize(Decimal("100.00")))
    async with venue.client() as client:
        assert (await client.preview_order(terms)).errors == ("PREVIEW_INSUFFICIENT_FUND",)
        with pytest.raises(ExchangeUnavailable):
            await client.preview_order(terms)
        with pytest.raises(ExchangeRefused):
            await client.preview_order(terms)
    assert [(one.method, one.path) for one in venue.requests] == [("POST", "/api/v3/brokerage/orders/preview")] * 3
    body = json.loads(await venue.requests[0].read())
    assert body == {
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": {"market_market_ioc": {"quote_size": "100"}},
    }


async def test_of_the_sandbox_only_accounts_and_orders_are_asked(monkeypatch: pytest.MonkeyPatch, venue: Venue) -> None:
    asked: list[tuple[str, str, bool]] = []

    async def request(self: Transport, method: str, path: str, *_: Any) -> Reply:
        asked.append((self._config.host, path.removeprefix(PREFIX), self._signer is not None))
        body = b'{"iso": "2026-01-01T00:00:00Z", "products": [], "accounts": [], "has_next": false}'
        return Reply(200, body, "application/json")

    monkeypatch.setattr(Transport, "_request", request)
    sandbox = ExchangeConfig(str(SANDBOX_HOST), key_file=venue.key_file)
    async with CoinbaseClient(sandbox) as client:
        await client.market_time()
        await client.products(["BTC-USD"])
        await client.accounts()
    live, canned = str(LIVE_HOST), str(SANDBOX_HOST)
    assert asked == [(live, "/time", False), (live, "/market/products", False), (canned, "/accounts", True)]
