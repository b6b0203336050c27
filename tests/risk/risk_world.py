"""A world for the service's tests: a database with a market and account_state, and the risk engine running on a real port."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from meshkit.errors import MeshError, from_rpc_error
from meshkit.lifecycle import create
from schema.execution import fills, ledger_entries, positions, reconciliations
from schema.market import crypto_prices, products
from schema.recommendations import llm_validation, trade_recommendations
from schema.risk import accounts, risk_assessments, risk_reservations
from schema.streams import advance_watermark
from svc_risk.service import build
from svc_risk.settings import RiskSettings
from tests.support.stored import store_order, store_recommendation
from tradekit import wire
from tradekit.ids import new_request_id
from tradekit.recommendation import Evidence, Recommendation, terms_hash
from tradekit.states import LifeClock, Origin, Profile, Side
from trading.risk.v1 import risk_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2_grpc as pb_grpc

D = Decimal
AS_OF = datetime.fromisoformat("2025-06-15T15:00:00+00:00")
HOUR = timedelta(hours=1)
FAR = datetime.fromisoformat("2099-01-01T00:00:00+00:00")
PRICES = {"BTC-USD": 100000.0, "ETH-USD": 2500.0, "SOL-USD": 150.0}
# Hourly returns of plus and minus this much: an annualised volatility of 0.50.
STEP = 0.50 / math.sqrt(8760)
# 400 hourly bars that end at as_of at the product's price, one hour up, one hour down.
_HISTORY = text("""
    INSERT INTO crypto_prices (product_id, granularity, start, open, high, low, close, volume, source, sequence)
    SELECT :product, 3600, CAST(:as_of AS timestamptz) - make_interval(hours => back + 1), close, close, close, close,
           100000000 / close, 'test', head + back + 1
    FROM (
      SELECT back, round(CAST(CAST(:price AS float8) * exp(back % 2 * CAST(:step AS float8)) AS numeric), 8) AS close
      FROM generate_series(0, 399) AS back
    ) AS bars, (SELECT coalesce(max(sequence), 0) AS head FROM crypto_prices) AS newest
""")


@dataclass
class World:
    """The database and the service's clients."""

    engine: AsyncEngine
    stub: Any
    key: Ed25519PublicKey
    channel: grpc.aio.Channel
    service: Any
    sequence: int = field(default=10_000)

    def recommendation(
        self, side: Side = Side.BUY, size: str = "100", product: str = "ETH-USD", **changes: Any
    ) -> Recommendation:
        made = Recommendation(
            recommendation_id=uuid4(),
            product_id=product,
            side=side,
            size=D(size),
            reference_price=D(str(PRICES.get(product, 1.0))),
            as_of=AS_OF,
            expire_time=FAR,
            life_clock=LifeClock.MACHINE,
            origin=Origin.SIGNAL,
            profile=Profile.EXERCISE,
            priority=0.5,
            evidence=Evidence(uuid4(), 0.81, 0.1, 0.1, 0.8, 0.7, 0.01, 0.02, "m1", "f" * 64),
        )
        return replace(made, **changes)

    async def propose(
        self, recommendation: Recommendation, state: str = "IN_REVIEW", reviewed: bool = True
    ) -> Recommendation:
        """Stores a recommendation as the bridge does, and its approval as the validator does, unless it is stored."""
        found = recommendation.recommendation_id
        async with self.engine.connect() as connection:
            known = select(trade_recommendations.c.state).where(trade_recommendations.c.recommendation_id == found)
            if (await connection.execute(known)).scalar_one_or_none() is not None:
                return recommendation
        await store_recommendation(self.engine, recommendation, state=state)
        async with self.engine.begin() as connection:
            if recommendation.side is Side.BUY and reviewed:
                values = {"validation_id": uuid4(), "recommendation_id": found, "product_id": recommendation.product_id}
                values |= {"reviewer": "rules", "outcome": "APPROVE", "enforced": "APPROVE", "mode": "VETO"}
                values |= {
                    "reasons": [],
                    "request_hash": terms_hash(recommendation),
                    "inputs": {},
                    "options": {},
                    "latency_ms": 0.0,
                    "timings": {},
                }
                await connection.execute(insert(llm_validation).values(**values))
        return recommendation

    async def ask(
        self, recommendation: Recommendation, request_id: UUID | None = None, stored: bool = True
    ) -> pb.Assessment:
        """The assessment, or the MeshError."""
        if stored:
            await self.propose(recommendation)
        request = pb.AssessRecommendationRequest(
            request_id=str(request_id or new_request_id()), recommendation=wire.recommendation_message(recommendation)
        )
        try:
            return (await self.stub.AssessRecommendation(request, timeout=10)).assessment
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def switch(self, state: str, **given: Any) -> pb.SetTradingStateResponse:
        request = pb.SetTradingStateRequest(
            request_id=given.pop("request_id", str(new_request_id())),
            state=pb.TradingState.Value(f"TRADING_STATE_{state}"),
            note=given.pop("note", "test"),
            **given,
        )
        try:
            return await self.stub.SetTradingState(request, timeout=5)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def run(self, statement: Any, given: Any = None) -> Any:
        async with self.engine.begin() as connection:
            result = await connection.execute(statement, given)
            return result.all() if result.returns_rows else None

    async def commit(self, reservation_id: str, order_id: UUID | None = None) -> str:
        given = {"reservation": UUID(reservation_id), "order": order_id or uuid4()}
        rows = await self.run(text("SELECT risk_commit(:reservation, :order)"), given)
        return rows[0][0]

    async def assessments(self) -> list[Any]:
        return await self.run(select(risk_assessments).order_by(risk_assessments.c.created_at))

    async def reservations(self) -> list[Any]:
        return await self.run(select(risk_reservations))

    async def account(self) -> Any:
        return (await self.run(select(accounts)))[0]

    async def expire(self) -> None:
        """Lets every reservation run out, as 60 seconds would."""
        past = text("clock_timestamp() - interval '1 second'")
        await self.run(update(risk_reservations).where(risk_reservations.c.state == "HELD").values(expires_at=past))

    async def reconciled(self, clean: bool = True, age_seconds: float = 0.0) -> None:
        await self.run(delete(reconciliations))
        await self.run(
            insert(reconciliations).values(
                clean=clean,
                orders_checked=0,
                orders_settled=0,
                orders_unknown=0,
                balances={},
                created_at=text(f"clock_timestamp() - interval '{age_seconds} seconds'"),
            )
        )

    async def hold(self, product: str, base: str, as_of: datetime = AS_OF - HOUR * 400, paid: str = "0") -> None:
        """A position from a fill decided at `as_of`, paid from cash."""
        order_id = await self.order(product, "BUY", "FILLED", as_of, quote=paid or "1", filled=base)
        await self.run(
            insert(fills).values(
                fill_id=str(order_id),
                order_id=order_id,
                trade_id="t",
                product_id=product,
                side="BUY",
                price=1,
                size=D(base),
                commission=0,
                liquidity="TAKER",
                realized_pnl=0,
                trade_time=as_of,
                as_of=as_of,
            )
        )
        # At once, as the executor books them: whoever marks the ledger in between would see a loss that was none.
        held = {"product_id": product, "base_size": D(base), "cost": D(paid), "realized_pnl": 0, "total_fees": 0}
        async with self.engine.begin() as connection:
            await connection.execute(insert(positions).values(**held))
            await connection.execute(self._cash("-" + paid, as_of, "fill", order_id))

    async def cash(self, amount: str, as_of: datetime, transaction: str) -> None:
        await self.run(self._cash(amount, as_of, transaction))

    @staticmethod
    def _cash(amount: str, as_of: datetime, transaction: str, order_id: Any = None) -> Any:
        return insert(ledger_entries).values(
            transaction_id=transaction,
            account="exchange",
            currency="USD",
            amount=D(amount),
            order_id=order_id,
            as_of=as_of,
        )

    async def order(
        self,
        product: str,
        side: str,
        state: str,
        as_of: datetime = AS_OF - HOUR,
        quote: str | None = None,
        base: str | None = None,
        filled: str = "0",
        **changes: Any,
    ) -> UUID:
        self.sequence += 1
        return await store_order(
            self.engine,
            product,
            side,
            state,
            as_of,
            quote_size=None if quote is None else D(quote),
            base_size=None if base is None else D(base),
            filled_size=D(filled),
            filled_value=D(quote) if state == "FILLED" and quote else 0,
            expire_at=FAR,
            sequence=self.sequence,
            **changes,
        )

    async def candles(self, product: str, first: datetime, closes: list[float]) -> None:
        """Hourly bars; the first one closes at `first`."""
        rows = []
        for number, close in enumerate(closes):
            self.sequence += 1
            price = D(f"{close:.8f}")
            rows.append(
                {
                    "product_id": product,
                    "granularity": 3600,
                    "start": first + HOUR * (number - 1),
                    "open": price,
                    "high": price,
                    "low": price,
                    "close": price,
                    "volume": D(10**8) / D(f"{close:.2f}"),
                    "source": "test",
                    "sequence": self.sequence,
                }
            )
        await self.run(insert(crypto_prices), rows)

    async def market_at(self, as_of: datetime) -> None:
        async with self.engine.begin() as connection:
            await advance_watermark(connection, "market", as_of, 1)

    async def until(self, condition: Any) -> None:
        """Waits until an async condition holds; the test's own time limit ends a hopeless wait."""
        while not await condition():
            await asyncio.sleep(0.02)


async def seed(world: World, cash: str) -> None:
    """Three products with 400 hours of volatility 0.50, an opening balance, and reconciled account_state."""
    for product, price in PRICES.items():
        await world.run(_HISTORY, {"product": product, "price": price, "step": STEP, "as_of": AS_OF})
        await world.run(
            insert(products).values(
                product_id=product,
                base_increment=D("0.00000001"),
                quote_increment=D("0.01"),
                price_increment=D("0.01"),
                base_min_size=D("0.00000001"),
                quote_min_size=D(1),
                tradable=True,
                status="online",
                followed=True,
                observed_at=AS_OF,
            )
        )
    await world.cash(cash, AS_OF - HOUR * 500, "opening")
    await world.reconciled()
    await world.market_at(AS_OF)


def write_key(folder: Path, mode: int = 0o600) -> tuple[Path, Ed25519PublicKey]:
    key = Ed25519PrivateKey.generate()
    file = folder / "ticket_private.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    file.chmod(mode)
    return file, key.public_key()


@asynccontextmanager
async def running(database: Any, folder: Path, cash: str = "10000", **settings: Any) -> AsyncIterator[World]:
    """The world with the risk engine serving in this process on a free port."""
    key_file, key = write_key(folder)
    world = World(database.engine, None, key, None, None)  # type: ignore[arg-type]
    await seed(world, cash)
    made = RiskSettings(
        **database.settings_of("risk"),
        port=0,
        drain_seconds=0.2,
        products=("BTC-USD", "ETH-USD", "SOL-USD"),
        ticket_signing_key_file=key_file,
        **settings,
    )
    world.service = await create(made, build)
    started = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.service.run(lambda _: started.set()))
        await started.wait()
        with suppress(TimeoutError):  # where a test has no database for it
            async with asyncio.timeout(10):
                while not world.service.health.serving(""):
                    await asyncio.sleep(0.01)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.service.port}") as channel:
            world.channel, world.stub = channel, pb_grpc.RiskServiceStub(channel)
            try:
                yield world
            finally:
                world.service.stop()
        await task


__all__ = ["AS_OF", "D", "FAR", "HOUR", "MeshError", "World", "running", "write_key"]
