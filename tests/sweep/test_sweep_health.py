"""What services say of themselves: nothing before it is proven, and everything by its name."""

import grpc
import pytest
from generic_client import outcome_of
from grpc_health.v1 import health_pb2, health_pb2_grpc
from live_mesh import LIVE, NOT_SERVING, SERVING, LiveMesh, check, health_names

from tradekit import services
from tradekit.services import SERVICES, ServiceName

UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
# The monitor tells what it sees from memory, so it serves without a database too.
DATABASE_NEEDED = [one for one in SERVICES if one is not services.MONITOR]


@pytest.mark.parametrize("service", DATABASE_NEEDED, ids=lambda one: one.name)
def test_nothing_serves_before_it_is_proven(mesh: LiveMesh, service: ServiceName):
    """All names were there from the first answer on; while the database was away only `live` said SERVING."""
    said = {name: mesh.before_proven[service.name, name] for name in health_names(service)}
    assert said.pop(LIVE) == {SERVING}
    assert set(map(frozenset, said.values())) == {frozenset({NOT_SERVING})}, said


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
async def test_every_name_is_there_and_no_other(mesh: LiveMesh, service: ServiceName):
    for name in ("", LIVE, service.full_name):
        assert await mesh.health(service, name) == SERVING, name
    assert await mesh.health(service, f"{service.full_name}/entries") in (SERVING, NOT_SERVING)
    async with mesh.channel(service) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(channel, "trading.nothing.v1.NothingService")
        assert outcome_of(caught.value).code == "NOT_FOUND"
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="nothing"))
        assert (await watch.read()).status == UNKNOWN
        watch.cancel()


async def test_a_model_that_is_missing_closes_entries_only(mesh: LiveMesh):
    name = services.SIGNAL.full_name
    assert await mesh.health(services.SIGNAL, name) == SERVING
    assert await mesh.health(services.SIGNAL, f"{name}/entries") == NOT_SERVING
