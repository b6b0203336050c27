"""The same request_id gives the stored answer: once for each caller, also when asked twice at the same moment."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from meshkit.errors import RequestIdReused
from schema.requests import RequestKey, begin_requests, once, store_answers, stored_answer


def key(request_id: UUID, body: str = "a", caller: str = "operator") -> RequestKey:
    return RequestKey("toy", caller, request_id, "Do", body)


class Effects:
    """Counts what was done."""

    def __init__(self) -> None:
        self.count = 0

    async def do(self) -> StringValue:
        self.count += 1
        await asyncio.sleep(0.1)
        return StringValue(value=f"effect {self.count}")


async def ask(database: Any, effects: Effects, asked: RequestKey) -> tuple[str, bool]:
    async with database.engine.begin() as connection:
        answer, new = await once(connection, asked, StringValue, effects.do)
    return answer.value, new


async def test_asked_at_the_same_moment_it_happens_once_and_both_hear_the_same(database: Any) -> None:
    effects, request_id = Effects(), uuid4()
    told = await asyncio.gather(*(ask(database, effects, key(request_id)) for _ in range(4)))
    assert {value for value, _ in told} == {"effect 1"} and effects.count == 1
    assert sorted(new for _, new in told) == [False, False, False, True]
    async with database.engine.connect() as connection:
        again = await stored_answer(connection, key(request_id), StringValue)
        assert again is not None and again.value == "effect 1"
        assert await stored_answer(connection, key(uuid4()), StringValue) is None


async def test_an_id_belongs_to_its_caller_and_to_one_body(database: Any) -> None:
    effects, request_id = Effects(), uuid4()
    await ask(database, effects, key(request_id))
    with pytest.raises(RequestIdReused):
        await ask(database, effects, key(request_id, body="b"))
    assert await ask(database, effects, key(request_id, body="b", caller="bridge")) == ("effect 2", True)


async def test_an_effect_that_fails_leaves_the_id_free(database: Any) -> None:
    effects, request_id = Effects(), uuid4()

    async def fail() -> StringValue:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        async with database.engine.begin() as connection:
            await once(connection, key(request_id), StringValue, fail)
    assert await ask(database, effects, key(request_id)) == ("effect 1", True)


async def test_of_two_bodies_under_one_id_the_first_is_stored_however_they_come(database: Any) -> None:
    """Each batch asks for its ids in its own order, so that two that did not sort them would wait for each other."""
    ids = [uuid4() for _ in range(10)]

    async def take(body: str) -> list[str]:
        async with database.engine.begin() as connection:
            keys = [key(one, body) for one in (ids if body == "a" else reversed(ids))]
            earlier = await begin_requests(connection, keys)
            await asyncio.sleep(0.05)
            new = {one: StringValue(value=body) for one in keys if one.identity not in earlier}
            await store_answers(connection, new)
        return sorted({earlier[one.identity].body if one.identity in earlier else body for one in keys})

    told = await asyncio.gather(take("a"), take("b"), take("a"), take("b"))
    assert told in ([["a"]] * 4, [["b"]] * 4)
    (kept,) = told[0]
    async with database.engine.connect() as connection:
        for one in ids:
            assert await stored_answer(connection, key(one, kept), StringValue) == StringValue(value=kept)
            with pytest.raises(RequestIdReused):
                await stored_answer(connection, key(one, "c"), StringValue)
