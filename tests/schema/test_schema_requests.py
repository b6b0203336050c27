"""The same request_id gives the stored answer: once for each caller, also when asked twice at the same moment."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from meshkit.errors import RequestIdReused
from schema.requests import RequestKey, claim, is_known, once, stored_answer


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


async def test_an_id_is_claimed_for_one_body_by_who_is_first(database: Any) -> None:
    request_id = uuid4()

    async def take(body: str) -> str:
        async with database.engine.begin() as connection:
            await claim(connection, key(request_id, body))
            await asyncio.sleep(0.1)
        return body

    told = await asyncio.gather(take("a"), take("b"), take("a"), return_exceptions=True)
    kept = [one for one in told if isinstance(one, str)]
    assert len(set(kept)) == 1 and {type(one) for one in told} == {str, RequestIdReused}
    async with database.engine.connect() as connection:
        assert await is_known(connection, key(request_id, kept[0]))
        assert not await is_known(connection, key(uuid4()))
