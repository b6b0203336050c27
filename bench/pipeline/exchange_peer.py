"""The simulated exchange alone: how many orders a second the project's own client makes there and reads again.

A simulator of its own, with the key of the mesh's: orders at the mesh's exchange would be somebody else's to its ledger.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from uuid import uuid4

from bench.pipeline.bursts import burst_and_alone
from bench.pipeline.mesh import DEPOSIT, PRODUCTS, BenchFailed
from bench.pipeline.processes import beside
from cli.plan import SIMULATOR, MeshPlan
from cli.stack import write_simulator_keys
from exchange_client import Accepted, Exchange, ExchangeUnavailable, OrderTerms
from exchange_client.adapters import open_exchange
from exchange_client.config import ExchangeConfig
from supervisor.home import MeshHome
from supervisor.ports import free_ports
from supervisor.python_process import ROOT, python_environment, run_module
from supervisor.unit import ProcessSpec
from tradekit.states import Side
from tradekit.units import ProductId, QuoteSize

START_SECONDS = 60.0
_SIZE = QuoteSize(Decimal(12))


def _plan(plan: MeshPlan, folder: Path) -> MeshPlan:
    """The mesh's plan with an exchange of its own folder and port, and enough money."""
    ports = replace(plan.ports, simulator=free_ports(1)[0])
    inherited = {**plan.inherited, "SIM_OPENING_USD": DEPOSIT}
    return replace(plan, home=MeshHome.at(folder), ports=ports, inherited=inherited)


@contextmanager
def own_exchange(plan: MeshPlan, folder: Path) -> Iterator[ExchangeConfig]:
    """A simulated exchange beside the mesh's."""
    folder.mkdir(mode=0o700)
    own = _plan(plan, folder)
    write_simulator_keys(own)
    spec = ProcessSpec(
        name=SIMULATOR,
        argv=run_module("exchange_sim"),
        env=python_environment(own.simulator_environment()),
        cwd=ROOT,
    )
    with beside(folder, [spec]):
        end = time.monotonic() + START_SECONDS
        while not own.simulator_ca.exists():
            if time.monotonic() > end:
                raise BenchFailed(f"the second simulated exchange has not started in {START_SECONDS:g} s")
            time.sleep(0.1)
        yield config_of(own)


def config_of(plan: MeshPlan) -> ExchangeConfig:
    """The client as the executor has it, without a limit of its own that would be measured instead."""
    return ExchangeConfig(
        host=plan.simulator_host,
        ca_file=plan.simulator_ca,
        key_file=plan.keys.exchange_api_key,
        private_per_second=100_000,
        public_per_second=100_000,
    )


async def measured(config: ExchangeConfig, items: int, at_once: int) -> tuple[float, list[float]]:
    """Orders per second of a burst, and the seconds of at most 100 alone one after the other; each made and read again."""
    exchange = await open_exchange(config)
    try:
        await _answering(exchange)
        return await burst_and_alone(partial(_order, exchange), range(items), at_once, range(min(items, 100)))
    finally:
        await exchange.close()


async def _answering(exchange: Exchange) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            await exchange.market_time()
            return
        except ExchangeUnavailable:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


async def _order(exchange: Exchange, number: int) -> None:
    product = ProductId(PRODUCTS[number % len(PRODUCTS)])
    body = exchange.body_of(OrderTerms(uuid4(), product, Side.BUY, _SIZE))
    outcome = await exchange.create_order(body.encode(), born=exchange.wall_seconds())
    if not isinstance(outcome, Accepted):
        raise BenchFailed(f"the simulated exchange did not take an order: {outcome}")
    if await exchange.order(outcome.exchange_order_id) is None:
        raise BenchFailed(f"the simulated exchange does not show order {outcome.exchange_order_id}")
