"""The grid: where on an order's way something happens, what it is, and who dies of kill -9 at that moment.

Pure. A cell is one combination; the cells take turns in an order of their own, so that any range of seeds visits every
point equally often and no cell twice before its point's other cells.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.feed_way import FrameFault
from tests.drill.faults import BY_NAME, PASS, READS, SENDS, Answer, Delivery, Fault


class Point(StrEnum):
    """Where. The reads of a reconciliation are those of an order in doubt."""

    BEFORE_SEND = "before send"
    AFTER_SEND = "after send, before reply"
    REPLY_LOST = "reply lost"
    REPLY_BROKEN = "reply broken"
    BEFORE_RECORD = "before record"
    AFTER_RECORD = "after record"
    IN_RECONCILE = "in reconcile"
    IN_CANCEL = "in cancel"
    IN_BRACKET = "in bracket placement"
    IN_FEED_GAP = "in a feed gap"


class Death(StrEnum):
    """Who is killed; named as the processes are."""

    NONE = "none"
    EXECUTOR = "executor"
    EXCHANGE = "exchange_sim"
    DATABASE = "postgres"


class Sessions(StrEnum):
    """What happens to the executor's connections to the database."""

    KEPT = "kept"
    # Ended by the server, in the middle of a transaction where there is one.
    CUT = "cut"
    # Another session has the account lock for longer than a statement may take.
    LOCKED_OUT = "locked out"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong beside a death: a fault of the wire or of the feed, habits of the exchange, trouble of the database, or a
    caller that hangs up and asks again. `name` is the report's word."""

    name: str
    fault: Fault = PASS
    frame: FrameFault = FrameFault.PASS
    habits: Mapping[str, float] = field(default_factory=dict)
    sessions: Sessions = Sessions.KEPT
    caller_leaves: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination."""

    point: Point
    trouble: Trouble
    death: Death


NOTHING = Trouble("nothing")
_HABITS = (
    Trouble("hidden", habits={"hide_new_seconds": 0.6}),
    Trouble("pending", habits={"pending_seconds": 0.6}),
    Trouble("stale balance", habits={"stale_balance_seconds": 0.8}),
    Trouble("settled late", habits={"settle_seconds": 0.8}),
)
_PARTLY = Trouble("partly filled", habits={"fill_share": 0.4})
_QUEUED = Trouble("cancel queued", habits={"cancel_seconds": 1.0})
_FAILED = Trouble("accepted, then failed", habits={"fail_share": 1.0})
_CUT = Trouble("sessions cut", sessions=Sessions.CUT)
_LOCKED_OUT = Trouble("locked out", sessions=Sessions.LOCKED_OUT)
_HANGS_UP = Trouble("caller hangs up", caller_leaves=True)

# What a market order does not tell in its reply, the feed would tell; without the habit it tells what is known already.
_FEED = tuple(
    Trouble(f"{frame}{habit.name and ', '}{habit.name}", frame=frame, habits=habit.habits)
    for frame in FrameFault
    if frame is not FrameFault.PASS
    for habit in (Trouble(""), _HABITS[1])
)

_NOT_GIVEN = (Delivery.NEVER, Delivery.LATE, Delivery.STALE)
_NO_REPLY = (Answer.CUT, Answer.CLOSED, Answer.RESET, Answer.SILENCE)
_BROKEN = (Answer.CHANGED, Answer.HTML)


def _faults(kinds: Iterable[Fault]) -> Iterator[Trouble]:
    return (Trouble(fault.name, fault) for fault in kinds)


def _sends(*, given: bool, answers: tuple[Answer, ...]) -> Iterator[Trouble]:
    """Faults of an order request by whether the exchange gets it while its client waits, and by what the client gets."""
    return _faults(one for one in SENDS if (one.delivery not in _NOT_GIVEN) is given and one.answer in answers)


TROUBLES: Mapping[Point, tuple[Trouble, ...]] = {
    Point.BEFORE_SEND: (NOTHING, *_sends(given=False, answers=tuple(Answer))),
    Point.AFTER_SEND: (NOTHING, *_sends(given=True, answers=(Answer.REPLY, Answer.DRIP)), *_HABITS, _PARTLY),
    Point.REPLY_LOST: tuple(_sends(given=True, answers=_NO_REPLY)),
    Point.REPLY_BROKEN: tuple(_sends(given=True, answers=_BROKEN)),
    Point.BEFORE_RECORD: (NOTHING, _CUT, _LOCKED_OUT, *_faults(READS)),
    Point.AFTER_RECORD: (NOTHING, _CUT, _HANGS_UP),
    Point.IN_RECONCILE: (NOTHING, *_faults(READS), *_HABITS),
    # What is done to the reply to a create says nothing of a cancel.
    Point.IN_CANCEL: (NOTHING, *_faults(one for one in SENDS if one.theme != "fields"), _QUEUED),
    Point.IN_BRACKET: (NOTHING, *_faults(SENDS), *_HABITS, _FAILED),
    Point.IN_FEED_GAP: (NOTHING, *_FEED),
}
# How an order comes to be in doubt, so that it is reconciled: the exchange has it, or has not.
DOUBTS = (BY_NAME["cut"], BY_NAME["reset_before"])


def _cells_of(point: Point) -> list[Cell]:
    found = [
        Cell(point, trouble, death)
        for trouble in TROUBLES[point]
        for death in Death
        if trouble is not NOTHING or death is not Death.NONE
    ]
    random.Random(f"chaos/{point}").shuffle(found)
    return found


CELLS: Mapping[Point, tuple[Cell, ...]] = {point: tuple(_cells_of(point)) for point in Point}


def cell_of(seed: int) -> Cell:
    """The cell of a seed, from 1 on."""
    turn, place = divmod(seed - 1, len(Point))
    cells = CELLS[tuple(Point)[place]]
    return cells[turn % len(cells)]
