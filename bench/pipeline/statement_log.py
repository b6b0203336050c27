"""Counts statements and transactions in PostgreSQL's log, by the name of who sent them.

A statement outside BEGIN and COMMIT is a transaction of its own, with a commit like any other: leaving it out would make
a service look cheaper for every read that it sends without a BEGIN.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

BEGINS = re.compile(r"(?:begin|start transaction)\b", re.IGNORECASE)
ENDS = re.compile(r"(?:commit|rollback(?!\s+to\b)|end|abort)\b", re.IGNORECASE)
# With log_line_prefix = '%a|%p|'.
LINE = re.compile(r"^([^|]*)\|(\d+)\|LOG:  (?:statement|execute [^:]*): (.*)$")
PREFIX = "%a|%p|"


@dataclass
class Counts:
    """By service: statements; transactions with a BEGIN; those of one statement without; and pings: a BEGIN and its end
    with nothing between."""

    statements: Counter[str] = field(default_factory=Counter)
    transactions: Counter[str] = field(default_factory=Counter)
    implicit: Counter[str] = field(default_factory=Counter)
    pings: Counter[str] = field(default_factory=Counter)
    texts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, kind: str, service: str) -> int:
        """How many of a kind; `all_transactions` are those with a BEGIN and those without."""
        if kind == "all_transactions":
            return self.transactions[service] + self.implicit[service]
        counter: Counter[str] = getattr(self, kind)
        return counter[service]


class StatementCounter:
    """Counts part after part of one log: a transaction may begin in one part and end in the next."""

    def __init__(self) -> None:
        # By session, while it is in a transaction: whether anything was done in it.
        self._busy: dict[str, bool] = {}

    def counted(self, log: str) -> Counts:
        """What a part of the log holds."""
        found = Counts()
        lines = log.splitlines()
        for number, line in enumerate(lines):
            match = LINE.match(line)
            if match is None:
                continue
            service, session, text = match.groups()
            # A text that begins with a new line goes on in the next one.
            shown = (text.strip() or next(iter(lines[number + 1 :]), "")).strip()
            self._count(found, service, session, shown)
        return found

    def _count(self, found: Counts, service: str, session: str, text: str) -> None:
        if BEGINS.match(text):
            self._busy[session] = False
        elif ENDS.match(text):
            # The end of a transaction whose begin was not logged: something was done in it.
            kind = found.transactions if self._busy.pop(session, True) else found.pings
            kind[service] += 1
        elif text.strip(" ;"):
            found.statements[service] += 1
            found.texts[service, text[:110]] += 1
            if session in self._busy:
                self._busy[session] = True
            else:
                found.implicit[service] += 1


@dataclass(frozen=True)
class Part:
    """A part of a run: what was counted, how long it took, and how many recommendations were executed in it."""

    counts: Counts
    seconds: float
    executed: int = 0

    def per_second(self, kind: str, service: str) -> float:
        """Of a kind, each second."""
        return self.counts.count(kind, service) / self.seconds

    def per_item(self, kind: str, service: str, rest: "Part") -> float:
        """Per executed recommendation, less what the service does at rest in that time."""
        at_rest = rest.per_second(kind, service) * self.seconds
        return (self.counts.count(kind, service) - at_rest) / self.executed
