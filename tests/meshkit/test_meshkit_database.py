"""The database going away and coming back, under a real PostgreSQL: errors, health, recovery, LISTEN."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import grpc
import pytest
from refusals import refused
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from waiting import eventually

from meshkit import database, errors
from meshkit.background import outlive_outages
from meshkit.kit import Kit
from meshkit.notify import Notifications
from meshkit.serve import Check
from tests.meshkit.hanging import db, hanging
from tests.meshkit.toys import Behaviour, bare, settings, toy_running


def engine_of(postgres: Any, **changes: Any) -> AsyncEngine:
    return database.create_engine(settings(**db(postgres, **changes)))


async def test_the_engine_connects_by_socket_with_utc_and_bounds(postgres: Any) -> None:
    engine = engine_of(postgres)
    async with engine.connect() as connection:
        shown = {
            name: (await connection.execute(text(f"SHOW {name}"))).scalar_one()
            for name in ("timezone", "statement_timeout", "application_name")
        }
    assert shown == {"timezone": "UTC", "statement_timeout": "1s", "application_name": "toy"}
    await engine.dispose()


async def test_slow_statements_and_a_full_pool_are_unavailable_and_faults_of_ours_are_not(postgres: Any) -> None:
    engine = engine_of(postgres, db_timeout_seconds=0.3, db_pool_size=1)
    async with engine.connect() as held:
        with pytest.raises(errors.Unavailable, match="became free"):
            async with engine.connect():
                pass
        with pytest.raises(errors.Unavailable) as slow:
            await held.execute(text("SELECT pg_sleep(20)"))
        assert slow.value.reason == "DATABASE_UNAVAILABLE"
    async with engine.connect() as connection:
        with pytest.raises(exc.ProgrammingError) as wrong:
            await connection.execute(text("SELECT nonsense"))
        assert database.as_unavailable(wrong.value) is None
    await engine.dispose()


async def test_a_handlers_own_timeout_is_not_the_databases() -> None:
    with pytest.raises(TimeoutError) as own:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)
    assert database.as_unavailable(own.value) is None


async def test_the_pool_replaces_connections_the_server_ended(postgres: Any) -> None:
    engine, killer = engine_of(postgres), engine_of(postgres, service_name="killer")
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        lent = await driver_of(connection)
    await kill_toy(killer)
    await heard_of_its_end(lent)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        lent = await driver_of(connection)
        await kill_toy(killer)
        await heard_of_its_end(lent)
        with pytest.raises(errors.Unavailable):
            await connection.execute(text("SELECT 1"))
    await engine.dispose()
    await killer.dispose()


async def driver_of(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


async def heard_of_its_end(driver: Any) -> None:
    """The server ends a connection some time after it was told to, and the process hears of it after that."""

    async def closed() -> bool:
        return bool(driver.is_closed())

    await eventually(closed)


async def kill_toy(killer: AsyncEngine) -> int:
    async with killer.connect() as connection:
        ended = await connection.execute(
            text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'toy'")
        )
        return int(ended.scalar_one())


async def test_database_down_is_unavailable_within_the_deadline_and_recovers_without_restart(
    toy: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshkit.health.INTERVAL_SECONDS", 0.1)

    async def reads(request: Any, context: Any) -> Any:
        async with service.kit.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return toy.pb.Answer(key="read")

    def healthy() -> bool:
        return service.health.serving("")

    async def proves() -> None:
        await service.kit.check_database()

    spec = {"ready": [Check("store", proves)]}
    behaviour = Behaviour(read=reads)
    async with (
        toy_running(toy, behaviour, spec=spec, **db(postgres)) as service,
        bare(service.port) as ch,
        contextlib.AsyncExitStack() as stack,
    ):
        stub = toy.rpc.ToyServiceStub(ch)
        wakeup = await stack.enter_async_context(service.kit.notifications.subscribe("toy_rows"))
        await eventually(healthy)
        assert (await stub.Read(toy.pb.Ask(), timeout=3)).key == "read"
        await asyncio.to_thread(postgres.stop)
        try:
            for _ in range(3):
                began = time.monotonic()
                with pytest.raises(grpc.aio.AioRpcError) as found:
                    await stub.Read(toy.pb.Ask(), timeout=3)
                error = errors.from_rpc_error(found.value)
                assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
                assert error.retry_after
                assert time.monotonic() - began < 3
            await eventually(lambda: not healthy())
            while await wakeup.wait(0.1):
                pass
        finally:
            await asyncio.to_thread(postgres.ensure_postgres_running)
        await eventually(healthy)
        assert (await stub.Read(toy.pb.Ask(), timeout=3)).key == "read"
        assert await wakeup.wait(5), "LISTEN came back too"
        assert not service.stopped


@pytest.mark.parametrize("warm", [True, False], ids=["open-connection", "no-connection"])
async def test_a_database_that_hangs_is_unavailable_when_the_callers_time_is_over(
    toy: Any, postgres: Any, warm: bool
) -> None:
    async def asks(request: Any, context: Any) -> Any:
        async with service.kit.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return toy.pb.Answer(key="read")

    async def sleeps(request: Any, context: Any) -> Any:
        await asyncio.sleep(30)

    handlers = Behaviour(read=asks)
    async with toy_running(toy, handlers, **db(postgres, db_timeout_seconds=30)) as service, bare(service.port) as ch:
        stub = toy.rpc.ToyServiceStub(ch)
        if warm:
            assert (await stub.Read(toy.pb.Ask(), timeout=5)).key == "read"
        with hanging(postgres):
            for call in (stub.Capped(toy.pb.Ask(), timeout=30), stub.Read(toy.pb.Ask(), timeout=2.5)):
                error = await refused(call)
                assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
            error = await refused(stub.Once(toy.pb.Ask(), timeout=1.0))
            assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED, "its effect is in doubt"
            handlers.read = sleeps
            error = await refused(stub.Capped(toy.pb.Ask(), timeout=30))
            assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED, "nobody waited for the database"
            handlers.read = asks
        assert (await stub.Read(toy.pb.Ask(), timeout=5)).key == "read"


async def test_listen_wakes_coalesces_and_comes_back_after_a_break(postgres: Any) -> None:
    chosen = settings(**db(postgres))
    killer = engine_of(postgres, service_name="killer")
    kit: Kit[Any] = Kit(chosen)
    notifications: Notifications = kit.notifications
    task = asyncio.ensure_future(notifications.run())

    async def notify(times: int = 1) -> None:
        async with killer.begin() as connection:
            for n in range(times):
                await connection.execute(text(f"NOTIFY toy_rows, '{n}'"))

    async with notifications.subscribe("toy_rows") as wakeup:
        while await wakeup.wait(0.5):  # woken by joining and by LISTEN taking hold
            pass
        await notify(times=3)
        assert await wakeup.wait(5)
        assert not await wakeup.wait(0.2), "many notifications are one wake-up"
        assert await kill_toy(killer) == 1
        assert await wakeup.wait(5), "a reconnect wakes, because something may have been missed"
        while await wakeup.wait(0.3):
            pass
        await notify()
        assert await wakeup.wait(5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kit.close()
    await killer.dispose()


async def test_channels_share_one_connection_and_leave_when_nobody_listens(postgres: Any) -> None:
    kit: Kit[Any] = Kit(settings(**db(postgres)))
    watcher = engine_of(postgres, service_name="watcher")
    task = asyncio.ensure_future(kit.notifications.run())

    async def connections() -> int:
        async with watcher.connect() as connection:
            found = await connection.execute(
                text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'toy'")
            )
            return int(found.scalar_one())

    async with kit.notifications.subscribe("one") as one, kit.notifications.subscribe("two") as two:
        assert await one.wait(5)
        assert await two.wait(5)
        while await one.wait(0.3):
            pass
        async with watcher.begin() as connection:
            await connection.execute(text("NOTIFY one"))
        assert await one.wait(5)
        assert await connections() == 1
    with pytest.raises(ValueError, match="no channel name"):
        kit.notifications.subscribe("one; DROP TABLE x")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kit.close()
    await watcher.dispose()


async def test_who_waits_for_some_news_of_a_channel_is_not_woken_by_other(postgres: Any) -> None:
    kit: Kit[Any] = Kit(settings(**db(postgres)))
    task = asyncio.ensure_future(kit.notifications.run())
    sender = engine_of(postgres, service_name="sender")
    async with kit.notifications.subscribe("news", ("mine",)) as some, kit.notifications.subscribe("news") as every:
        for wakeup in (some, every):
            assert await wakeup.wait(5), "the first look is everybody's"
            while await wakeup.wait(0.3):
                pass
        for payload, woken in (("other", False), ("", False), ("mine", True)):
            async with sender.begin() as connection:
                await connection.execute(text("SELECT pg_notify('news', :payload)"), {"payload": payload})
            assert await every.wait(5)
            assert await some.wait(0.0) is woken, payload
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kit.close()
    await sender.dispose()


async def test_a_loop_outlives_outages_and_nothing_else() -> None:
    kit: Kit[Any] = Kit(settings())
    left: list[Exception] = [errors.Unavailable("DATABASE_UNAVAILABLE", "away"), ValueError("a defect")]

    async def body() -> None:
        raise left.pop(0)

    with pytest.raises(ValueError, match="defect"):
        await outlive_outages("loop", body, kit).run()
    assert not left
    await kit.close()


async def test_a_busy_pool_does_not_look_like_an_outage(postgres: Any) -> None:
    kit: Kit[Any] = Kit(settings(**db(postgres, db_pool_size=1)))
    async with kit.engine.connect() as held:
        await held.execute(text("SELECT 1"))
        await asyncio.wait_for(kit.check_database(), 1)
    await kit.close()
