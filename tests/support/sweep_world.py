"""What is in the ledger when the sweeps begin, and one good request of every RPC, from which the bad ones are made."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from live_mesh import MARKET_START, LiveMesh

from tradekit import ids, services
from trading.bridge.v1 import bridge_service_pb2 as bridge
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc
from trading.common.v1 import decimal_pb2, recommendation_pb2
from trading.executor.v1 import executor_service_pb2 as executor
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc
from trading.executor.v1 import ledger_pb2 as ledger
from trading.market.v1 import market_service_pb2 as market
from trading.monitor.v1 import monitor_service_pb2 as monitor
from trading.monitor.v1 import monitor_service_pb2_grpc as monitor_grpc
from trading.orchestrator.v1 import orchestrator_service_pb2 as orchestrator
from trading.risk.v1 import risk_service_pb2 as risk
from trading.signal.v1 import signal_service_pb2 as signal
from trading.signal.v1 import signal_service_pb2_grpc as signal_grpc
from trading.validator.v1 import validator_service_pb2 as validator

_DONE = ("EXECUTED", "REJECTED", "EXPIRED", "FAILED")
# Tables whose rows move by themselves: the monitor writes down what it sees, the executor reconciles on a schedule.
_ALIVE = frozenset({"health_events", "alerts", "reconciliations", "ledger_opening"})


@dataclass(frozen=True)
class World:
    """Ids of things that exist."""

    mesh: LiveMesh
    record: recommendation_pb2.RecommendationRecord
    signal_id: str
    alert_id: str
    alert_raised: bool


def new_id() -> str:
    return str(ids.new_request_id())


def timestamp(moment: Any) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(moment)
    return found


def decimal(text: str) -> decimal_pb2.Decimal:
    return decimal_pb2.Decimal(value=text)


async def make_world(mesh: LiveMesh) -> World:
    """Two operator's recommendations are carried through the whole pipeline, so that every table of it has rows."""
    async with mesh.channel(services.BRIDGE) as channel:
        stub = bridge_grpc.BridgeServiceStub(channel)
        records = []
        for product in mesh.plan.products:
            recommendation = bridge.CreateRecommendationRequest(
                request_id=new_id(), product_id=product, side="SIDE_BUY", note="sweep"
            )
            made = await stub.CreateRecommendation(recommendation, timeout=30)
            records.append(made.record.recommendation.recommendation_id)
        done = [await ended(stub, one) for one in records]
    states = [recommendation_pb2.RecommendationState.Name(one.state) for one in done]
    assert states == ["RECOMMENDATION_STATE_EXECUTED"] * len(done), [str(one.reasons) for one in done]
    async with mesh.channel(services.EXECUTOR) as channel:
        # What protects the positions is written down by itself, a moment after they are there.
        stub = executor_grpc.ExecutorServiceStub(channel)
        protected = await stub.ProtectPositions(executor.ProtectPositionsRequest(request_id=new_id()), timeout=60)
    assert [len(one.orders) for one in protected.positions] == [1] * len(done)
    async with mesh.channel(services.SIGNAL) as channel:
        signals = await signal_grpc.SignalServiceStub(channel).ListSignals(signal.ListSignalsRequest(), timeout=30)
    async with mesh.channel(services.MONITOR) as channel:
        alerts = await monitor_grpc.MonitorServiceStub(channel).ListAlerts(monitor.ListAlertsRequest(), timeout=30)
    alert_id = alerts.alerts[0].alert_id if alerts.alerts else new_id()
    return World(mesh, done[0], signals.signals[0].signal_id, alert_id, bool(alerts.alerts))


async def ended(stub: Any, recommendation_id: str) -> recommendation_pb2.RecommendationRecord:
    async with asyncio.timeout(300):
        while True:
            request = bridge.GetRecommendationRequest(recommendation_id=recommendation_id)
            record = (await stub.GetRecommendation(request, timeout=30)).record
            if recommendation_pb2.RecommendationState.Name(record.state).endswith(_DONE):
                return record
            await asyncio.sleep(0.2)


async def fingerprint(mesh: LiveMesh) -> dict[str, str]:
    """Number of rows and digest of each table: equal fingerprints mean that nothing was stored, changed or lost."""
    found = {}
    async with mesh.database() as connection:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        for name in (row["tablename"] for row in names):
            if name in _ALIVE:
                continue
            # Candles are many; each has a sequence of its own, taken anew with every change.
            shown = "t.sequence" if name == "crypto_prices" else "t"
            where = "WHERE stream <> 'alerts'" if name == "stream_heads" else ""
            digest = f"md5(string_agg(md5({shown}::text), '' ORDER BY md5({shown}::text)))"
            query = f"SELECT count(*) || ' rows ' || coalesce({digest}, '') FROM {name} t {where}"
            found[name] = await connection.fetchval(query)
    return found


def evidence() -> recommendation_pb2.SignalEvidence:
    return recommendation_pb2.SignalEvidence(
        signal_id=new_id(),
        confidence=0.6,
        p_down=0.1,
        p_neutral=0.3,
        p_up=0.6,
        edge=0.5,
        expected_net=0.01,
        sigma_horizon=0.02,
        model_version="m",
        feature_set_hash="0" * 64,
        features=[50.0],
    )


def recommendation(**changes: Any) -> recommendation_pb2.Recommendation:
    """A well-formed recommendation that nobody ever entered."""
    as_of = MARKET_START.replace(minute=0)
    values = {
        "recommendation_id": new_id(),
        "product_id": "BTC-USD",
        "side": "SIDE_BUY",
        "quote_size": decimal("100"),
        "reference_price": decimal("50000"),
        "as_of": timestamp(as_of),
        "expire_time": timestamp(as_of + timedelta(days=3000)),
        "life_clock": "LIFE_CLOCK_MACHINE",
        "origin": "RECOMMENDATION_ORIGIN_SIGNAL",
        "profile": "DECISION_PROFILE_EXERCISE",
        "priority": 0.5,
        "evidence": evidence(),
        "note": "",
        **changes,
    }
    return recommendation_pb2.Recommendation(**values)


def candle(**changes: Any) -> market.Candle:
    """A bar like those that are stored; `changes` make it a bad one."""
    values = {
        "product_id": "BTC-USD",
        "granularity": "GRANULARITY_ONE_HOUR",
        "start_time": timestamp(MARKET_START.replace(minute=0) - timedelta(hours=5)),
        **{name: decimal("50000") for name in ("open", "high", "low", "close")},
        "volume": decimal("1"),
        **changes,
    }
    return market.Candle(**values)


def _period() -> dict[str, Timestamp]:
    end = MARKET_START.replace(minute=0)
    return {"start_time": timestamp(end - timedelta(hours=6)), "end_time": timestamp(end)}


def upload_of_candles() -> list[Any]:
    """The frames of a good import of one bar."""
    opening = market.ImportOpen(
        request_id=new_id(),
        file_name="candles.csv",
        product_id="BTC-USD",
        granularity="GRANULARITY_ONE_HOUR",
        only_product_ids=["BTC-USD"],
        into_simulated=True,
        **_period(),
    )
    batch = market.CandleBatch(candles=[candle()])
    return [market.ImportCandlesRequest(open=opening), market.ImportCandlesRequest(candles=batch)]


def _validations(world: World) -> list[Any]:
    opening = validator.StreamValidationsOpen(client="sweep", max_in_flight=4)
    item = validator.ValidateRecommendationRequest(request_id=new_id(), recommendation=world.record.recommendation)
    return [validator.StreamValidationsRequest(open=opening), validator.StreamValidationsRequest(item=item)]


def _assessments(world: World) -> list[Any]:
    opening = risk.StreamAssessmentsOpen(client="sweep", max_in_flight=4)
    item = risk.AssessRecommendationRequest(request_id=new_id(), recommendation=world.record.recommendation)
    return [risk.StreamAssessmentsRequest(open=opening), risk.StreamAssessmentsRequest(item=item)]


# Every RPC of the mesh: the frames of a good request. What is not here fails the sweep.
GOOD: dict[str, Callable[[World], list[Any]]] = {
    "MarketService.ListProducts": lambda world: [market.ListProductsRequest(page_size=1)],
    "MarketService.ListCandles": lambda world: [
        market.ListCandlesRequest(product_id="BTC-USD", granularity="GRANULARITY_ONE_HOUR", page_size=1, **_period())
    ],
    "MarketService.WatchCandles": lambda world: [
        market.WatchCandlesRequest(product_ids=["BTC-USD"], granularity="GRANULARITY_ONE_HOUR", after_sequence=0)
    ],
    "MarketService.ImportCandles": lambda world: upload_of_candles(),
    "MarketService.BackfillCandles": lambda world: [
        market.BackfillCandlesRequest(
            request_id=new_id(), product_ids=["BTC-USD"], granularity="GRANULARITY_ONE_HOUR", **_period()
        )
    ],
    # Nothing is stored of that time, so the deletion takes nothing from the others.
    "MarketService.DeleteCandles": lambda world: [
        market.DeleteCandlesRequest(
            request_id=new_id(),
            product_id="BTC-USD",
            granularity="GRANULARITY_ONE_HOUR",
            start_time=timestamp(MARKET_START - timedelta(days=4000)),
            end_time=timestamp(MARKET_START - timedelta(days=3999)),
            source="file:sweep.csv",
            note="sweep",
            expected_count=0,
        )
    ],
    "SignalService.GenerateSignals": lambda world: [
        signal.GenerateSignalsRequest(
            request_id=new_id(), product_ids=["BTC-USD"], as_of=timestamp(MARKET_START.replace(minute=0))
        )
    ],
    "SignalService.GetSignal": lambda world: [signal.GetSignalRequest(signal_id=world.signal_id)],
    "SignalService.ListSignals": lambda world: [signal.ListSignalsRequest(page_size=1)],
    "SignalService.WatchSignals": lambda world: [signal.WatchSignalsRequest(after_sequence=0)],
    "SignalService.GetModel": lambda world: [signal.GetModelRequest()],
    "SignalService.ListModels": lambda world: [signal.ListModelsRequest()],
    # There is one model, so nobody challenges and nobody was champion before: well-formed, and refused by the ledger.
    "SignalService.PromoteModel": lambda world: [
        signal.PromoteModelRequest(request_id=new_id(), model_version="challenger")
    ],
    "SignalService.RollbackModel": lambda world: [signal.RollbackModelRequest(request_id=new_id(), note="sweep")],
    "BridgeService.CreateRecommendation": lambda world: [
        bridge.CreateRecommendationRequest(
            request_id=new_id(), product_id="BTC-USD", side="SIDE_BUY", quote_size=decimal("25"), note="sweep"
        )
    ],
    "BridgeService.GetRecommendation": lambda world: [
        bridge.GetRecommendationRequest(recommendation_id=world.record.recommendation.recommendation_id)
    ],
    "BridgeService.ListRecommendations": lambda world: [bridge.ListRecommendationsRequest(page_size=1)],
    "BridgeService.WatchRecommendations": lambda world: [bridge.WatchRecommendationsRequest(after_sequence=0)],
    "ValidatorService.ValidateRecommendation": lambda world: [
        validator.ValidateRecommendationRequest(request_id=new_id(), recommendation=world.record.recommendation)
    ],
    "ValidatorService.StreamValidations": _validations,
    "ValidatorService.GetReviewer": lambda world: [validator.GetReviewerRequest()],
    "RiskService.AssessRecommendation": lambda world: [
        risk.AssessRecommendationRequest(request_id=new_id(), recommendation=world.record.recommendation)
    ],
    "RiskService.StreamAssessments": _assessments,
    "RiskService.GetPortfolioRisk": lambda world: [risk.GetPortfolioRiskRequest()],
    "RiskService.GetLimits": lambda world: [risk.GetLimitsRequest()],
    "RiskService.SetTradingState": lambda world: [
        risk.SetTradingStateRequest(request_id=new_id(), state="TRADING_STATE_ACTIVE", note="sweep")
    ],
    "ExecutorService.ExecuteRecommendation": lambda world: [
        executor.ExecuteRecommendationRequest(
            request_id=new_id(), recommendation=recommendation(), size=decimal("100"), ticket="no.ticket.atall"
        )
    ],
    "ExecutorService.GetOrder": lambda world: [executor.GetOrderRequest(order_id=world.record.order_id)],
    "ExecutorService.ListOrders": lambda world: [executor.ListOrdersRequest(page_size=1)],
    "ExecutorService.WatchOrders": lambda world: [executor.WatchOrdersRequest(after_sequence=0)],
    "ExecutorService.ListPositions": lambda world: [executor.ListPositionsRequest()],
    "ExecutorService.Reconcile": lambda world: [executor.ReconcileRequest(request_id=new_id())],
    "ExecutorService.GetLedger": lambda world: [ledger.GetLedgerRequest()],
    "ExecutorService.AdjustLedger": lambda world: [
        ledger.AdjustLedgerRequest(
            request_id=new_id(),
            currency="USD",
            amount=decimal("1"),
            kind="ADJUSTMENT_KIND_DEPOSIT",
            note="sweep",
            preview=True,
        )
    ],
    "ExecutorService.AdoptHoldings": lambda world: [ledger.AdoptHoldingsRequest(request_id=new_id(), note="sweep")],
    "ExecutorService.GetTradingState": lambda world: [executor.GetTradingStateRequest()],
    "ExecutorService.SetTradingState": lambda world: [
        executor.SetTradingStateRequest(request_id=new_id(), state="TRADING_STATE_ACTIVE", note="sweep")
    ],
    # A product that nobody has: the calls are good, and the shared ledger stays.
    "ExecutorService.CancelOrders": lambda world: [
        executor.CancelOrdersRequest(request_id=new_id(), product_id="NOBODYS-USD", note="sweep")
    ],
    "ExecutorService.ProtectPositions": lambda world: [executor.ProtectPositionsRequest(request_id=new_id())],
    "ExecutorService.ClosePositions": lambda world: [
        executor.ClosePositionsRequest(request_id=new_id(), product_ids=["NOBODYS-USD"], note="sweep")
    ],
    "OrchestratorService.GetPipeline": lambda world: [
        orchestrator.GetPipelineRequest(from_time=timestamp(MARKET_START))
    ],
    "OrchestratorService.WatchDecisions": lambda world: [orchestrator.WatchDecisionsRequest(after_sequence=0)],
    "OrchestratorService.CancelRecommendation": lambda world: [
        orchestrator.CancelRecommendationRequest(
            request_id=new_id(), recommendation_id=world.record.recommendation.recommendation_id, note="sweep"
        )
    ],
    "OrchestratorService.ExplainRecommendation": lambda world: [
        orchestrator.ExplainRecommendationRequest(recommendation_id=world.record.recommendation.recommendation_id)
    ],
    "MonitorService.GetStatus": lambda world: [monitor.GetStatusRequest()],
    "MonitorService.WatchStatus": lambda world: [monitor.WatchStatusRequest()],
    "MonitorService.ListAlerts": lambda world: [monitor.ListAlertsRequest(page_size=1)],
    "MonitorService.AcknowledgeAlert": lambda world: [
        monitor.AcknowledgeAlertRequest(request_id=new_id(), alert_id=world.alert_id, note="seen")
    ],
}
