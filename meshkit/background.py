"""Keeps a service's own loop alive through outages, and only through outages.

A background task that ends takes its process down, which is right for a defect. A database or a peer that is away is no
defect: the loop begins again from its rows after a backoff, and health tells the rest of the story.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from meshkit import database
from meshkit.backoff import Backoff
from meshkit.cancellation import heed
from meshkit.kit import Kit
from meshkit.spec import Action, Task


def outlive_outages(name: str, body: Action, kit: Kit[Any], random_source: random.Random | None = None) -> Task:
    """A task that runs `body` again whenever it raises Unavailable or meets a database outage; other errors pass."""
    backoff = Backoff(0.2, 10.0, random_source or random.Random())

    async def run() -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await body()
                return
            except Exception as error:
                outage = database.as_unavailable(error)
                if outage is None:
                    raise
                heed(error)
            if loop.time() - began > 10.0:
                backoff.reset()  # it had been working; this is a new outage
            delay = backoff.next_seconds()
            kit.log.warning("outage", task=name, reason=outage.reason, retry_in_seconds=round(delay, 2))
            await asyncio.sleep(delay)

    return Task(name, run)
