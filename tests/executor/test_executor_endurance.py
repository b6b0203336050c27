"""What must not take the way out with it: odd answers of the exchange, work without a pause, two who write at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog

from exchange_client import ExchangeUnavailable
from exchange_client.coinbase.client import CoinbaseClient
from meshkit.errors import FailedPrecondition, InvalidRequest
from meshkit.kit import Kit
from svc_executor.driver import OrderDriver
from svc_executor.exchange_clock import ExchangeClock
from svc_executor.fees import FeeKeeper
from svc_executor.locks import ReadersWriterLock
from svc_executor.product_rules import ProductRules
from svc_executor.reconciler import Reconciler
from svc_executor.trading_switch import TradingSwitch
from tests.executor.issuer import Issuer, recommend, running, settings_of
from tests.executor.selling import bought, rest_sell, without_ticket
from tests.executor.venue import FaultProxy
from tradekit import halt_file
from tradekit.halt_file import Halt
from tradekit.states import Side, TradingState
from trading.executor.v1 import executor_service_pb2 as pb

LOG = structlog.get_logger()


async def test_an_order_of_somebody_else_that_nobody_understands_ends_no_pass(
    environ: dict[str, str], issuer: Issuer, proxy: FaultProxy
) -> None:
    async with running(environ) as executor:
        order = await bought(executor, issuer)
        held = order.filled_size.value
        far = f"{Decimal('1.2') * Decimal(order.filled_value.value) / Decimal(held):.2f}"
        async with CoinbaseClient(settings_of(environ).exchange_config()) as exchange:
            other = await rest_sell(exchange, "BTC-USD", Decimal("0.0001"), far)
            proxy.shown = lambda order: order.update(side="UNKNOWN_ORDER_SIDE") if order["order_id"] == other else None
            compared = await executor.reconcile()
            assert other not in [one.exchange_order_id for one in compared.foreign_orders]
            assert compared.orders_unknown == 0
            await exchange.cancel_orders([other])
        proxy.shown = None
        sold = await executor.execute(await without_ticket(issuer, recommend(Side.SELL, held)))
        assert sold.state == pb.ORDER_STATE_FILLED


@contextlib.asynccontextmanager
async def reconciling(environ: dict[str, str]) -> AsyncIterator[tuple[Reconciler, ReadersWriterLock]]:
    """A reconciler without a service around it, and the lock that work shares."""
    settings = settings_of(environ)
    kit = Kit(settings)
    lock = ReadersWriterLock()
    async with CoinbaseClient(settings.exchange_config()) as exchange:
        driver = OrderDriver(
            kit.engine, kit.dedicated(), exchange, lock, TradingSwitch(kit, None), settings.absence, kit.log
        )
        try:
            fees = FeeKeeper(kit.engine, exchange, None, kit.clock, kit.log)
            yield Reconciler(settings, kit, exchange, driver, lock, fees), lock
        finally:
            await kit.close()


async def test_work_that_never_pauses_is_held_back_for_a_comparison(environ: dict[str, str]) -> None:
    async with reconciling(environ) as (reconciler, lock):

        async def work() -> None:
            while True:
                async with lock.shared():
                    await asyncio.sleep(0.3)

        workers = []
        for _ in range(3):
            workers.append(asyncio.ensure_future(work()))
            await asyncio.sleep(0.1)
        try:
            assert (await reconciler.reconcile()).clean
        finally:
            for worker in workers:
                worker.cancel()


class Exchange:
    """An exchange whose rules of a product can be known, hang, or not be there, and whose time takes a while."""

    def __init__(self) -> None:
        self.fault = ""
        self.times = 0

    async def products(self, wanted: list[str]) -> list[str]:
        if self.fault == "hang" and wanted != ["DOGE-USD"]:
            await asyncio.Event().wait()
        if self.fault == "down":
            raise ExchangeUnavailable("products", "down")
        return [] if self.fault == "unknown" else [f"{wanted[0]} {self.fault}"]

    async def market_time(self) -> datetime:
        self.times += 1
        await asyncio.sleep(0.05)
        return datetime(2025, 1, 1, tzinfo=UTC)


async def test_old_rules_serve_an_exit_and_no_product_waits_for_another() -> None:
    exchange, now = Exchange(), [0.0]
    rules: Any = ProductRules(exchange, LOG, lambda: now[0])  # type: ignore[arg-type]
    known = await rules.of("BTC-USD", Side.BUY)
    now[0] = 301.0
    exchange.fault = "down"
    assert await rules.of("BTC-USD", Side.SELL) == known
    with pytest.raises(ExchangeUnavailable):
        await rules.of("BTC-USD", Side.BUY)
    exchange.fault = "hang"
    stuck = asyncio.ensure_future(rules.of("BTC-USD", Side.BUY))
    await asyncio.sleep(0)
    assert await rules.of("DOGE-USD", Side.SELL) == "DOGE-USD hang"
    stuck.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stuck
    assert await rules.of("BTC-USD", Side.SELL) == known
    exchange.fault = "unknown"
    with pytest.raises(InvalidRequest):
        await rules.of("ETH-USD", Side.SELL)


async def test_every_first_send_of_one_moment_knows_the_exchanges_time() -> None:
    exchange = Exchange()
    clock = ExchangeClock(exchange, LOG, lambda: 0.0)  # type: ignore[arg-type]
    assert None not in await asyncio.gather(*(clock.past() for _ in range(5)))
    assert exchange.times == 1


async def test_a_resume_that_a_halt_overtook_leaves_no_moment_without_it(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Between the database's having the halt and this process's knowing that it has, the file still holds it."""
    file = tmp_path / "halt.json"
    kit = Kit(settings_of(environ))
    switch = TradingSwitch(kit, file)
    seen: list[TradingState | None] = []
    forget = switch._forget

    def watched(taken: Iterable[Halt]) -> list[Path]:
        seen.append(switch.in_force().stored)
        left = forget(taken)
        seen.append(switch.in_force().state)
        return left

    async def remember(connection: Any, before: TradingState) -> TradingState:
        return before

    try:
        await switch._read()
        known = switch.known()
        halt_file.write(file, Halt(TradingState.HALTED, "newer"))
        switch._forget = watched  # type: ignore[method-assign]
        with pytest.raises(FailedPrecondition):
            await switch.loosen(TradingState.ACTIVE, "older", known, remember)
    finally:
        await kit.close()
    assert seen == [TradingState.HALTED, TradingState.HALTED]
    assert switch.in_force().state is TradingState.HALTED and not halt_file.pending(file)


def test_of_two_that_write_at_once_the_stricter_stays(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        for number in range(200):
            file = tmp_path / str(uuid4()) / "halt.json"
            file.parent.mkdir()
            orders = [Halt(TradingState.REDUCING, f"{number}"), Halt(TradingState.HALTED, f"{number}")]
            list(threads.map(lambda halt, file=file: halt_file.write(file, halt), orders))
            assert TradingState.HALTED in [halt.state for halt in halt_file.pending(file).values()]


def test_what_was_put_there_meanwhile_is_not_thrown_away(tmp_path: Path) -> None:
    file = tmp_path / "halt.json"
    older = halt_file.write(file, Halt(TradingState.HALTED, "older"))
    newer = halt_file.write(file, Halt(TradingState.HALTED, "newer"))
    assert halt_file.discard(file, older) and halt_file.read(file) == newer
    assert halt_file.discard(file, newer) and halt_file.read(file) is None
