"""Which positions nothing but this mesh watches, in words: with the mesh down, nobody sells them at their stop.

Only told, and only by an executor that answers at once: it keeps nobody from going down.
"""

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext

import grpc

from cli.calls import channel_to
from cli.exits import CommandFailed
from cli.instance_file import Instance, read_instance
from meshkit.errors import MeshError
from supervisor.home import MeshHome
from tradekit import ids, services
from tradekit.decimals import CONTEXT, ZERO, plain
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as rpc

_DEADLINE_SECONDS = 1.5


def only_watched_here(home: MeshHome) -> list[str]:
    """A sentence for each such position; none where the executor does not say."""
    try:
        instance = read_instance(home)
        return [] if instance is None else asyncio.run(_ask(instance))
    except (CommandFailed, MeshError, grpc.aio.AioRpcError, TimeoutError, OSError):
        return []


async def _ask(instance: Instance) -> list[str]:
    async with asyncio.timeout(_DEADLINE_SECONDS), channel_to(instance, services.EXECUTOR) as channel:
        executor = rpc.ExecutorServiceStub(channel)
        held = await executor.ListPositions(pb.ListPositionsRequest(), timeout=_DEADLINE_SECONDS)
        positions = [one for one in held.positions if Decimal(one.base_size.value or 0) > 0]
        if not positions:
            return []
        orders = [order for one in positions for order in one.orders]
        # Only where they do not show by themselves that something is watched.
        shown = any(one.state == pb.ORDER_STATE_WAITING or one.HasField("exit_time") for one in orders)
        return list(sentences(positions, trails=bool(orders) and not shown and await _watches(executor)))


async def _watches(executor: rpc.ExecutorServiceStub) -> bool:
    """Whether a price or a time is watched by the executor: a trailing stop shows in no order. Asking makes it look once more, as
    it does by itself all the time; where that takes long, what the orders show is told."""
    request = pb.ProtectPositionsRequest(request_id=str(ids.new_request_id()))
    try:
        answer = await executor.ProtectPositions(request, timeout=_DEADLINE_SECONDS / 2)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.watches)


def sentences(positions: Sequence[pb.Position], *, trails: bool) -> Iterator[str]:
    """`trails`: whether it is known that the executor follows a trailing stop."""
    waiting = {one.product_id: _waiting(one) for one in positions}
    timed = {one.product_id for one in positions if any(order.HasField("exit_time") for order in one.orders)}
    for one in positions:
        name, held = one.product_id, one.base_size.value
        if waiting[name]:
            part = f"{held} held" if waiting[name] >= Decimal(held) else f"{plain(waiting[name])} of {held} held"
            yield (
                f"{name}: {part}; its stop is watched by this mesh alone and rests nowhere: nothing sells it while the mesh is "
                "down"
            )
        elif one.orders and (trails or name in timed):
            what = "trailing stop" if trails else "time limit, as any trailing stop,"
            yield (
                f"{name}: {held} held; its stop and target rest at the exchange, its {what} is watched by this mesh alone: "
                "nothing sells it by that while the mesh is down"
            )


def _waiting(position: pb.Position) -> Decimal:
    """What orders that wait at the executor would sell."""
    left = (Decimal(one.left_size.value) for one in position.orders if one.state == pb.ORDER_STATE_WAITING)
    with localcontext(CONTEXT):
        return sum(left, ZERO)
