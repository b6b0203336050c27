"""What the replay tests share: the undisturbed run that others are compared with."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cli.replay.options import ReplayOptions
from cli.replay.run import ReplayReport, Watching
from tradekit.states import Profile

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
HISTORY = datetime(2024, 8, 1, tzinfo=UTC)
BEGIN = datetime(2025, 1, 11, 12, tzinfo=UTC)
END = datetime(2025, 1, 15, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Undisturbed:
    """The replay that others are compared with, and where its model lies."""

    report: ReplayReport
    file: Path
    home: Path

    def options(self, **changes: object) -> ReplayOptions:
        base = {"file": self.file, "products": PRODUCTS, "begin": BEGIN, "end": END, "profile": Profile.EXERCISE}
        return ReplayOptions(**{**base, **changes})


def quiet() -> Watching:
    return Watching(lambda stage, share: None, lambda event: None)
