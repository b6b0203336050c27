"""What `mesh up` says and asks about coins that are in the account and are not the mesh's own.

They are adopted only on an answer: `--adopt`, or a line typed at the terminal of the first start. Nothing is ever sold
without one.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from cli.calls import channel_to
from cli.exits import CommandFailed, ExitCode
from cli.instance_file import Instance
from tradekit import ids, services
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as rpc
from trading.executor.v1 import ledger_pb2

ALL, NONE = "all", "none"
_LIST = re.compile(r"[A-Za-z0-9]{1,12}(\s*,\s*[A-Za-z0-9]{1,12})*")
_SECONDS = 60.0
_OPENED_SECONDS = 20.0
_ANSWER_SECONDS = 600.0


def check_choice(text: str) -> str:
    """A choice as typed. Raises CommandFailed for one that is none."""
    choice = text.strip()
    if choice.lower() in (ALL, NONE):
        return choice.lower()
    if _LIST.fullmatch(choice):
        return ",".join(part.strip().upper() for part in choice.split(","))
    raise CommandFailed(f"--adopt {text} is not all, none or a list", "say --adopt BTC,ETH", ExitCode.USAGE)


@dataclass(frozen=True, slots=True)
class AdoptionChoice:
    """What was chosen beforehand, None for nothing; and whether somebody sits there who can be asked."""

    choice: str | None
    ask: bool


async def settle(instance: Instance, adoption: AdoptionChoice, say: Callable[[str], None]) -> None:
    """Says what is there, asks where it may, and adopts what was chosen. Raises CommandFailed where that is refused."""
    choice = adoption.choice
    there = await _unadopted(instance)
    if not there:
        if choice not in (None, NONE):
            why = (
                "the executor does not say what is there yet" if there is None else "all coins there are the mesh's own"
            )
            say(f"--adopt {choice}: nothing was adopted, as {why}; `mesh ledger adopt` does it later")
        return
    held = ", ".join(f"{amount} {currency}" for currency, amount in there.items())
    say(f"in the account and not the mesh's own: {held}. It is shown and never sold.")
    if choice is None and adoption.ask:
        say("Adopt it as positions that the mesh may sell? Type all, none, or a list such as BTC,ETH:")
        choice = await _typed()
    if choice in (None, "", NONE):
        say("nothing is adopted; `mesh ledger adopt BTC` does it later")
        return
    await _adopt(instance, check_choice(choice or NONE), say)


async def _unadopted(instance: Instance) -> dict[str, str] | None:
    """By currency; waits until the ledger is opened. None where the executor does not say it in time."""
    try:
        async with asyncio.timeout(_OPENED_SECONDS), channel_to(instance, services.EXECUTOR) as channel:
            stub = rpc.ExecutorServiceStub(channel)
            while True:
                if (await stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=5)).HasField("open_time"):
                    break
                await asyncio.sleep(0.5)
            answer = await stub.ListPositions(pb.ListPositionsRequest(), timeout=5)
            return {money.currency: money.amount.value for money in answer.unadopted}
    except (grpc.aio.AioRpcError, TimeoutError):
        return None


async def _adopt(instance: Instance, choice: str, say: Callable[[str], None]) -> None:
    names = [] if choice == ALL else choice.split(",")
    request = ledger_pb2.AdoptHoldingsRequest(
        request_id=str(ids.new_request_id()), currencies=names, note="adopted at mesh up"
    )
    async with channel_to(instance, services.EXECUTOR) as channel:
        answer = await rpc.ExecutorServiceStub(channel).AdoptHoldings(request, timeout=_SECONDS)
    for row in answer.adopted:
        say(f"adopted {row.amount.value} {row.currency} at a cost of {row.cost.value}")
    left = ", ".join(f"{money.amount.value} {money.currency}" for money in answer.unadopted)
    if left:
        say(f"still not adopted, never sold: {left}")


async def _typed() -> str | None:
    """A line of the terminal, None if none comes; no thread waits for it, so it never delays a stop."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()
    terminal = sys.stdin.fileno()

    def read() -> None:
        if not line.done():
            line.set_result("" if _in_background(terminal) else sys.stdin.readline())

    loop.add_reader(terminal, read)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return (await line).strip() or None
    except TimeoutError:
        return None
    finally:
        loop.remove_reader(terminal)


def _in_background(terminal: int) -> bool:
    """Whether what is typed there is meant for another process; reading it would stop this one, and with it the mesh."""
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # no terminal of this session: nothing stops its readers
        return False
