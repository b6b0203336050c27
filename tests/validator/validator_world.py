"""A validator over a real gRPC socket and a real database, how it is asked and what it stored."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from grpc_health.v1 import health_pb2
from identities import identities, token_settings
from sqlalchemy import select

from meshkit import lifecycle
from meshkit.errors import from_rpc_error
from meshkit.identity import everyone_is_operator
from schema.recommendations import llm_validation
from svc_validator.build import build
from svc_validator.settings import ValidatorSettings
from tests.support.stored import store_recommendation
from tradekit.recommendation import Recommendation
from tradekit.states import Side
from tradekit.wire import recommendation_message
from trading.validator.v1 import validator_service_pb2 as pb
from trading.validator.v1 import validator_service_pb2_grpc as pb_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@contextlib.asynccontextmanager
async def validator(database: Any, **given: Any) -> AsyncIterator[Any]:
    values = {"port": 0, **database.settings_of("validator")}
    with tempfile.TemporaryDirectory() as folder:
        # A venue with real money serves only authenticated callers; this test does not check callers.
        live = given.get("venue") == "LIVE"
        proven = token_settings(identities(Path(folder)), "validator") if live else {}
        settings = ValidatorSettings(**{**values, "drain_seconds": 1.0, "ollama_host": None, **proven, **given})
        service = await lifecycle.create(settings, build, identity=everyone_is_operator)
    started = asyncio.Event()
    running = asyncio.ensure_future(service.run(lambda _: started.set()))
    await started.wait()
    with contextlib.suppress(TimeoutError):  # where a test has no database for it
        async with asyncio.timeout(10):
            while not service.health.serving(""):
                await asyncio.sleep(0.01)
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{service.port}")
    try:
        stub = pb_grpc.ValidatorServiceStub(channel)
        stub.port, stub.engine = service.port, database.engine
        yield stub
    finally:
        await channel.close()
        service.stop()
        assert await running == 0


def request_of(recommendation: Recommendation, request_id: str | None = None) -> pb.ValidateRecommendationRequest:
    message = recommendation_message(recommendation)
    return pb.ValidateRecommendationRequest(request_id=request_id or str(uuid4()), recommendation=message)


async def ask(stub: Any, recommendation: Recommendation, request_id: str | None = None) -> pb.Validation:
    """Asks about a recommendation that the bridge has stored: this one, unless there is another under its id."""
    if recommendation.side is Side.BUY:
        await store_recommendation(stub.engine, recommendation)
    return await ask_unstored(stub, recommendation, request_id)


async def ask_unstored(stub: Any, recommendation: Recommendation, request_id: str | None = None) -> pb.Validation:
    try:
        return (await stub.ValidateRecommendation(request_of(recommendation, request_id), timeout=10)).validation
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def rows(database: Any) -> list[Any]:
    async with database.engine.connect() as connection:
        return list((await connection.execute(select(llm_validation).order_by(llm_validation.c.review_id))).all())


async def until_fit(stub: Any, fit: bool = True) -> pb.GetReviewerResponse:
    for _ in range(300):
        found = await stub.GetReviewer(pb.GetReviewerRequest())
        if found.self_test_calls and found.fit == fit:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"the self-test did not end with fit={fit}: {found}")


async def until_rows(database: Any, count: int) -> list[Any]:
    for _ in range(300):
        found = await rows(database)
        if len(found) >= count:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"{len(found)} rows, expected {count}")
