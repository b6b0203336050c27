"""The stream of validations: items and their faults, credit, and how it must open."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from meshkit.errors import MeshError, from_rpc_error
from svc_validator.service import STREAM_CREDIT
from tests.support.arriving import Arriving
from tests.support.stored import store_recommendation
from tests.validator.validator_cases import entry
from tests.validator.validator_ollama import MODEL, stand_in
from tests.validator.validator_world import (
    request_of,
    until_fit,
    validator,
)
from tradekit.recommendation import Recommendation
from trading.common.v1 import error_pb2, stream_pb2
from trading.validator.v1 import validator_service_pb2 as pb


def opening(credit: int) -> pb.StreamValidationsRequest:
    return pb.StreamValidationsRequest(open=pb.StreamValidationsOpen(client="test", max_in_flight=credit))


def item(recommendation: Recommendation) -> pb.StreamValidationsRequest:
    return pb.StreamValidationsRequest(item=request_of(recommendation))


async def rest_of(call: Any) -> list[pb.StreamValidationsResponse]:
    found = []
    while (frame := await call.read()) is not grpc.aio.EOF:
        found.append(frame)
    return found


async def test_the_stream_answers_items_and_faults_alike(database):
    bad = item(entry())
    bad.item.recommendation.product_id = "?"
    nameless = item(entry())
    nameless.item.request_id = ""
    good = [item(await store_recommendation(database.engine, entry())) for _ in range(3)]
    async with validator(database) as stub:
        call = Arriving(stub.StreamValidations())
        await call.write(opening(256))
        opened = await call.read()
        for frame in (pb.StreamValidationsRequest(heartbeat=stream_pb2.Heartbeat()), bad, nameless, *good):
            await call.write(frame)
        await call.done_writing()
        answers = await rest_of(call)
    assert opened.opened.max_in_flight == STREAM_CREDIT
    errors = [frame.item_error for frame in answers if frame.HasField("item_error")]
    reviewed = {frame.answer.request_id for frame in answers if frame.HasField("answer")}
    assert {error.request_id for error in errors} == {bad.item.request_id, ""}
    assert {error.reason for error in errors} == {error_pb2.ERROR_REASON_INVALID_REQUEST}
    assert reviewed == {frame.item.request_id for frame in good}


async def test_items_beyond_the_credit_are_item_errors(database):
    given = {"ollama_model": MODEL}
    async with stand_in() as ollama, validator(database, ollama_host=ollama.url, **given) as stub:
        await until_fit(stub)
        ollama.delay = 0.5
        call = Arriving(stub.StreamValidations())
        await call.write(opening(2))
        assert (await call.read()).opened.max_in_flight == 2
        for _ in range(5):
            await call.write(item(await store_recommendation(database.engine, entry())))
        await call.done_writing()
        answers = await rest_of(call)
    refused = [frame.item_error.reason for frame in answers if frame.HasField("item_error")]
    assert refused == [error_pb2.ERROR_REASON_CREDIT_EXCEEDED] * 3
    assert sum(frame.HasField("answer") for frame in answers) == 2
    assert ollama.most_at_once == 1


@pytest.mark.parametrize("first", [opening(0), opening(1000), item(entry())])
async def test_a_stream_must_open_properly(database, first):
    async with validator(database) as stub:
        call = Arriving(stub.StreamValidations())
        await call.write(first)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
            await call.read()
    assert isinstance(from_rpc_error(caught.value), MeshError)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
