"""An exit among real processes: everybody but the bridge that takes it, the orchestrator and the executor stands still."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from live_mesh import LiveMesh
from sweep_world import World, ended, new_id

from tradekit import services
from trading.bridge.v1 import bridge_service_pb2 as bridge
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc
from trading.common.v1 import recommendation_pb2

BYSTANDERS = ("risk", "validator", "signal", "market", "monitor")


@contextmanager
def standing_still(mesh: LiveMesh, *names: str) -> Iterator[None]:
    """Stopped, not dead: their connections are open and nobody answers."""
    pids = [mesh.pids()[name] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # it took so long that the supervisor started it anew
                os.kill(pid, signal.SIGCONT)


async def test_an_exit_needs_nobody_but_orchestrator_and_executor(world: World) -> None:
    mesh, product = world.mesh, world.mesh.plan.products[1]
    request = bridge.CreateRecommendationRequest(request_id=new_id(), product_id=product, side="SIDE_SELL", note="out")
    with standing_still(mesh, *BYSTANDERS):
        async with mesh.channel(services.BRIDGE) as channel:
            stub: Any = bridge_grpc.BridgeServiceStub(channel)
            made = (await stub.CreateRecommendation(request, timeout=10)).record
            record = await ended(stub, made.recommendation.recommendation_id)
    assert record.state == recommendation_pb2.RECOMMENDATION_STATE_EXECUTED, str(record.reasons)
    query = "SELECT reasons::text FROM recommendation_events WHERE recommendation_id = $1 AND to_state = 'EXECUTING'"
    async with mesh.database() as connection:
        assert "RISK_UNANSWERED" in await connection.fetchval(query, made.recommendation.recommendation_id)
        assert await connection.fetchval("SELECT base_size FROM positions WHERE product_id = $1", product) == 0
        unasked = "SELECT reservation_id IS NULL FROM orders WHERE recommendation_id = $1"
        assert await connection.fetchval(unasked, made.recommendation.recommendation_id)
