"""The locks: what a comparison may rely on, what no order may have to wait for, and who works on an order."""

import asyncio

import pytest

from svc_executor.locks import KeyedLocks, ReadersWriterLock


async def turns(count: int = 20) -> None:
    """Lets every task that can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_readers_share_it_and_a_writer_has_it_alone() -> None:
    lock, leave, inside = ReadersWriterLock(), asyncio.Event(), 0

    async def read() -> None:
        nonlocal inside
        async with lock.shared():
            inside += 1
            await leave.wait()
            inside -= 1

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        group.create_task(read())
        await turns()
        assert inside == 2
        asyncio.get_running_loop().call_soon(leave.set)
        async with lock.alone(60):
            assert inside == 0
            leave.clear()
            late = group.create_task(read())
            await turns()
            assert inside == 0
        await turns()
        assert inside == 1
        leave.set()
        await late


async def test_readers_that_a_writer_held_back_go_on_when_it_gives_up() -> None:
    """However long the reader stays that it waited for: it may be an order that a search keeps busy, they may be exits."""
    lock, leave = ReadersWriterLock(), asyncio.Event()

    async def read() -> None:
        async with lock.shared():
            await leave.wait()

    async def exit_order() -> None:
        async with lock.shared():
            pass

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await turns()
        writer = asyncio.ensure_future(lock.alone(0.05).__aenter__())
        await turns()
        held_back = group.create_task(exit_order())
        await turns()
        assert not held_back.done()
        with pytest.raises(TimeoutError):
            await writer
        async with asyncio.timeout(60):
            await held_back
        leave.set()


async def test_a_held_back_reader_that_is_cancelled_lets_nobody_in() -> None:
    lock, inside = ReadersWriterLock(), []

    async def read(name: str) -> None:
        async with lock.shared():
            inside.append(name)

    async with asyncio.TaskGroup() as group:
        async with lock.alone(60):
            gone, stays = group.create_task(read("gone")), group.create_task(read("stays"))
            await turns()
            gone.cancel()
            await turns()
            assert inside == []
        await stays
    assert inside == ["stays"]


async def test_a_free_moment_is_none_while_a_reader_follows_another_at_once() -> None:
    lock, leave = ReadersWriterLock(), asyncio.Event()

    async def back_to_back() -> None:
        async with lock.shared():
            await turns()
        async with lock.shared():
            await leave.wait()

    reader = asyncio.ensure_future(back_to_back())
    await asyncio.sleep(0)
    free = asyncio.ensure_future(lock.free(60))
    await turns(60)
    assert not free.done()
    leave.set()
    async with lock.alone_if_free_since(await free) as still:
        assert still
    await reader


async def test_a_reader_in_between_ends_the_moment() -> None:
    lock = ReadersWriterLock()
    moment = await lock.free(60)
    async with lock.shared():
        with pytest.raises(TimeoutError):
            await lock.free(0.01)
    async with lock.alone_if_free_since(moment) as still:
        assert not still


async def test_a_reader_lets_another_in_beside_it_while_a_writer_waits_for_both() -> None:
    lock = ReadersWriterLock()

    async def write() -> None:
        async with lock.alone(60):
            pass

    async with lock.shared():
        writer = asyncio.ensure_future(write())
        await turns()
        beside = lock.beside()
        beside.__enter__()
    await turns()
    assert not writer.done()
    beside.__exit__(None, None, None)
    await writer


async def test_a_claim_is_had_at_once_or_not_at_all_and_holds_for_whom_it_is_handed_to() -> None:
    locks = KeyedLocks()
    claim = await locks.claim("a")
    assert claim is not None
    assert "a" in locks
    assert await locks.claim("a") is None
    assert await locks.claim("b") is not None

    async def work() -> None:
        async with locks.hold("a"):
            pass

    async def finish() -> None:
        async with claim.pop_all():
            await turns()

    waiting = asyncio.ensure_future(work())
    await turns()
    assert not waiting.done()
    await asyncio.create_task(finish())
    await waiting
    assert "a" not in locks
