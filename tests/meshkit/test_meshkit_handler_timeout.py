"""Items of a work stream hear in time what they waited for: a database that hangs is an outage for them as for calls."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from sqlalchemy import text

from meshkit import database, errors
from meshkit.handler_timeout import ended_after
from tests.meshkit.hanging import db, hanging
from tests.meshkit.toys import bare
from tests.meshkit.workers import Worker, streaming, worker_running

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
TOO_SHORT = (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT")


class Asker(Worker):
    """Asks the database for every item; "turn" one item after the other, "sleep" only sleeps."""

    def __init__(self, toy: Any) -> None:
        super().__init__(toy, credit=8)
        self.turn = database.Turn()

    async def handle(self, frame: Any) -> Any:
        assert self.kit is not None
        if frame.ask.text == "sleep":
            await asyncio.sleep(30)
        elif frame.ask.text == "turn":
            async with self.turn, self.kit.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        else:
            async with self.kit.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        return self.toy.pb.Response(answer=self.toy.pb.Answer(key=frame.ask.key))


def item(toy: Any, key: str, what: str = "", seconds: int = 0) -> Any:
    return toy.pb.Request(ask=toy.pb.Ask(key=key, text=what, count=seconds))


async def test_an_item_that_waits_for_a_hanging_database_hears_so_before_its_time_is_over(
    toy: Any, postgres: Any
) -> None:
    worker = Asker(toy)
    chosen = db(postgres, db_timeout_seconds=30)
    async with worker_running(toy, worker, **chosen) as service, streaming(toy, service.port) as stream:

        async def came_of(key: str, what: str = "") -> tuple[grpc.StatusCode, str]:
            with pytest.raises(errors.MeshError) as found:
                await stream.ask(key, item(toy, key, what, seconds=1), 10)
            return found.value.code, found.value.reason

        assert (await stream.ask("warm", item(toy, "warm"), 5)).answer.key == "warm"
        with hanging(postgres):
            found = await asyncio.gather(
                *(came_of(f"open{n}") for n in range(2)), *(came_of(f"turn{n}", "turn") for n in range(3)),
                came_of("sleep", "sleep"),
            )  # fmt: skip
        assert found == [UNAVAILABLE] * 5 + [TOO_SHORT]
        assert (await stream.ask("after", item(toy, "after", "turn"), 5)).answer.key == "after"


async def test_an_item_has_no_more_time_than_its_stream(toy: Any, postgres: Any) -> None:
    """A client that gives its whole stream a deadline hears of each item before the stream ends."""
    worker = Asker(toy)
    chosen = db(postgres, db_timeout_seconds=30)
    async with worker_running(toy, worker, **chosen) as service, bare(service.port) as channel:
        call = toy.rpc.ToyServiceStub(channel).Work(timeout=2.0)
        await call.write(toy.pb.Request(open=True))
        assert (await call.read()).opened == 8
        with hanging(postgres):
            await call.write(item(toy, "waits"))
            await call.write(item(toy, "sleeps", "sleep"))
            faults = {frame.fault.key: frame.fault for frame in (await call.read(), await call.read())}
            assert (faults["waits"].code, faults["waits"].reason) == (UNAVAILABLE[0].value[0], UNAVAILABLE[1])
            assert (faults["sleeps"].code, faults["sleeps"].reason) == (TOO_SHORT[0].value[0], TOO_SHORT[1])
        call.cancel()


@pytest.mark.parametrize("in_child", [False, True], ids=["own-task", "child-task"])
@pytest.mark.parametrize(
    ("last", "repeatable", "expected"),
    [("turn", True, UNAVAILABLE), ("turn", False, TOO_SHORT), ("elsewhere", True, TOO_SHORT)],
)
async def test_what_work_waited_for_when_its_time_was_over_decides_what_it_is_told(
    in_child: bool, last: str, repeatable: bool, expected: tuple[grpc.StatusCode, str]
) -> None:
    free, taken = database.Turn(), database.Turn() if last == "turn" else asyncio.Lock()
    await taken.acquire()

    async def work() -> None:
        async with free:
            pass  # a wait that is over does not count
        async with taken:
            pytest.fail("nobody gives it back")

    with pytest.raises(errors.MeshError) as found:
        async with ended_after(0.05, 0.06, repeatable=repeatable):
            if not in_child:
                await work()
            async with asyncio.TaskGroup() as group:
                group.create_task(work())
    assert (found.value.code, found.value.reason) == expected
