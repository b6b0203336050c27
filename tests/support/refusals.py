"""A call that must be refused, and what a client of the mesh learns from the refusal."""

from typing import Any

import grpc
import pytest

from meshkit.errors import MeshError, from_rpc_error


async def refused(call: Any) -> MeshError:
    """What a call is refused with; a stream is read until then."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    return from_rpc_error(caught.value)
