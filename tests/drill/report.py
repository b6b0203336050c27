"""What a drill tells: a table by kind of fault and outcome, and for a violation the seed, the plan and the slice."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.drill.faults import BY_NAME, THEMES
from tests.drill.history import Violation
from tests.drill.plan import RunPlan
from tests.drill.run import RunResult

_OUTCOMES = ("EXECUTED", "REJECTED", "EXPIRED", "FAILED", "open")


@dataclass(frozen=True, slots=True)
class Line:
    """One judged run, small enough to be kept in a file."""

    seed: int
    theme: str
    kinds: tuple[str, ...]
    states: dict[str, int]
    faults: dict[str, int]
    violations: tuple[str, ...]
    seconds: float


def line_of(result: RunResult) -> Line:
    """What is kept of a run."""
    return Line(
        result.plan.seed,
        result.plan.faults.theme,
        result.plan.kinds,
        dict(result.states),
        dict(result.faults),
        tuple(one.check for one in result.violations),
        result.seconds,
    )


def summary(lines: Sequence[Line]) -> str:
    """Two tables: runs by the theme of their faults, runs by what else disturbed them."""
    by_theme = [(theme, [line for line in lines if line.theme == theme]) for theme in THEMES]
    disturbed: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        for kind in line.kinds or ("faults only",):
            disturbed[kind].append(line)
    met: Counter[str] = Counter()
    for line in lines:
        met.update({name: count for name, count in line.faults.items() if name != "pass"})
    kinds = ", ".join(f"{name} {met[name]}" for name in BY_NAME if met[name])
    seconds = sum(line.seconds for line in lines)
    return "\n".join(
        [
            *_table("fault", by_theme),
            "",
            *_table("disturbed by", sorted(disturbed.items())),
            "",
            f"{len(lines)} runs in {seconds:.0f} s; faults that orders met: {kinds or 'none'}",
        ]
    )


def _table(title: str, groups: Iterable[tuple[str, Sequence[Line]]]) -> list[str]:
    names = ("runs", "sends", "faulted", *_OUTCOMES, "violations")
    rows = [f"{title:<20}" + "".join(f"{name:>11}" for name in names)]
    for group, lines in groups:
        states: Counter[str] = Counter()
        sends = faulted = 0
        for line in lines:
            for state, count in line.states.items():
                states[state if state in _OUTCOMES else "open"] += count
            sends += sum(line.faults.values())
            faulted += sum(count for name, count in line.faults.items() if name != "pass")
        wrong = sum(len(line.violations) for line in lines)
        figures = (len(lines), sends, faulted, *(states[name] for name in _OUTCOMES), wrong)
        rows.append(f"{group:<20}" + "".join(f"{figure:>11}" for figure in figures))
    return rows


def told(plan: RunPlan, answers: Sequence[str], found: Sequence[Violation]) -> str:
    """Everything a person needs to look at a violation."""
    lines = [
        f"seed {plan.seed} violates {', '.join(sorted({one.check for one in found}))}",
        f"  again: make drill DRILL_SEED={plan.seed} DRILL_RUNS=1",
        f"  faults: theme {plan.faults.theme}, of sends {plan.faults.send_share:.2f}, of reads {plan.faults.read_share:.2f}",
        *(f"  step {step}" for step in plan.steps),
        *(f"  done {answer}" for answer in answers),
    ]
    for one in found:
        lines.append(f"  {one.check}: {one.subject}: {one.what}")
        lines += [f"    {line}" for line in one.slice]
    return "\n".join(lines)
