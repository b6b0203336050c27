"""What two Envoys add to a call is measured and shown, and judged by nobody: the machine is shared by all tests."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from envoy_mesh.latency import measured
from envoy_mesh.plan import HOST
from envoy_mesh.replayed import ReplayedMesh

from meshkit.forwarded import HEADER
from meshkit.policy import OPERATOR
from meshkit.spiffe import SpiffeNames
from tradekit.services import VALIDATOR
from trading.validator.v1 import validator_service_pb2 as pb
from trading.validator.v1 import validator_service_pb2_grpc as pb_grpc

ROUNDS = 200


async def test_the_latency_that_two_envoys_add_is_shown(
    mesh: ReplayedMesh, record_property: Callable[[str, object], None]
) -> None:
    # Past its sidecar the service believes this test, as both are on the same machine.
    as_operator = ((HEADER, f"URI={SpiffeNames().id_of(OPERATOR)}"),)
    outbound = mesh.sidecars.outbound(OPERATOR)[VALIDATOR.name]
    async with (
        grpc.aio.insecure_channel(f"{HOST}:{mesh.app(VALIDATOR)}") as app,
        grpc.aio.insecure_channel(f"{HOST}:{outbound}") as sidecar,
    ):
        direct, through = (pb_grpc.ValidatorServiceStub(channel) for channel in (app, sidecar))
        found = await measured(
            lambda: direct.GetReviewer(pb.GetReviewerRequest(), timeout=20, metadata=as_operator),
            lambda: through.GetReviewer(pb.GetReviewerRequest(), timeout=20),
            ROUNDS,
        )
    assert len(found.direct) == len(found.mesh) == ROUNDS
    record_property("GetReviewer", str(found))
