"""Runs one replay behind sidecars, as a process of its own, and waits before its last bar so that others can look at the mesh.

Run with one argument, the JSON of `Wanted`. Says `paused` on a line, goes on when a line comes in, and says its result as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cli.replay.options import ReplayOptions
from cli.replay.run import ReplayReport, Watching, replay
from envoy_mesh.replay_plan import Outbound, behind_sidecars
from tradekit.states import Profile

PAUSED = "paused"


@dataclass(frozen=True)
class Wanted:
    """What to replay, where, and behind which sidecars; times are ISO texts, paths are texts."""

    file: str
    products: tuple[str, ...]
    begin: str
    end: str
    model: str
    home: str
    apps: dict[str, int]
    page: int
    outbound: Outbound

    def text(self) -> str:
        """The argument of this program."""
        return json.dumps(asdict(self))

    @property
    def options(self) -> ReplayOptions:
        """With the monitor, as every service is part of the mesh, and a model that is already there."""
        return ReplayOptions(
            file=Path(self.file),
            products=tuple(self.products),
            begin=datetime.fromisoformat(self.begin),
            end=datetime.fromisoformat(self.end),
            profile=Profile.EXERCISE,
            model=Path(self.model),
            with_monitor=True,
        )


def say(line: str) -> None:
    """A line to whoever started this program."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _run(wanted: Wanted) -> ReplayReport:
    async def before(index: int, as_of: datetime, supervisor: Any, plan: Any) -> None:
        if as_of == wanted.options.end:
            say(PAUSED)
            await asyncio.to_thread(sys.stdin.readline)

    watching = Watching(lambda stage, share: None, lambda event: None, before)
    return await replay(
        wanted.options,
        Path(wanted.home),
        watching,
        arranged=lambda plan: behind_sidecars(plan, wanted.apps, wanted.page, wanted.outbound),
    )


def main() -> None:
    """The result, once the replay has ended."""
    report = asyncio.run(_run(Wanted(**json.loads(sys.argv[1]))))
    told = {
        "hash": report.result.hash,
        "orders": report.result.orders_with_exchange_id,
        "exchange_orders": report.agreement.exchange_orders,
        "balances_equal": report.agreement.balances_equal,
    }
    say(json.dumps(told))


if __name__ == "__main__":
    main()
