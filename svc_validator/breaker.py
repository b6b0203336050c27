"""Circuit breaker and validity watch of a model: when to stop asking it. Time is handed in, in monotonic seconds."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Breaker:
    """`failures` within `window` seconds open it for `open_seconds`; then one probe decides."""

    failures: int = 5
    window: float = 60.0
    open_seconds: float = 30.0
    _failed_at: deque[float] = field(default_factory=deque)
    _open_until: float | None = None
    _probing: bool = False

    def allow(self, now: float) -> bool:
        """True if a call may be made; a call that was allowed must end in `succeeded`, `failed` or `abandoned`."""
        if self._open_until is None:
            return True
        if now < self._open_until or self._probing:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The server answered: closed, and the count begins anew."""
        self._failed_at.clear()
        self._open_until = None
        self._probing = False

    def failed(self, now: float) -> None:
        """The server did not answer."""
        if self._probing or self._open_until is not None:
            self._open_until = now + self.open_seconds
            self._probing = False
            return
        self._failed_at.append(now)
        while self._failed_at and self._failed_at[0] <= now - self.window:
            self._failed_at.popleft()
        if len(self._failed_at) >= self.failures:
            self._failed_at.clear()
            self._open_until = now + self.open_seconds

    def abandoned(self) -> None:
        """The call was cancelled by us and says nothing of the server; another may probe."""
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self._open_until is not None


@dataclass(slots=True)
class ValidityWatch:
    """True from `note` when too many of the last answers were no answers: the model is then unfit, not the server."""

    last: int = 50
    allowed_share: float = 0.2
    _invalid: deque[bool] = field(default_factory=deque)

    def note(self, invalid: bool) -> bool:
        """Counts one answer; a share of `last` must be invalid even while fewer have been seen."""
        self._invalid.append(invalid)
        if len(self._invalid) > self.last:
            self._invalid.popleft()
        return sum(self._invalid) >= self.last * self.allowed_share

    def reset(self) -> None:
        """Begins anew, after a passed self-test."""
        self._invalid.clear()
