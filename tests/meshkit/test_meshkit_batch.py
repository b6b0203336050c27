"""Calls that come while one is at work go together in the next; each gets its own result."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit import database
from meshkit.batch import Batches, Place
from meshkit.errors import InvalidRequest, Unavailable


class Work:
    """Doubles numbers; notes its batches, and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.outage = False

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        await self.free.wait()
        if self.outage:
            raise database.unavailable()
        if 13 in items:
            raise ZeroDivisionError
        return [ValueError(item) if item < 0 else 2 * item for item in items]


async def started(*calls: "asyncio.Task[int]") -> None:
    for _ in range(3 * len(calls) + 3):
        await asyncio.sleep(0)


async def test_whoever_finds_nobody_goes_at_once_and_the_others_together() -> None:
    work = Work()
    batches = Batches(work, 10)
    work.free.clear()
    first = asyncio.create_task(batches.submit(1))
    await started(first)
    others = [asyncio.create_task(batches.submit(n)) for n in (2, 3)]
    urgent = asyncio.create_task(batches.submit(4, urgent=True))
    await started(*others, urgent)
    work.free.set()
    assert await asyncio.gather(first, *others, urgent) == [2, 4, 6, 8]
    assert work.batches == [[1], [4, 2, 3]]
    assert await batches.submit(5) == 10


async def test_an_item_s_own_error_is_its_own_and_a_poisoned_batch_is_tried_one_by_one() -> None:
    work = Work()
    batches = Batches(work, 10)
    results = await asyncio.gather(*(batches.submit(n) for n in (1, -1, 13, 2)), return_exceptions=True)
    assert results[0] == 2
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], ZeroDivisionError)
    assert results[3] == 4


async def test_an_outage_is_everybody_s_and_is_not_tried_again() -> None:
    work = Work()
    work.outage = True
    batches = Batches(work, 10)
    results = await asyncio.gather(*(batches.submit(n) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    assert work.batches == [[0, 1, 2]]
    work.outage = False
    assert await batches.submit(5) == 10


async def test_what_an_outage_is_and_who_waits_is_the_place_s_own_affair() -> None:
    work = Work()
    batches = Batches(work, 10, Place(lambda error: isinstance(error, ZeroDivisionError), nullcontext))
    results = await asyncio.gather(*(batches.submit(n) for n in (1, 13, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 3
    work.free.clear()
    with database.watched() as noted, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await batches.submit(2)
    assert not noted.cut_at_database


async def test_a_caller_that_gives_up_is_left_out_and_noted_as_waiting_for_the_database() -> None:
    work = Work()
    batches = Batches(work, 10)
    work.free.clear()
    first = asyncio.create_task(batches.submit(1))
    await started(first)
    with database.watched() as noted, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await batches.submit(2)
    assert noted.cut_at_database
    work.free.set()
    assert await first == 2
    assert await batches.submit(3) == 6
    assert work.batches == [[1], [3]]


async def test_a_batch_without_an_answer_holds_up_its_lane_alone() -> None:
    answers: dict[int, asyncio.Future[None]] = {n: asyncio.get_running_loop().create_future() for n in range(1, 6)}
    begun: list[list[int]] = []

    async def work(items: Sequence[int]) -> list[int | Exception]:
        begun.append(list(items))
        await asyncio.gather(*(answers[n] for n in items))
        return list(items)

    batches = Batches(work, 10, lanes=2)
    calls = {}
    for n in answers:
        calls[n] = asyncio.create_task(batches.submit(n))
        await started(calls[n])
    assert begun == [[1], [2]]
    answers[2].set_result(None)
    await started(*calls.values())
    assert begun == [[1], [2], [3, 4, 5]]
    for n in (3, 4, 5):
        answers[n].set_result(None)
    assert await asyncio.gather(*(calls[n] for n in (2, 3, 4, 5))) == [2, 3, 4, 5]
    assert not calls[1].done()
    answers[1].set_result(None)
    assert await calls[1] == 1


async def test_nobody_is_left_waiting_when_the_work_is_cancelled() -> None:
    work = Work()
    batches = Batches(work, 1)
    work.free.clear()
    calls = [asyncio.create_task(batches.submit(n)) for n in range(3)]
    await started(*calls)
    (running,) = (task for task in asyncio.all_tasks() if "_run" in repr(task.get_coro()))
    running.cancel()
    done, waiting = await asyncio.wait(calls, timeout=30)
    assert not waiting
    assert all(call.cancelled() for call in done)


@given(
    st.lists(st.tuples(st.integers(1, 1000).filter(lambda n: n != 13), st.booleans()), max_size=40),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_every_item_is_worked_on_once_and_no_batch_is_larger_than_it_may(
    items: list[tuple[int, bool]], most: int, lanes: int
) -> None:
    async def run() -> None:
        work = Work()
        batches = Batches(work, most, lanes=lanes)
        results = await asyncio.gather(*(batches.submit(n, urgent=urgent) for n, urgent in items))
        assert results == [2 * n for n, _ in items]
        assert sorted(n for batch in work.batches for n in batch) == sorted(n for n, _ in items)
        assert all(len(batch) <= most for batch in work.batches)

    asyncio.run(run())


def test_an_invalid_request_is_no_outage() -> None:
    assert database.as_unavailable(InvalidRequest([])) is None
