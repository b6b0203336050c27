"""What is judged beside the drill's checks: what they cannot see, as it is about time, or about what was said and to whom."""

import time
from collections.abc import Iterable, Iterator

import aiohttp

from svc_monitor.exit_rules import UNPROTECTED_SECONDS
from tests.chaos.caller import Answer
from tests.chaos.lane import REQUEST_SECONDS, Lane
from tests.drill.history import DatabaseSide, ExchangeSide, History, Violation, protected_and_no_more

# By the exchange's clock, from when everybody is reachable. What the monitor calls too long for a position is too long here.
UNKNOWN_SECONDS = 60.0
_NOTHING_THERE = ExchangeSide((), (), {}, frozenset())


def too_late(in_doubt: Iterable[str], unknown: float, unprotected: float) -> Iterator[Violation]:
    """Orders that are in doubt after their time, and a position that was unprotected for longer than it may be."""
    for order_id in in_doubt:
        yield Violation("unknown for too long", order_id, f"after {unknown:.1f} s nobody knows what became of it")
    if unprotected > UNPROTECTED_SECONDS:
        yield Violation("unprotected for too long", "position", f"for {unprotected:.1f} s")


def answers_hold(database: DatabaseSide, answers: Iterable[Answer]) -> Iterator[Violation]:
    """What the executor said of an order that has ended is so; what it refused for good was never made."""
    rows = {row.order_id: row for row in database.orders}
    for answer in answers:
        row = rows.get(answer.order_id)
        if answer.state and row is None:
            yield Violation("answers hold", answer.order_id, f"{answer} was answered, and there is no row")
        elif answer.state and (row.state, row.filled_size) != (answer.state, answer.filled):  # type: ignore[union-attr]
            yield Violation("answers hold", answer.order_id, f"{answer} was answered", (str(row),))
        elif not answer.state and row is not None:
            yield Violation("answers hold", answer.order_id, f"{answer.refusal} was answered", (str(row),))


def doubtful(database: DatabaseSide) -> Iterator[str]:
    """Orders that are on their way."""
    return (row.order_id for row in database.orders if row.state in ("PENDING", "UNKNOWN", "OPEN") and not row.rests)


def bare(database: DatabaseSide, product: str | None = None) -> bool:
    """Whether something is held and not protected as it should be."""
    found = protected_and_no_more(History(_NOTHING_THERE, database))
    return any(product in (None, one.subject) for one in found)


class Reach:
    """For how long the exchange has been reachable, by its own clock. On a machine that has too much to do it is not: requests
    are given up before their answers come, and whoever reconciles begins anew."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._since: float | None = None
        self._first, self._given_up = len(lane.proxy.passages), 0

    async def seconds(self) -> float:
        """Since the last request that was given up, or that took so long that others may have been."""
        asked = time.monotonic()
        try:
            now = await self._lane.exchange_seconds()
        except (aiohttp.ClientError, OSError):
            self._since = None
            return 0.0
        slow = time.monotonic() - asked > REQUEST_SECONDS / 2
        given_up = sum(one.client_left for one in self._lane.proxy.passages[self._first :])
        if self._since is None or slow or given_up > self._given_up:
            self._since = now
        self._given_up = given_up
        return now - self._since
