"""Asks the model about entries that the rules have already decided, and keeps its opinion beside theirs.

Runs after the answer has been given, one at a time, within a bounded number of places; what finds no place is a row.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from meshkit.clock import Clock
from meshkit.errors import MeshError
from svc_validator.review import Review
from svc_validator.reviewers.reviewer import OutsideReviewer, Question
from svc_validator.wire import ReviewRequest
from tradekit.states import ReviewOutcome

Keep = Callable[[ReviewRequest, Review, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ShadowJob:
    """A decided entry. `ends_at` is the monotonic end of its life, infinite where market time measures it."""

    request: ReviewRequest
    question: Question
    ends_at: float
    trace_id: str


class Shadow:
    """The queue and its worker."""

    def __init__(self, reviewer: OutsideReviewer, clock: Clock, log: Any, places: int, keep: Keep) -> None:
        self._reviewer = reviewer
        self._clock = clock
        self._log = log
        self._keep = keep
        self._places = places
        self._jobs: asyncio.Queue[ShadowJob] = asyncio.Queue(places)

    def reserve(self) -> bool:
        """Takes a place if there is one; the holder must `submit` or `release`."""
        if self._places == 0:
            return False
        self._places -= 1
        return True

    def release(self) -> None:
        """Gives a place back."""
        self._places += 1

    def submit(self, job: ShadowJob) -> None:
        """Queues a job for the place that was taken for it."""
        self._jobs.put_nowait(job)

    async def run(self) -> None:
        """Works for ever. An opinion that cannot be stored is lost with a log line, because it decides nothing."""
        while True:
            job = await self._jobs.get()
            try:
                await self._record(job, await self._opinion(job))
            except asyncio.CancelledError:
                self._jobs.put_nowait(job)
                raise
            self.release()

    async def skip_waiting(self) -> None:
        """At shutdown: what waits is stored as left out."""
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            self.release()
            skipped = self._reviewer.skipped(job.question, ReviewOutcome.SKIPPED_CAPACITY, "shutdown")
            await self._record(job, skipped)

    async def _record(self, job: ShadowJob, opinion: Review) -> None:
        try:
            await self._keep(job.request, opinion, job.trace_id)
        except MeshError as error:
            self._log.warning("shadow_review_lost", error=error.reason, id=str(job.request.request_id))

    async def _opinion(self, job: ShadowJob) -> Review:
        left = job.ends_at - self._clock.monotonic()
        if left <= 0:
            return self._reviewer.skipped(job.question, ReviewOutcome.EXPIRED, "life_over")
        return await self._reviewer.review(job.question, left)
