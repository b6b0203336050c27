"""Turning the switch of an executor, and seeing where it stands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from tests.executor.issuer import Running
from tradekit import halt_file
from trading.executor.v1 import executor_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2 as risk_pb


def turn(state: str, note: str = "by the test") -> pb.SetTradingStateRequest:
    return pb.SetTradingStateRequest(request_id=str(uuid4()), state=f"TRADING_STATE_{state}", note=note)


async def stored_state(database: Any) -> str:
    async with database.engine.connect() as connection:
        return str((await connection.execute(text("SELECT trading_state FROM accounts"))).scalar_one())


async def in_force(executor: Running) -> str:
    found = await executor.stub.GetTradingState(pb.GetTradingStateRequest(), timeout=5)
    return risk_pb.TradingState.Name(found.state).removeprefix("TRADING_STATE_")


class Postmaster:
    """The server behind a socket directory, as `hanging` wants to be given it."""

    def __init__(self, folder: str) -> None:
        self._file = Path(folder) / "postmaster.pid"

    def get_pid(self) -> int:
        return int(self._file.read_text().splitlines()[0])


async def until(what: Any, wanted: Any) -> None:
    async with asyncio.timeout(120):
        while await what() != wanted:
            await asyncio.sleep(0.05)


async def is_there(environ: dict[str, str]) -> bool:
    return exists(environ)


def exists(environ: dict[str, str]) -> bool:
    return bool(halt_file.pending(Path(environ["HALT_FILE"])))
