"""The operator's calls of a drill: orders by hand through the pipeline, and the switch. Each is repeated until answered.

A repeated call has the same request_id, so it is the same order and the same turn of the switch.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import grpc
from live_mesh import SERVING, LiveMesh, check
from mesh_runs import environment, run_mesh

from cli.calls import operator_channel
from cli.instance_file import HOME_VARIABLE
from tests.drill.executor_calls import ExecutorCalls, NotAnswered, answered, new_id
from tradekit import halt_file, services
from tradekit.halt_file import Halt
from tradekit.states import TradingState
from trading.bridge.v1 import bridge_service_pb2 as bridge
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc
from trading.common.v1 import decimal_pb2
from trading.executor.v1 import executor_service_pb2 as executor
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc
from trading.risk.v1 import risk_service_pb2 as risk
from trading.risk.v1 import risk_service_pb2_grpc as risk_grpc

_ENTER_SECONDS = 20.0
# Turning the switch must succeed whatever else is dead; the bound only ends a drill that cannot go on.
SWITCH_SECONDS = 90.0
_OPTIONS = (("grpc.max_reconnect_backoff_ms", 300), ("grpc.initial_reconnect_backoff_ms", 100))


class Operator(ExecutorCalls):
    """One per world."""

    def __init__(self, mesh: LiveMesh) -> None:
        super().__init__(lambda: executor_grpc.ExecutorServiceStub(self._channel(services.EXECUTOR)))
        self._mesh = mesh
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._environment = {**environment(mesh.plan.home.root)[0], HOME_VARIABLE: str(mesh.plan.home.root)}

    async def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            await channel.close()

    async def serves(self, service: services.ServiceName) -> bool:
        """Whether it proves itself now."""
        try:
            return await check(self._channel(service), "") == SERVING
        except grpc.aio.AioRpcError:
            return False

    async def buy(self, product: str, quote: Decimal) -> str:
        """Enters a BUY; what the bridge answered: an id, or the reason of a refusal."""
        size = decimal_pb2.Decimal(value=f"{quote:f}")
        return await self._enter(
            bridge.CreateRecommendationRequest(
                request_id=new_id(), product_id=product, side="SIDE_BUY", quote_size=size, note="drill"
            )
        )

    async def sell(self, product: str, size: Decimal | None) -> str:
        """Enters a SELL, of the whole position if no size is named."""
        request = bridge.CreateRecommendationRequest(
            request_id=new_id(), product_id=product, side="SIDE_SELL", note="drill"
        )
        if size is not None:
            request.base_size.value = f"{size:f}"
        return await self._enter(request)

    async def _enter(self, request: bridge.CreateRecommendationRequest) -> str:
        stub = bridge_grpc.BridgeServiceStub(self._channel(services.BRIDGE))
        try:
            answer = await answered(stub.CreateRecommendation, request, _ENTER_SECONDS)
        except grpc.aio.AioRpcError as error:
            return f"refused: {error.details()}"
        except NotAnswered as error:
            return f"not entered: {error}"
        return str(answer.record.recommendation.recommendation_id)

    async def stop(self, state: str, note: str) -> float:
        """Stops trading as `mesh halt` does; gives the monotonic second from which it is in force, whoever is dead.

        The halt file holds by itself; this tells the executor as well, until it answers.
        """
        await asyncio.to_thread(halt_file.write, self._mesh.plan.home.halt_file, Halt(TradingState(state), note))
        in_force = time.monotonic()
        await self._turn_executor(state, note)
        return in_force

    async def stop_by_command(self, state: str) -> float:
        """The same by `mesh halt` itself; in force at the latest when it has ended."""
        words = ["halt", "--note", "drill", *(["--reducing"] if state == "REDUCING" else [])]
        ended = await asyncio.to_thread(run_mesh, self._environment, *words, seconds=SWITCH_SECONDS)
        in_force = time.monotonic()
        # 1: somebody did not answer, and it is in force all the same.
        if ended.returncode not in (0, 1):
            raise NotAnswered(f"mesh halt ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
        return in_force

    async def resume(self, note: str) -> None:
        """Trades again as `mesh resume` does; returns with the answers. NotAnswered."""
        await self._turn_risk("ACTIVE", note)
        await self._turn_executor("ACTIVE", note)

    async def _turn_executor(self, state: str, note: str) -> None:
        stub = executor_grpc.ExecutorServiceStub(self._channel(services.EXECUTOR))
        request = executor.SetTradingStateRequest(request_id=new_id(), state=f"TRADING_STATE_{state}", note=note)
        await answered(stub.SetTradingState, request, SWITCH_SECONDS)

    async def _turn_risk(self, state: str, note: str) -> None:
        stub = risk_grpc.RiskServiceStub(self._channel(services.RISK))
        request = risk.SetTradingStateRequest(request_id=new_id(), state=f"TRADING_STATE_{state}", note=note)
        await answered(stub.SetTradingState, request, SWITCH_SECONDS)

    def _channel(self, service: services.ServiceName) -> grpc.aio.Channel:
        if service.name not in self._channels:
            address = self._mesh.plan.ports.address(service)
            self._channels[service.name] = operator_channel(self._mesh.plan.home, address, *_OPTIONS)
        return self._channels[service.name]
