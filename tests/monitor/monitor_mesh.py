"""Stand-ins for the seven other services: real gRPC servers with the generated servicers and the kit's own health."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import grpc
from grpc_health.v1 import health_pb2_grpc

from meshkit import lifecycle
from meshkit.health import HealthServicer
from supervisor.ports import free_ports
from svc_monitor.build import build
from svc_monitor.settings import MonitorSettings
from tradekit import services
from tradekit.services import ServiceName
from trading.bridge.v1 import bridge_service_pb2 as bridge_pb
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc
from trading.common.v1 import decimal_pb2, recommendation_pb2, stream_pb2, trade_pb2
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc
from trading.orchestrator.v1 import orchestrator_service_pb2 as orchestrator_pb
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as orchestrator_grpc
from trading.risk.v1 import risk_service_pb2 as risk_pb
from trading.risk.v1 import risk_service_pb2_grpc as risk_grpc
from trading.signal.v1 import signal_service_pb2 as signal_pb
from trading.signal.v1 import signal_service_pb2_grpc as signal_grpc
from trading.validator.v1 import validator_service_pb2 as validator_pb
from trading.validator.v1 import validator_service_pb2_grpc as validator_grpc

MARKET_TIME = datetime(2025, 3, 1, 12, tzinfo=UTC)
_IDS = UUID(int=51)


def number(text: str) -> decimal_pb2.Decimal:
    return decimal_pb2.Decimal(value=text)


def id_of(name: str) -> str:
    return str(uuid5(_IDS, name))


def record(name: str, sequence: int, side: str = "BUY", state: str = "EXECUTED", **given: Any) -> Any:
    """A recommendation; `reasons`, `decided_by`, `adjusted`, `order_id`, `note`, `product_id` may be given."""
    recommendation = recommendation_pb2.Recommendation(
        recommendation_id=id_of(name),
        product_id=given.get("product_id", "BTC-USD"),
        side=trade_pb2.Side.Value(f"SIDE_{side}"),
        reference_price=number(given.get("price", "84012.55")),
        origin=recommendation_pb2.RECOMMENDATION_ORIGIN_OPERATOR
        if given.get("note")
        else recommendation_pb2.RECOMMENDATION_ORIGIN_SIGNAL,
        profile=trade_pb2.DECISION_PROFILE_EXERCISE,
        note=given.get("note", ""),
    )
    if not given.get("note"):
        recommendation.evidence.confidence = given.get("confidence", 0.51)
    size = number(given.get("size", "100.00" if side == "BUY" else "0.00118"))
    (recommendation.quote_size if side == "BUY" else recommendation.base_size).CopyFrom(size)
    recommendation.as_of.FromDatetime(given.get("as_of", MARKET_TIME))
    found = recommendation_pb2.RecommendationRecord(
        recommendation=recommendation,
        state=recommendation_pb2.RecommendationState.Value(f"RECOMMENDATION_STATE_{state}"),
        reasons=given.get("reasons", ()),
        decided_by=given.get("decided_by", "exchange"),
        order_id=given.get("order_id", ""),
        sequence=sequence,
    )
    if "adjusted" in given:
        found.adjusted_size.CopyFrom(number(given["adjusted"]))
    found.create_time.FromDatetime(given.get("created", MARKET_TIME + timedelta(seconds=sequence)))
    found.update_time.CopyFrom(found.create_time)
    return found


def order(name: str, sequence: int, side: str = "BUY", state: str = "FILLED", **given: Any) -> Any:
    found = executor_pb.Order(
        order_id=id_of(f"order {name}"),
        recommendation_id=id_of(name),
        exchange_order_id=id_of(f"exchange {name}"),
        product_id=given.get("product_id", "BTC-USD"),
        side=trade_pb2.Side.Value(f"SIDE_{side}"),
        state=executor_pb.OrderState.Value(f"ORDER_STATE_{state}"),
        venue=trade_pb2.VENUE_SIMULATED,
        send_count=1,
        sequence=sequence,
        reasons=given.get("reasons", ()),
    )
    size = number(given.get("size", "100.00" if side == "BUY" else "0.00118"))
    (found.quote_size if side == "BUY" else found.base_size).CopyFrom(size)
    if state == "FILLED":
        found.filled_size.CopyFrom(number(given.get("filled", "0.00117944")))
        found.filled_value.CopyFrom(number("99.10"))
        found.average_price.CopyFrom(number(given.get("average", "84023.10")))
        found.total_fees.CopyFrom(number("0.90"))
    for name in ("stop_price", "target_price", "limit_price"):
        if name in given:
            getattr(found, name).CopyFrom(number(given[name]))
    found.as_of.FromDatetime(given.get("as_of", MARKET_TIME))
    found.create_time.FromDatetime(given.get("created", MARKET_TIME + timedelta(seconds=sequence)))
    return found


def funnel(signals: int = 6) -> Any:
    found = orchestrator_pb.GetPipelineResponse(open_recommendations=2, waiting_recommendations=1, open_orders=1)
    found.market_time.FromDatetime(MARKET_TIME)
    candles = found.stages.add(stage="candles", total=1200)
    candles.outcomes.add(outcome="simulated", count=1200)
    candles.watermark.FromDatetime(MARKET_TIME)
    candles.lag.FromSeconds(0)
    stage = found.stages.add(stage="signals", total=signals)
    stage.outcomes.add(outcome="BUY", count=signals // 2)
    stage.outcomes.add(outcome="HOLD", count=signals - signals // 2)
    stage.watermark.FromDatetime(MARKET_TIME)
    stage.lag.FromSeconds(0)
    return found


class Orchestrator(orchestrator_grpc.OrchestratorServiceServicer):
    def __init__(self) -> None:
        self.funnel = funnel()
        self.stories: dict[str, Any] = {}
        self.asked: list[str] = []

    async def GetPipeline(self, request: Any, context: Any) -> Any:
        return self.funnel

    async def ExplainRecommendation(self, request: Any, context: Any) -> Any:
        self.asked.append(request.recommendation_id)
        if request.recommendation_id not in self.stories:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such recommendation")
        return self.stories[request.recommendation_id]


class Changing:
    """Rows with sequences, and watchers of them: what a watched table is."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.changed = asyncio.Event()
        self.resumed_after: list[int] = []

    def put(self, key: str, row: Any) -> None:
        self.rows[key] = row
        self.changed.set()
        self.changed = asyncio.Event()

    def newest(self, size: int) -> list[Any]:
        return sorted(self.rows.values(), key=lambda row: row.sequence, reverse=True)[:size]

    async def after(self, sequence: int) -> AsyncIterator[list[Any] | None]:
        """Batches of changes; None is a heartbeat."""
        self.resumed_after.append(sequence)
        while True:
            changed = self.changed
            rows = sorted((row for row in self.rows.values() if row.sequence > sequence), key=lambda row: row.sequence)
            if rows:
                sequence = rows[-1].sequence
                yield rows
            try:
                async with asyncio.timeout(1.0):
                    await changed.wait()
            except TimeoutError:
                yield None


class Bridge(bridge_grpc.BridgeServiceServicer):
    def __init__(self) -> None:
        self.recommendations = Changing()

    def put(self, row: Any) -> None:
        self.recommendations.put(row.recommendation.recommendation_id, row)

    async def ListRecommendations(self, request: Any, context: Any) -> Any:
        return bridge_pb.ListRecommendationsResponse(records=self.recommendations.newest(request.page_size))

    async def WatchRecommendations(self, request: Any, context: Any) -> Any:
        async for rows in self.recommendations.after(request.after_sequence):
            if rows is None:
                yield bridge_pb.WatchRecommendationsResponse(heartbeat=stream_pb2.Heartbeat())
            else:
                yield bridge_pb.WatchRecommendationsResponse(batch=bridge_pb.RecommendationBatch(records=rows))


class Executor(executor_grpc.ExecutorServiceServicer):
    def __init__(self) -> None:
        self.orders = Changing()
        self.switch = "TRADING_STATE_ACTIVE"
        self.account = executor_pb.ListPositionsResponse(
            opening_balance=number("10000"), equity=number("10012.34"), realized_pnl=number("20.00"),
            unrealized_pnl=number("-7.66"), total_fees=number("3.21"), venue=trade_pb2.VENUE_SIMULATED,
        )  # fmt: skip
        self.account.cash.add(amount=number("9912.00"), currency="USD")
        self.account.positions.add(
            product_id="BTC-USD", base_size=number("0.00117944"), average_cost=number("84785.99"),
            mark_price=number("84012.55"), market_value=number("99.08"), unrealized_pnl=number("-0.91"),
            realized_pnl=number("0"),
        )  # fmt: skip

    def put(self, row: Any) -> None:
        self.orders.put(row.order_id, row)

    async def GetTradingState(self, request: Any, context: Any) -> Any:
        return executor_pb.GetTradingStateResponse(state=self.switch, stored_state=self.switch)

    async def ListPositions(self, request: Any, context: Any) -> Any:
        return self.account

    async def ListOrders(self, request: Any, context: Any) -> Any:
        return executor_pb.ListOrdersResponse(orders=self.orders.newest(request.page_size))

    async def WatchOrders(self, request: Any, context: Any) -> Any:
        async for rows in self.orders.after(request.after_sequence):
            if rows is None:
                yield executor_pb.WatchOrdersResponse(heartbeat=stream_pb2.Heartbeat())
            else:
                yield executor_pb.WatchOrdersResponse(batch=executor_pb.OrderBatch(orders=rows))


class Risk(risk_grpc.RiskServiceServicer):
    def __init__(self) -> None:
        self.portfolio = risk_pb.GetPortfolioRiskResponse(
            equity=number("10012.34"), cash=number("9912.00"),
            exposure=number("199.08"), heat=0.0012, drawdown=0.003, daily_loss=0.0, high_water_mark=number("10042.50"),
            held_reservations=1,
        )  # fmt: skip

    async def GetPortfolioRisk(self, request: Any, context: Any) -> Any:
        return self.portfolio


class Signal(signal_grpc.SignalServiceServicer):
    def __init__(self) -> None:
        self.model = signal_pb.GetModelResponse(
            model_version="balanced-2025-02-28-7f3a", loaded=True, profile=trade_pb2.DECISION_PROFILE_EXERCISE,
            theta_buy=0.05, theta_sell=0.05, always_hold=True, serving_engine="FLAT_ARRAYS",
            challenger_version="balanced-2025-03-28-01ab", previous_version="balanced-2025-01-28-9c2e",
        )  # fmt: skip
        self.model.train_start_time.FromDatetime(datetime(2023, 1, 1, tzinfo=UTC))
        self.model.train_end_time.FromDatetime(datetime(2025, 2, 28, tzinfo=UTC))
        self.look(beta_168=0.21, natr_14=0.18, ret_168=0.12, rsi_14=0.04, body=0.02, adx_14=0.01)

    def look(self, log_loss: float = 1.0312, **psi: float) -> None:
        """The newest look at the model: indices of its features, and its log loss against 1.0498."""
        self.model.drift.CopyFrom(
            signal_pb.ModelDrift(
                rows=393,
                buy_share=0.08,
                sell_share=0.11,
                mean_confidence=0.61,
                matured_labels=2088,
                log_loss=log_loss,
                prior_log_loss=1.0498,
            )
        )
        self.model.drift.as_of.FromDatetime(MARKET_TIME)
        limits = ((0.5, "ALARM"), (0.25, "WARNING"), (0.1, "NOTICE"), (0.0, "NONE"))
        for name, value in sorted(psi.items(), key=lambda one: -one[1]):
            level = next(level for limit, level in limits if value >= limit)
            self.model.drift.features.add(
                name=name, psi=value, level=signal_pb.DriftLevel.Value(f"DRIFT_LEVEL_{level}")
            )

    async def GetModel(self, request: Any, context: Any) -> Any:
        return self.model


class Validator(validator_grpc.ValidatorServiceServicer):
    def __init__(self) -> None:
        self.reviewer = validator_pb.GetReviewerResponse(
            reviewer="rules", mode=validator_pb.REVIEW_MODE_VETO, detail="OLLAMA_HOST is not set; the rules decide."
        )

    async def GetReviewer(self, request: Any, context: Any) -> Any:
        return self.reviewer


class Health(HealthServicer):
    """The kit's health, which can stop to answer without going away."""

    frozen = False

    async def Check(self, request: Any, context: Any) -> Any:
        if self.frozen:
            await asyncio.sleep(60)
        return await super().Check(request, context)


class StandIn:
    """One service on one port for good; it can go away and come back."""

    def __init__(self, service: ServiceName, servicer: Any = None, add: Any = None) -> None:
        self.service = service
        self.servicer = servicer
        self._add = add
        self.port = free_ports(1)[0]
        self._server: Any = None
        self.health = self._fresh_health()

    def _fresh_health(self) -> Health:
        health = Health([self.service.full_name, f"{self.service.full_name}/entries"])
        for name in (self.service.full_name, f"{self.service.full_name}/entries"):
            health.set(name, True)
        return health

    async def start(self) -> None:
        self.health = self._fresh_health()
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if self._add is not None:
            self._add(self.servicer, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


class Mesh:
    """All seven; `env` names their addresses for the monitor's settings."""

    def __init__(self) -> None:
        self.orchestrator, self.bridge, self.executor = Orchestrator(), Bridge(), Executor()
        self.risk, self.signal, self.validator = Risk(), Signal(), Validator()
        made = [
            StandIn(services.MARKET),
            StandIn(services.SIGNAL, self.signal, signal_grpc.add_SignalServiceServicer_to_server),
            StandIn(services.BRIDGE, self.bridge, bridge_grpc.add_BridgeServiceServicer_to_server),
            StandIn(services.VALIDATOR, self.validator, validator_grpc.add_ValidatorServiceServicer_to_server),
            StandIn(services.RISK, self.risk, risk_grpc.add_RiskServiceServicer_to_server),
            StandIn(services.EXECUTOR, self.executor, executor_grpc.add_ExecutorServiceServicer_to_server),
            StandIn(
                services.ORCHESTRATOR, self.orchestrator, orchestrator_grpc.add_OrchestratorServiceServicer_to_server
            ),
        ]
        self.of = {one.service.name: one for one in made}

    @property
    def addresses(self) -> dict[str, str]:
        return {f"{name}_address": f"127.0.0.1:{one.port}" for name, one in self.of.items()}

    async def start(self) -> None:
        for one in self.of.values():
            await one.start()

    async def stop(self) -> None:
        for one in self.of.values():
            await one.stop()


@contextlib.asynccontextmanager
async def running_mesh() -> AsyncIterator[Mesh]:
    mesh = Mesh()
    await mesh.start()
    try:
        yield mesh
    finally:
        await mesh.stop()


@contextlib.asynccontextmanager
async def running_monitor(mesh: Mesh, **given: Any) -> AsyncIterator[Any]:
    """The monitor in this process; `port` and `page` are where it answers."""
    values = {
        "port": 0, "monitor_page_port": free_ports(1)[0], "drain_seconds": 1.0, "health_check_seconds": 0.2,
        "health_silence_seconds": 1.0, "venue": "SIMULATED", "decision_profile": "EXERCISE", **mesh.addresses,
    }  # fmt: skip
    settings = MonitorSettings(**{**values, **given})
    service = await lifecycle.create(settings, build)
    started = asyncio.Event()
    running = asyncio.ensure_future(service.run(lambda _: started.set()))
    await started.wait()
    service.page = f"http://127.0.0.1:{settings.monitor_page_port}"
    try:
        yield service
    finally:
        service.stop()
        assert await running == 0
