"""What became of candles on their way into the features, as metrics."""

from meshkit.telemetry import Metrics
from modelkit.features.live import Counts

_KINDS = ("late", "duplicate", "corrected", "filled", "resets")


class IntakeMetrics:
    """Counters of the intake; a state counts from its own beginning, so what is added is the difference."""

    def __init__(self, metrics: Metrics) -> None:
        self._candles = metrics.counter(
            "signal.candles", "Candles that came late, twice or corrected; bars without one"
        )
        self._refused = metrics.counter("signal.candles.refused", "Candles refused by the features, by reason")
        self._rebuilt = metrics.counter("signal.features.rebuilt", "Features made anew from stored candles, by reason")
        self._restored = metrics.counter("signal.features.restored", "Saved states of the features taken up")
        self._seen = Counts()

    def take(self, counts: Counts) -> None:
        """Adds what is new since the last call."""
        before, self._seen = self._seen, counts
        for kind in _KINDS:
            added = getattr(counts, kind) - getattr(before, kind)
            if added:
                self._candles.add(added, {"kind": kind})
        for reason, count in counts.refused.items():
            added = count - before.refused.get(reason, 0)
            if added:
                self._refused.add(added, {"reason": reason.value})

    def begin(self, counts: Counts) -> None:
        """Another state counts from here on; of the stored bars it was made from, only refusals count."""
        self._seen = Counts()
        self.take(Counts(refused=counts.refused))
        self._seen = counts

    def rebuilt(self, why: str) -> None:
        self._rebuilt.add(1, {"reason": why})

    def restored(self) -> None:
        self._restored.add(1)
