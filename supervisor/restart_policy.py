"""Decides what a death leads to: another start after a growing pause, or parking until somebody looks.

Pure: the caller hands in monotonic seconds. A process that dies over and over is a fault no restart repairs;
parking it keeps its log readable and the machine quiet.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshkit.backoff import doubled


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 10.0
    steady_after_seconds: float = 30.0
    """Alive this long, a process counts as recovered: the pause starts small again."""
    deaths_to_park: int | None = 5
    """None never parks: for what only its surroundings can break, such as a database on a full disk."""
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class DeathRecord:
    """What the policy remembers of one process: recent deaths (monotonic seconds) and the run of quick
    ones.
    """

    recent: tuple[float, ...] = ()
    quick_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Park:
    deaths: int
    window_seconds: float


def after_death(
    policy: RestartPolicy, record: DeathRecord, now: float, alive_seconds: float
) -> tuple[DeathRecord, Restart | Park]:
    """The record with this death in it, and what to do."""
    recent = (*(at for at in record.recent if now - at < policy.window_seconds), now)
    quick = 1 if alive_seconds >= policy.steady_after_seconds else record.quick_in_a_row + 1
    updated = DeathRecord(recent, quick)
    if policy.deaths_to_park is not None and len(recent) >= policy.deaths_to_park:
        return updated, Park(len(recent), policy.window_seconds)
    return updated, Restart(doubled(policy.first_pause_seconds, policy.longest_pause_seconds, quick - 1))
