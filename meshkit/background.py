"""Keeps a service's own loop alive through outages, and only through outages.

A background task that ends takes its process down, which is right for a defect. A database or a peer that is away is no
defect: the loop begins again from its rows after a backoff, and health tells the rest of the story.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any

from meshkit import database
from meshkit.backoff import Backoff
from meshkit.cancellation import heed
from meshkit.errors import MeshError
from meshkit.kit import Kit
from meshkit.spec import Action, Check, Task

_LOOK_AGAIN_SECONDS = 1.0


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
            kit.log.warning(
                "outage", task=name, reason=outage.reason, fault=outage.message, retry_in_seconds=round(delay, 2)
            )
            await asyncio.sleep(delay)

    return Task(name, run)


def after(check: Check, tasks: Iterable[Task], kit: Kit[Any]) -> list[Task]:
    """The same tasks, each of which begins once the check has passed, such as that the database has what they work with."""
    return [Task(task.name, _once_true(check, task, kit)) for task in tasks]


def _once_true(check: Check, task: Task, kit: Kit[Any]) -> Action:
    async def run() -> None:
        said = ""
        while True:
            try:
                await check.run()
                break
            except MeshError as missing:
                if missing.message != said:
                    kit.log.warning("not_begun", task=task.name, waits_for=check.name, fault=missing.message)
                said = missing.message
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        await task.run()

    return run
