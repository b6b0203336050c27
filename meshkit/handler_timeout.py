"""Ends work a moment before its time is over, so that who asked for it hears what it was waiting for.

A database that hangs is an outage, whatever the deadline; only what did something else for too long lacked time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshkit import database
from meshkit.errors import DeadlineTooShort

# Kept back of the time there is for the error to reach the caller: this share of it, and never more than this.
_ANSWER_SHARE, _ANSWER_SECONDS = 0.1, 0.25


def with_time_to_answer(seconds: float) -> float:
    """How long work may take that has to be answered within `seconds`."""
    return seconds - min(seconds * _ANSWER_SHARE, _ANSWER_SECONDS)


@asynccontextmanager
async def ended_after(seconds: float | None, had: float | None, *, repeatable: bool) -> AsyncIterator[None]:
    """Ends the work inside after `seconds`, of the time that it `had`; None never ends it.

    Unavailable where it waited for the database and may be repeated, DeadlineTooShort else: an effect that may not be
    repeated is in doubt now, and only DEADLINE_EXCEEDED says so.
    """
    with database.watched() as work:
        try:
            async with asyncio.timeout(seconds) as timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            if repeatable and work.cut_at_database:
                raise database.unavailable("the database did not answer in the time there was") from None
            raise DeadlineTooShort(f"did not end within the {had or 0.0:.3g} s it had") from None
