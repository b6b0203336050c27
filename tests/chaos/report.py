"""What a campaign tells: runs by point, trouble and death, how long doubts lasted, and for a violation all that repeats it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.grid import Death, Point
from tests.chaos.plan import ChaosPlan, plan_of
from tests.chaos.run import RunResult

_DEATHS = tuple(Death)


@dataclass(frozen=True, slots=True)
class Line:
    """One judged run in short."""

    seed: int
    struck: bool
    violations: tuple[str, ...]
    ends: dict[str, int]
    unknown: float
    unprotected: float
    seconds: float

    @property
    def plan(self) -> ChaosPlan:
        return plan_of(self.seed)


def line_of(result: RunResult) -> Line:
    """What is kept of a run."""
    violated = tuple(one.check for one in result.violations)
    times = (result.unknown, result.unprotected, result.seconds)
    return Line(result.plan.seed, result.struck, violated, dict(result.ends), *times)


def summary(lines: Sequence[Line]) -> str:
    """A row for each trouble of each point, a total for each point, and what was longest."""
    by_point: dict[Point, dict[str, list[Line]]] = {point: defaultdict(list) for point in Point}
    for line in lines:
        by_point[line.plan.cell.point][line.plan.cell.trouble.name].append(line)
    names = ("runs", *(f"{death} killed" if death is not Death.NONE else "no death" for death in _DEATHS))
    rows = [f"{'point':<26}{'fault':<22}" + "".join(f"{name:>20}" for name in (*names, "not met", "violations"))]
    for point, troubles in by_point.items():
        rows += [_row(point, name, group) for name, group in sorted(troubles.items())]
        rows.append(_row(point, "all", [line for group in troubles.values() for line in group]))
    ends: Counter[str] = Counter()
    for line in lines:
        ends.update(line.ends)
    told = ", ".join(f"{name} {count}" for name, count in ends.most_common())
    longest = max((line.unknown for line in lines), default=0.0), max((line.unprotected for line in lines), default=0.0)
    return "\n".join(
        [
            *rows,
            _row("all points", "all", lines),
            "",
            f"orders asked for ended {told or 'nowhere'}",
            f"longest by the exchange's clock, from when everybody was reachable: an order unknown {longest[0]:.1f} s, "
            f"a position unprotected {longest[1]:.1f} s",
            f"seeds of violations: {', '.join(str(line.seed) for line in lines if line.violations) or 'none'}",
        ]
    )


def _row(point: str, trouble: str, lines: Iterable[Line]) -> str:
    found = list(lines)
    deaths = Counter(line.plan.cell.death for line in found)
    wrong, missed = sum(len(line.violations) for line in found), sum(not line.struck for line in found)
    figures = (len(found), *(deaths[death] for death in _DEATHS), missed, wrong)
    return f"{point:<26}{trouble:<22}" + "".join(f"{figure:>20}" for figure in figures)


def told(result: RunResult) -> str:
    """Everything a person needs to look at a violation."""
    plan, cell = result.plan, result.plan.cell
    checks = ", ".join(sorted({one.check for one in result.violations}))
    lines = [
        f"seed {plan.seed} violates {checks}",
        f"  again: make chaos CHAOS_SEED={plan.seed} CHAOS_RUNS=1",
        f"  {cell.point}: {cell.trouble.name}, killed: {cell.death}; the point was {'' if result.struck else 'not '}met",
        f"  plan {plan}",
        *(f"  done {one}" for one in result.told),
    ]
    for one in result.violations:
        lines.append(f"  {one.check}: {one.subject}: {one.what}")
        lines += [f"    {line}" for line in one.slice]
    return "\n".join(lines)
