"""Signed orders per second of the simulator's processor time, early and late in its life, beside the least that a server of this
kind can do for one.
"""

import argparse
import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import psutil
from rich.console import Console
from rich.table import Table

from exchange_client import Accepted, ExchangeConfig, OrderTerms
from exchange_client.coinbase.client import CoinbaseClient
from exchange_sim.tls import ensure_tls
from supervisor.ports import free_ports
from tradekit.states import Side

WINDOW, EARLY, AT_ONCE = 250, 500, 16
_START_SECONDS = 60.0
_SIZE = Decimal("10.00")


@contextmanager
def running(arguments: list[str], port: int, log: Path) -> Iterator[psutil.Process]:
    """A process that listens on the port; ended afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output)
    try:
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit(f"{' '.join(arguments[:4])} does not listen; it said: {log.read_text()[-500:]}")
                time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _spent(process: psutil.Process) -> float:
    found = process.cpu_times()
    return found.user + found.system


async def create(client: CoinbaseClient, count: int) -> None:
    """So many market orders that buy, some of them at once; exits where one was not accepted."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            terms = OrderTerms(uuid4(), "BTC-USD", Side.BUY, _SIZE)
            outcome = await client.create_order(client.body_of(terms).encode())
            if not isinstance(outcome, Accepted):
                sys.exit(f"an order was not accepted: {outcome}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


async def per_second(config: ExchangeConfig, process: psutil.Process, orders: tuple[int, ...]) -> list[float]:
    """Creations per second of processor time in a window around each of these orders, in their order."""
    found, made = [], 0
    async with CoinbaseClient(config) as client:
        for order in orders:
            await create(client, order - WINDOW // 2 - made)
            before = _spent(process)
            await create(client, WINDOW)
            found.append(WINDOW / (_spent(process) - before))
            made = order + WINDOW // 2
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.exchange_sim", description=__doc__)
    parser.add_argument("--late", type=int, default=10_000, help="the late order")
    late = parser.parse_args().late
    folder = Path(tempfile.mkdtemp(prefix="bench-sim-"))
    port, peer_port = free_ports(2)
    mesh = str(Path(sys.executable).with_name("mesh"))
    asked = [mesh, "sim", "--port", str(port), "--speed", "0", "--cash", "10000000", "--no-throttle"]
    key, tls = folder / "keys" / "coinbase_key_es256.json", folder / "tls"
    try:
        with running([*asked, "--folder", str(folder)], port, folder / "sim.log") as simulator:
            config = _config(port, tls, key)
            sim = asyncio.run(per_second(config, simulator, (EARLY, late)))
            files = ensure_tls(tls)
            bare = [
                sys.executable,
                "-m",
                "bench.exchange_sim.peer",
                str(peer_port),
                str(key),
                str(files.certificate),
                str(files.key),
                str(folder),
            ]
            with running(bare, peer_port, folder / "peer.log") as peer:
                limit = asyncio.run(per_second(_config(peer_port, tls, key), peer, (EARLY,)))[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = Table(title="signed orders created per second of the server's processor time", title_justify="left")
    for column in ("", f"order {EARLY}", f"order {late:,}", "cost, late / early", "cost, ours / least"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("exchange_sim", *(f"{one:,.0f}" for one in sim), f"{sim[0] / sim[1]:.2f}", f"{limit / sim[0]:.2f}")
    table.add_row("a token checked and a row kept, nothing else", f"{limit:,.0f}", "", "", "")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _config(port: int, tls: Path, key: Path) -> ExchangeConfig:
    return ExchangeConfig(
        f"127.0.0.1:{port}", tls / "ca.pem", key, private_per_second=1e6, public_per_second=1e6, total_seconds=30
    )


if __name__ == "__main__":
    main()
