"""What `mesh status` knows: processes from the state file, and from the services what they answer within two seconds.

It works when services, database or supervisor are dead: it names what does not answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2

from cli.calls import channel_to
from cli.instance_file import Instance
from supervisor.home import MeshHome
from supervisor.instance import lock_owner
from supervisor.processes import is_stopped
from supervisor.state import RUNNING, MeshState, ServiceState, Status, observe_state
from tradekit import services
from tradekit.ledger_words import LedgerWords, joined, words_of
from tradekit.services import SERVICES, ServiceName
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc
from trading.executor.v1 import ledger_pb2 as ledger_pb
from trading.monitor.v1 import monitor_service_pb2 as monitor_pb
from trading.monitor.v1 import monitor_service_pb2_grpc as monitor_grpc
from trading.orchestrator.v1 import orchestrator_service_pb2 as orchestrator_pb
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as orchestrator_grpc
from trading.risk.v1 import risk_service_pb2 as risk_pb
from trading.risk.v1 import risk_service_pb2_grpc as risk_grpc

T = TypeVar("T")
DEADLINE_SECONDS = 2.0
_GOOD = (Status.READY, Status.DONE)
_ENTRIES = "/entries"
_ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Switch:
    """State and note in force where orders are sent. `kept` is False while a halt ends with the executor's process; `reason`
    says what holds it where no operator does, and is empty otherwise."""

    state: str
    note: str
    kept: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Trading(Switch):
    """The switch as the executor has it, and the account; `equity` is empty where the risk engine did not answer. Locks are
    the account's; a product's cooldown after a trade ends by itself."""

    equity: str = ""
    locks: tuple[str, ...] = ()
    cooldowns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What is under way; None where the orchestrator did not answer."""

    market_time: str
    open_recommendations: int
    open_orders: int
    resting_orders: int
    unknown_orders: int
    executed: int


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """Everything the command shows."""

    home: str
    supervisor_pid: int | None
    instance: Instance | None
    units: tuple[ServiceState, ...] = ()
    entries: dict[str, str] = field(default_factory=dict)
    trading: Trading | None = None
    pipeline: Pipeline | None = None
    ledger: LedgerWords | None = None
    # Raised ones, newest first, as "CODE scope"; None where the monitor did not answer.
    alerts: tuple[str, ...] | None = None
    supervisor_stopped: bool = False
    # A supervisor runs, and what it has written of its processes cannot be read.
    units_unreadable: bool = False

    @property
    def running(self) -> bool:
        """True while a supervisor holds the folder."""
        return self.supervisor_pid is not None

    @property
    def healthy(self) -> bool:
        """True if every unit is as it should be, and whoever sends orders answers."""
        known = not self.supervisor_stopped and not self.units_unreadable and self.trading is not None
        return self.running and known and all(unit.status in _GOOD for unit in self.units)

    @property
    def parked(self) -> tuple[str, ...]:
        """Units that died too often and stay down."""
        return tuple(unit.name for unit in self.units if unit.status is Status.PARKED)

    @property
    def hung(self) -> tuple[str, ...]:
        """Units that run and do not answer."""
        return tuple(unit.name for unit in self.units if unit.status is Status.HUNG)

    @property
    def executor_runs(self) -> bool:
        """Whether there may be an executor that sends orders, answering or not."""
        found = [unit for unit in self.units if unit.name == services.EXECUTOR.name]
        return self.units_unreadable or any(unit.status in RUNNING for unit in found)

    @property
    def entries_shut(self) -> str:
        """Why no new position is taken now; empty while entries are open."""
        if self.trading is None:
            return "the executor does not answer"
        if not self.trading.equity:
            return "the risk engine does not answer"
        if self.trading.state != "ACTIVE" and not self.trading.reason:
            return f"trading is {self.trading.state}"
        if self.ledger is not None and self.ledger.differences:
            return f"the account differs from the ledger: {joined(self.ledger.differences)}"
        if self.trading.reason:
            return self.trading.note
        closed = [name for name, status in self.entries.items() if status != "SERVING"]
        return f"not serving them: {', '.join(closed)}" if closed else ""


def detail_of(unit: ServiceState) -> str:
    """What is to be said of a unit now. How it ended last is news only until it is back; that it did, its restarts say."""
    return unit.detail or ("" if unit.status in _GOOD else unit.last_exit)


def uptime_seconds(unit: ServiceState) -> float | None:
    """Seconds since a unit became ready."""
    if unit.status is not Status.READY or not unit.since:
        return None
    return max((datetime.now(UTC) - datetime.fromisoformat(unit.since)).total_seconds(), 0.0)


async def gather_status(home: MeshHome, instance: Instance | None) -> StatusFacts:
    """Looks at everything at once; takes two seconds at most."""
    owner = lock_owner(home)
    state: MeshState | None = observe_state(home.state_file)
    facts = StatusFacts(
        str(home.root),
        owner.pid if owner else None,
        instance,
        state.services if state is not None else (),
        supervisor_stopped=owner is not None and is_stopped(owner),
        units_unreadable=owner is not None and state is None,
    )
    alive = {unit.name for unit in facts.units if unit.status in RUNNING}
    if facts.units_unreadable:
        alive = {service.name for service in SERVICES}
    if instance is None or not alive:
        return facts
    asked = [service for service in SERVICES if service.name in alive]
    entries, switch, account, pipeline, ledger, alerts = await asyncio.gather(
        asyncio.gather(*(_entries(instance, service) for service in asked)),
        _asked(instance, services.EXECUTOR, _switch),
        _asked(instance, services.RISK, _account),
        _asked(instance, services.ORCHESTRATOR, _pipeline),
        ask_ledger(instance),
        _asked(instance, services.MONITOR, _alerts),
    )
    known = {service.name: status for service, status in zip(asked, entries, strict=True) if status is not None}
    equity, locks, cooldowns = account if account is not None else ("", (), ())
    trading = None
    if switch is not None:
        trading = Trading(switch.state, switch.note, switch.kept, switch.reason, equity, locks, cooldowns)
    return replace(facts, entries=known, trading=trading, pipeline=pipeline, ledger=ledger, alerts=alerts)


async def ask_ledger(instance: Instance) -> LedgerWords | None:
    """What is to be said of the ledger, None where the executor does not answer."""

    async def call(channel: grpc.aio.Channel) -> LedgerWords:
        answer = await executor_grpc.ExecutorServiceStub(channel).GetLedger(
            ledger_pb.GetLedgerRequest(), timeout=DEADLINE_SECONDS
        )
        return words_of(answer)

    return await _asked(instance, services.EXECUTOR, call)


async def switch_in_force(instance: Instance) -> Switch | None:
    """The switch at the executor; None where it does not answer."""
    return await _asked(instance, services.EXECUTOR, _switch)


async def _asked(
    instance: Instance, service: ServiceName, call: Callable[[grpc.aio.Channel], Awaitable[T]]
) -> T | None:
    """An answer, or None: a dead service is part of the picture, not a failure of the command."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS), channel_to(instance, service) as channel:
            return await call(channel)
    except (grpc.aio.AioRpcError, TimeoutError):
        return None


async def _entries(instance: Instance, service: ServiceName) -> str | None:
    """The second health name of a service; None if it has none, UNKNOWN if it does not answer."""
    request = health_pb2.HealthCheckRequest(service=service.full_name + _ENTRIES)

    async def check(channel: grpc.aio.Channel) -> str | None:
        try:
            answer = await _health_call(channel)(request, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            return "NO_ANSWER"
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    try:
        async with asyncio.timeout(DEADLINE_SECONDS), channel_to(instance, service) as channel:
            return await check(channel)
    except TimeoutError:
        return "NO_ANSWER"


def _health_call(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


async def _alerts(channel: grpc.aio.Channel) -> tuple[str, ...]:
    request = monitor_pb.ListAlertsRequest(state=monitor_pb.ALERT_STATE_RAISED)
    answer = await monitor_grpc.MonitorServiceStub(channel).ListAlerts(request, timeout=DEADLINE_SECONDS)
    return tuple(f"{alert.code} {alert.scope}" for alert in answer.alerts)


async def _switch(channel: grpc.aio.Channel) -> Switch:
    answer = await executor_grpc.ExecutorServiceStub(channel).GetTradingState(
        executor_pb.GetTradingStateRequest(), timeout=DEADLINE_SECONDS
    )
    state = risk_pb.TradingState.Name(answer.state).removeprefix("TRADING_STATE_")
    return Switch(state, answer.note, answer.kept, answer.reason)


async def _account(channel: grpc.aio.Channel) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Equity, the account's locks, and what else is closed for a while."""
    answer = await risk_grpc.RiskServiceStub(channel).GetPortfolioRisk(
        risk_pb.GetPortfolioRiskRequest(), timeout=DEADLINE_SECONDS
    )
    locks = tuple(f"{lock.code} {lock.scope}" for lock in answer.locks if lock.scope == _ACCOUNT)
    cooldowns = tuple(f"{lock.code} {lock.scope}" for lock in answer.locks if lock.scope != _ACCOUNT)
    return answer.equity.value, locks, cooldowns


async def _pipeline(channel: grpc.aio.Channel) -> Pipeline:
    answer = await orchestrator_grpc.OrchestratorServiceStub(channel).GetPipeline(
        orchestrator_pb.GetPipelineRequest(), timeout=DEADLINE_SECONDS
    )
    executed = sum(
        outcome.count
        for stage in answer.stages
        if stage.stage == "recommendations"
        for outcome in stage.outcomes
        if outcome.outcome.endswith(" EXECUTED")
    )
    market_time = f"{answer.market_time.ToDatetime(UTC):%Y-%m-%d %H:%M} UTC" if answer.HasField("market_time") else ""
    return Pipeline(
        market_time=market_time,
        open_recommendations=answer.open_recommendations,
        open_orders=answer.open_orders,
        resting_orders=answer.resting_orders,
        unknown_orders=answer.unknown_orders,
        executed=executed,
    )
