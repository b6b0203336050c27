"""A feed asks as often as its setting says, and asks a slow source more rarely."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from meshkit.clock import FixedClock, SystemClock
from svc_monitor.feeds import pipeline
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from svc_monitor.pulse import Pulse


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

    # This module's alone: whatever else runs in this process, in a thread perhaps, sleeps as ever.
    monkeypatch.setattr("svc_monitor.feeds.feed.asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        await polled(Feed("toy", 5.0, kit), Pace(1.0, 0.0, rest), ask).run()
    return found


async def test_a_slow_source_is_left_alone_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await pauses(monkeypatch, [0.25, 2.0, 0.125], 3.0) == [1.0, 6.0, 1.0]


async def test_another_source_is_asked_at_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await pauses(monkeypatch, [0.25, 2.0], 0.0) == [1.0, 1.0]


def test_the_slowest_answer_of_the_funnel_is_fresh_until_the_next() -> None:
    assert CALL_TIMEOUT_SECONDS * (2 + pipeline.REST) <= pipeline.STALE_SECONDS


async def test_without_news_a_source_is_at_rest_and_news_is_shown_soon() -> None:
    kit: Any = SimpleNamespace(clock=SystemClock(), log=None)
    news, asked = Pulse(), asyncio.Event()
    answers = 0

    async def ask() -> int:
        nonlocal answers
        answers += 1
        asked.set()
        return answers

    task = asyncio.create_task(polled(Feed("toy", 5.0, kit), Pace(0.01, 3600.0), ask, news).run())
    try:
        for number in range(1, 4):
            async with asyncio.timeout(60):
                await asked.wait()
            asked.clear()
            assert answers == number
            await asyncio.sleep(0.1)
            assert answers == number
            news.beat()
    finally:
        task.cancel()
