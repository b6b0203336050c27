"""Decides from the answers to one probe after another whether a unit hangs, and when it has hung for too long.

Readiness is proved once; this is asked for as long as the unit lives. What answers is alive, whatever it says: a service
that is not ready, or an exchange that refuses, does not hang.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class NoAnswer(Exception):
    """Nothing came back; the text says what was seen instead."""


class LivenessProbe(Protocol):
    """Asks over a connection that it keeps, so that asking costs next to nothing."""

    async def ask(self) -> None:
        """Returns when the target answered. Raises `NoAnswer` when it did not."""

    async def close(self) -> None:
        """Lets the connection go; the next question opens another."""


@dataclass(frozen=True, slots=True)
class LivenessPolicy:
    pause_seconds: float = 5.0
    """Between an answer and the next question."""
    deadline_seconds: float = 5.0
    """Of one question."""
    retry_pause_seconds: float = 1.0
    failures_to_report: int = 2
    failures_to_kill: int = 5
    silence_to_kill_seconds: float = 60.0
    """Generous, because killing a slow service is worse than leaving a hung one: the monitor has long raised an alert."""
    late_seconds: float = 2.0
    """The asker's own delay from which on a silence proves nothing: it was itself stopped, suspended or starved."""


class Verdict(Enum):
    ALIVE = "alive"
    DOUBTFUL = "doubtful"
    HUNG = "hung"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Silence:
    """How long nothing was heard: since when (monotonic seconds) and for how many questions in a row."""

    since: float
    failures: int = 0


def after_question(
    policy: LivenessPolicy, silence: Silence, now: float, *, answered: bool, late: bool
) -> tuple[Silence, Verdict]:
    """The silence with this question in it, and what it means. One that was asked late begins the count anew."""
    if answered:
        return Silence(now), Verdict.ALIVE
    if late:
        return Silence(now), Verdict.DOUBTFUL
    counted = Silence(silence.since, silence.failures + 1)
    if counted.failures >= policy.failures_to_kill and now - counted.since >= policy.silence_to_kill_seconds:
        return counted, Verdict.KILL
    return counted, Verdict.HUNG if counted.failures >= policy.failures_to_report else Verdict.DOUBTFUL


async def watch(
    probe: LivenessProbe,
    policy: LivenessPolicy,
    *,
    first_answer_seconds: float,
    on_silence: Callable[[float, str], None],
    on_answer: Callable[[], None],
) -> str:
    """Asks until nothing was heard for too long and says so in words; cancelled by whoever ends the unit.

    `on_silence` is given since when (monotonic seconds) and why, once per silence, and never before the first answer: a
    process that still starts is slow, and gets at least `first_answer_seconds` for it.
    """
    silence, heard, told = Silence(time.monotonic()), False, False
    try:
        while True:
            asked = time.monotonic()
            reason = await _ask(probe, policy.deadline_seconds)
            now = time.monotonic()
            late = now - asked > policy.deadline_seconds + policy.late_seconds
            silence, verdict = after_question(policy, silence, now, answered=reason is None, late=late)
            if reason is None:
                if told:
                    on_answer()
                heard, told = True, False
            elif verdict is Verdict.KILL and (heard or now - silence.since >= first_answer_seconds):
                return f"no answer for {now - silence.since:.0f} s ({reason})"
            elif verdict in (Verdict.HUNG, Verdict.KILL) and heard and not told:
                told = True
                on_silence(silence.since, reason)
            pause = policy.pause_seconds if reason is None else policy.retry_pause_seconds
            await asyncio.sleep(pause)
            if time.monotonic() - now > pause + policy.late_seconds:
                silence = Silence(time.monotonic())
    finally:
        await probe.close()


async def _ask(probe: LivenessProbe, deadline_seconds: float) -> str | None:
    """One question; the reason if nothing came back."""
    try:
        async with asyncio.timeout(deadline_seconds):
            await probe.ask()
    except NoAnswer as silent:
        reason = str(silent)
    except TimeoutError:
        reason = f"no answer within {deadline_seconds:g} s"
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        return None
    await probe.close()  # what comes late must not be taken for the next answer
    return reason
