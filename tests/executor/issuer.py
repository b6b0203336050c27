"""Stands in for bridge, risk engine and orchestrator: reservations in the database, signed tickets, and requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, insert, select, text

from exchange_client import ExchangeConfig, ExchangeOrder
from exchange_client.coinbase.client import CoinbaseClient
from meshkit import lifecycle
from meshkit.kit import Kit
from schema.execution import fills, ledger_entries, orders, positions
from schema.risk import risk_assessments, risk_reservations
from svc_executor.availability import Availability
from svc_executor.exchange_clock import ExchangeClock
from svc_executor.fees import FeeKeeper
from svc_executor.intake import ExchangeFacts, Intake
from svc_executor.product_rules import ProductRules
from svc_executor.service import build
from svc_executor.settings import ExecutorSettings
from svc_executor.trading_switch import TradingSwitch
from tests.executor.venue import Simulator
from tests.support.stored import store_recommendation
from tradekit import ids
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.services import database_role
from tradekit.states import LifeClock, Origin, Profile, Side
from tradekit.wire import decimal_message, recommendation_message
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc

AS_OF = datetime(2025, 1, 1, tzinfo=UTC)
PRODUCTS = "BTC-USD,ETH-USD,DOGE-USD"


def public_key_file(key: Ed25519PrivateKey, folder: Path) -> Path:
    file = folder / "ticket_public.pem"
    file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return file


def recommend(side: Side, size: str, product_id: str = "BTC-USD", life_seconds: float = 120) -> Recommendation:
    return Recommendation(
        recommendation_id=uuid4(),
        product_id=product_id,
        side=side,
        size=Decimal(size),
        reference_price=Decimal(45000),
        as_of=AS_OF,
        expire_time=datetime.now(UTC) + timedelta(seconds=life_seconds),
        life_clock=LifeClock.MACHINE,
        origin=Origin.OPERATOR,
        profile=Profile.EXERCISE,
        priority=1.0,
    )


@dataclass
class Issuer:
    """Approves recommendations the way the risk engine would."""

    database: Any
    key: Ed25519PrivateKey
    known: dict[UUID, UUID] = field(default_factory=dict)

    async def reserve(self, item: Recommendation, life_seconds: float = 60) -> UUID:
        """A HELD reservation for a recommendation."""
        attempt = len(self.known) + 1
        reservation_id = ids.assessment_id(item.recommendation_id, attempt)
        async with self.database.engine.begin() as connection:
            await connection.execute(
                insert(risk_assessments).values(
                    assessment_id=reservation_id,
                    recommendation_id=item.recommendation_id,
                    attempt=attempt,
                    request_hash="-",
                    product_id=item.product_id,
                    side=item.side.value,
                    decision="APPROVE",
                    requested_size=item.size,
                    adjusted_size=item.size,
                    score=0.1,
                    parts={},
                    sigma_14d=0.5,
                    heat_before=0.0,
                    heat_after=0.0,
                    exposure_before=0,
                    exposure_after=0,
                    equity=0,
                    reasons=[],
                    snapshot={},
                    limits_version="-",
                    as_of=item.as_of,
                )
            )
            await connection.execute(
                insert(risk_reservations).values(
                    reservation_id=reservation_id,
                    recommendation_id=item.recommendation_id,
                    product_id=item.product_id,
                    side=item.side.value,
                    quote_amount=0,
                    fee_amount=0,
                    base_amount=0,
                    heat=0.0,
                    expires_at=func.now() + text(f"interval '{life_seconds} seconds'"),
                    as_of=item.as_of,
                )
            )
        self.known[item.recommendation_id] = reservation_id
        return reservation_id

    def ticket(self, item: Recommendation, **changes: Any) -> str:
        claims = {
            "iss": "risk",
            "aud": "executor",
            "sub": str(item.recommendation_id),
            "jti": str(self.known.get(item.recommendation_id, uuid4())),
            "terms": terms_hash(item),
            "product": item.product_id,
            "side": item.side.value,
            "max_size": str(item.size),
            "exp": int(datetime.now(UTC).timestamp()) + 60,
            **changes,
        }
        return jwt.encode(claims, self.key, algorithm="EdDSA")

    async def request(
        self, item: Recommendation, size: str | None = None, **claims: Any
    ) -> pb.ExecuteRecommendationRequest:
        """A good request for a recommendation, its ticket's claims changed as told."""
        await store_recommendation(self.database.engine, item)
        if item.recommendation_id not in self.known:
            await self.reserve(item)
        return pb.ExecuteRecommendationRequest(
            request_id=str(uuid4()),
            recommendation=recommendation_message(item),
            size=decimal_message(Decimal(size) if size else item.size),
            ticket=self.ticket(item, **claims),
        )


def environment(database: Any, simulator: Simulator, host: str, ticket_file: Path, **changes: str) -> dict[str, str]:
    """Environment of an executor process; its field names in lower case are the settings' arguments."""
    return {
        **database.env,
        "DB_USER": database_role("executor"),
        "EXECUTOR_PORT": "0",
        "PRODUCTS": PRODUCTS,
        "VENUE": "SIMULATED",
        "DECISION_PROFILE": "EXERCISE",
        "EXCHANGE_HOST": host,
        "EXCHANGE_CA_FILE": str(simulator.ca_file),
        "EXCHANGE_KEY_FILE": str(simulator.key_file),
        "EXCHANGE_RATE_PER_SECOND": "10000",
        "EXCHANGE_READ_SECONDS": "0.5",
        "EXCHANGE_TOTAL_SECONDS": "0.5",
        "EXCHANGE_TOKEN_SECONDS": "10",
        "ABSENCE_SECONDS": "10.5",
        "RECONCILE_SECONDS": "0.3",
        "DRAIN_SECONDS": "0.5",
        # Most tests' exchange is a proxy, which passes no WebSocket on.
        "FEEDS": "false",
        # All tests trade on one account: what rests there for one would be in the way of the next.
        "PROTECTIVE_EXITS": "OFF",
        "TICKET_PUBLIC_KEY_FILE": str(ticket_file),
        **changes,
    }


@dataclass
class Running:
    """A running executor and a client of it."""

    stub: Any
    port: int

    async def execute(self, request: pb.ExecuteRecommendationRequest, timeout: float = 15) -> pb.Order:
        response = await self.stub.ExecuteRecommendation(request, timeout=timeout)
        order: pb.Order = response.order
        return order

    async def until(self, order_id: str, *states: int, seconds: float = 120) -> pb.Order:
        """The order once it is in one of the states."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    order: pb.Order = (await self.stub.GetOrder(pb.GetOrderRequest(order_id=order_id), timeout=5)).order
                except grpc.aio.AioRpcError as error:
                    # A busy machine answers late: only the order's state ends this.
                    if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise
                    continue
                if order.state in states:
                    return order
                await asyncio.sleep(0.05)

    async def reconcile(self) -> pb.ReconcileResponse:
        response: pb.ReconcileResponse = await self.stub.Reconcile(
            pb.ReconcileRequest(request_id=str(uuid4())), timeout=30
        )
        return response


def settings_of(environ: dict[str, str]) -> ExecutorSettings:
    """The settings of an executor with this environment."""
    given = {name.lower(): value for name, value in environ.items()}
    given["port"] = given.pop("executor_port")
    return ExecutorSettings(**given)  # type: ignore[arg-type]


class NobodyWorks:
    """A process that takes no order to work; or all of them, and dies before it sends any."""

    def __init__(self, takes: bool) -> None:
        self.busy: set[UUID] = set()
        self._takes = takes

    @contextlib.asynccontextmanager
    async def claims(self, order_ids: Any) -> AsyncIterator[dict[UUID, contextlib.AsyncExitStack]]:
        yield {order_id: contextlib.AsyncExitStack() for order_id in order_ids} if self._takes else {}


class NothingProtected:
    """Positions without protection: there is nothing to make room for."""

    @contextlib.asynccontextmanager
    async def released(self, product_id: str, by: UUID) -> AsyncIterator[bool]:
        yield True


def _never_sent(*_: Any) -> Any:
    return None


@contextlib.asynccontextmanager
async def intake_alone(
    environ: dict[str, str], issuer: Issuer, exchange: CoinbaseClient, *, counts: bool = False
) -> AsyncIterator[Intake]:
    """What writes intents, without whatever sends them. Where none is taken to work at once, no first send is counted."""
    settings = settings_of(environ)
    kit = Kit(settings)
    facts = ExchangeFacts(
        ProductRules(exchange, kit.log),
        Availability(exchange, kit.log),
        ExchangeClock(exchange, kit.log),
        FeeKeeper(kit.engine, exchange, None, kit.clock, kit.log),
    )
    try:
        switch = TradingSwitch(kit, None)
        yield Intake(
            settings,
            kit.dedicated(),
            issuer.key.public_key(),
            exchange,
            facts,
            switch,
            NobodyWorks(counts),
            _never_sent,
            NothingProtected(),
        )
    finally:
        await kit.close()


@contextlib.asynccontextmanager
async def running(environ: dict[str, str]) -> AsyncIterator[Running]:
    """An executor in this process, on a free port."""
    service = await lifecycle.create(settings_of(environ), build)
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(lambda _: started.set_result(None)))
    try:
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
            yield Running(pb_grpc.ExecutorServiceStub(channel), service.port)
    finally:
        service.stop()
        service.stop()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 60)


async def at_exchange(simulator: Simulator, order_id: str) -> list[ExchangeOrder]:
    """The exchange's orders with this client id, asked past every proxy."""
    config = ExchangeConfig(
        simulator.host, simulator.ca_file, simulator.key_file, private_per_second=1e4, public_per_second=1e4
    )
    async with CoinbaseClient(config) as client:
        listed = await client.orders(AS_OF - timedelta(days=30))
    return [order for order in listed if order.client_order_id == order_id]


async def assert_ledger_holds(database: Any) -> None:
    """What must be true of the ledger at any moment, whatever happened."""
    async with database.engine.connect() as connection:
        sums = await connection.execute(
            select(ledger_entries.c.transaction_id, func.sum(ledger_entries.c.amount)).group_by(
                ledger_entries.c.transaction_id, ledger_entries.c.currency
            )
        )
        assert all(total == 0 for _, total in sums)
        for row in await connection.execute(select(orders)):
            total = select(func.coalesce(func.sum(fills.c.size), 0)).where(fills.c.order_id == row.order_id)
            assert (await connection.execute(total)).scalar_one() == row.filled_size
        for row in await connection.execute(select(positions)):
            assert row.base_size >= 0
            assert row.cost >= 0
            held = select(func.sum(ledger_entries.c.amount)).where(
                ledger_entries.c.account == "exchange", ledger_entries.c.currency == row.product_id.split("-")[0]
            )
            assert (await connection.execute(held)).scalar_one() == row.base_size
