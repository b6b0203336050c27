"""A feed asks as often as its setting says, and asks a slow source more rarely."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from meshkit.clock import FixedClock
from svc_monitor.feeds import pipeline
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, polled


async def pauses(monkeypatch: pytest.MonkeyPatch, answers: list[float], rest: float) -> list[float]:
    """The pauses after answers that took so long."""
    clock, found = FixedClock(datetime(2025, 1, 1, tzinfo=UTC)), []
    kit: Any = SimpleNamespace(clock=clock, log=None)

    async def ask() -> int:
        clock.advance(answers[len(found)])
        return 1

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        if len(found) == len(answers):
            raise asyncio.CancelledError

    monkeypatch.setattr("svc_monitor.feeds.feed.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await polled(Feed("toy", 5.0, kit), 1.0, ask, rest).run()
    return found


async def test_a_slow_source_is_left_alone_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await pauses(monkeypatch, [0.25, 2.0, 0.125], 3.0) == [1.0, 6.0, 1.0]


async def test_another_source_is_asked_at_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await pauses(monkeypatch, [0.25, 2.0], 0.0) == [1.0, 1.0]


def test_the_slowest_answer_of_the_funnel_is_fresh_until_the_next() -> None:
    assert CALL_TIMEOUT_SECONDS * (2 + pipeline.REST) <= pipeline.STALE_SECONDS
