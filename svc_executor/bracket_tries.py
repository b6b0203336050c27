"""When a bracket that the exchange refused is tried again: never where the refusal stays, else after growing pauses, for ever.

Pure. Meanwhile an order that waits here protects in its place; each try takes that away for as long as an answer takes.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from meshkit.backoff import doubled

SHORTEST_SECONDS, _LONGEST_SECONDS = 15.0, 300.0
_AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Tried:
    """The protective orders of one entry so far: how many were `made`, and how many brackets the exchange refused since one
    rested last. Of the newest of these: whether its refusal `stays`, and how long `ago` it was."""

    entry_order_id: UUID | None
    made: int = 0
    refused: int = 0
    stays: bool = False
    ago: timedelta = timedelta(0)

    @property
    def pause(self) -> timedelta | None:
        """How long until a bracket may be tried; None: never."""
        if self.stays:
            return None
        if not self.refused:
            return _AT_ONCE
        seconds = doubled(SHORTEST_SECONDS, _LONGEST_SECONDS, self.refused - 1)
        return max(timedelta(seconds=seconds) - self.ago, _AT_ONCE)

    @property
    def may_be_tried(self) -> bool:
        return self.pause == _AT_ONCE
