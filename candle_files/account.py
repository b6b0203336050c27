"""The account of a file: every line is in exactly one count, and the counts add up to the file.

It also decides when so much was lost that nobody may take the result for the file (LOST_RATIO).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from candle_files.checks import NOT_CLOSED
from candle_files.rows import NO_VALUES, Aside, AsideKind, Refusal

EXAMPLE_LENGTH = 200
# More than this share of the rows refused is a loss that ends a command with a failure.
LOST_RATIO = 0.1
# No loss: the running bar at the end of a download, and bars in which nothing was traded, which some vendors list.
_HARMLESS = frozenset({NOT_CLOSED, NO_VALUES})


@dataclass(slots=True)
class Account:
    """Counts of lines (of rows, where a file has no lines). `unchanged` rows repeat a bar with the same values."""

    stored: int = 0
    unchanged: int = 0
    left_out: int = 0
    headers: int = 0
    blanks: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        return self.refusals.total()

    @property
    def rows(self) -> int:
        """Rows of candles, good or not."""
        return self.stored + self.unchanged + self.left_out + self.refused

    @property
    def lines(self) -> int:
        """All lines of the file."""
        return self.rows + self.headers + self.blanks

    def refuse(self, refusals: Iterable[Refusal]) -> None:
        for refusal in refusals:
            self.refusals[refusal.code] += 1
            self.examples.setdefault(refusal.code, refusal.text[:EXAMPLE_LENGTH])

    def put_aside(self, aside: Aside) -> None:
        if aside.kind is AsideKind.LEFT_OUT:
            self.left_out += aside.count
        elif aside.kind is AsideKind.HEADER:
            self.headers += aside.count
        else:
            self.blanks += aside.count

    def reasons(self) -> list[str]:
        """A sentence for each reason for which rows were refused, with the first of them."""
        return [f"{code} {count:,}, first: {self.examples[code]}" for code, count in sorted(self.refusals.items())]

    def lost(self) -> str:
        """In words what was lost, if it is considerable; otherwise empty."""
        return lost(self.refusals, self.stored + self.unchanged)


def lost(refusals: Mapping[str, int], good: int) -> str:
    """In words what was lost of the rows looked at, if it is considerable: more than LOST_RATIO of them refused, or all."""
    bad = sum(count for code, count in refusals.items() if code not in _HARMLESS)
    refused = sum(refusals.values())
    if bad > LOST_RATIO * (good + bad):
        return f"{bad:,} of {good + bad:,} rows were refused"
    if refused and not good:
        return f"none of {refused:,} rows could be used"
    return ""
