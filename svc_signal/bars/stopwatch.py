"""Where the time of a bar goes, for its log line. Nothing is decided by it."""

from time import perf_counter


class Stopwatch:
    """Laps in seconds since the one before."""

    def __init__(self) -> None:
        self._last = perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def milliseconds(self) -> dict[str, float]:
        """Laps as `name_ms`."""
        return {f"{name}_ms": round(seconds * 1000.0, 3) for name, seconds in self._laps.items()}
