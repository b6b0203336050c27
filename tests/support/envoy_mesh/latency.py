"""What two sidecars add to a call: the same call both ways in turn, so that whatever else the machine does falls on both."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds of each call, in their order; `direct` and `mesh` were made in turn."""

    direct: tuple[float, ...]
    mesh: tuple[float, ...]

    @property
    def added_p50(self) -> float:
        """The difference of the medians."""
        return quantile(self.mesh, 0.5) - quantile(self.direct, 0.5)

    def __str__(self) -> str:
        (direct50, direct99), (mesh50, mesh99) = (
            [quantile(one, share) * 1000 for share in (0.5, 0.99)] for one in (self.direct, self.mesh)
        )
        return (
            f"one caller, {len(self.mesh)} calls each way in turn: direct p50 {direct50:.2f} p99 {direct99:.2f} ms, through two "
            f"Envoys p50 {mesh50:.2f} p99 {mesh99:.2f} ms, added p50 {self.added_p50 * 1000:+.2f} ms"
        )


async def measured(direct: Call, mesh: Call, rounds: int, warm_up: int = 20) -> Latencies:
    """Both ways `rounds` times, by one caller."""
    seconds: dict[Call, list[float]] = {direct: [], mesh: []}
    for number in range(warm_up + rounds):
        for call, taken in seconds.items():
            began = time.perf_counter()
            await call()
            if number >= warm_up:
                taken.append(time.perf_counter() - began)
    return Latencies(tuple(seconds[direct]), tuple(seconds[mesh]))


def quantile(values: tuple[float, ...], share: float) -> float:
    """The value that a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
