"""The report for a person: the tables count every run once in its theme, and a violation comes with all that repeats it."""

from tests.drill.history import Violation
from tests.drill.plan import SAMPLE, plan_of
from tests.drill.report import Line, summary, told


def test_the_tables_count_runs_by_fault_and_by_disturbance():
    lines = [
        Line(1, "late", ("kill executor",), {"EXECUTED": 2, "EXPIRED": 1}, {"late": 2, "pass": 3}, (), 3.0),
        Line(2, "late", (), {"FAILED": 1}, {"stale": 1}, ("in the ledger",), 4.0),
        Line(3, "cut", ("HALTED", "hand trade"), {"REJECTED": 2, "IN_REVIEW": 1}, {}, (), 5.0),
    ]
    rows = {line.split("  ")[0]: line.split()[-9:] for line in summary(lines).splitlines() if line}
    assert rows["late"] == ["2", "6", "3", "2", "0", "1", "1", "0", "1"]
    assert rows["cut"] == ["1", "0", "0", "0", "2", "0", "0", "1", "0"]
    assert rows["kill executor"] == ["1", "5", "2", "2", "0", "1", "0", "0", "0"]
    assert rows["HALTED"] == rows["hand trade"] == rows["cut"]
    assert rows["faults only"] == ["1", "1", "1", "0", "0", "0", "1", "0", "1"]
    assert summary(lines).endswith("3 runs in 12 s; faults that orders met: late 2, stale 1")


def test_a_violation_is_told_with_its_seed_plan_and_slice():
    plan = plan_of(SAMPLE[0])
    words = told(plan, ["what was done"], [Violation("in the ledger", "o1", "it is not", ("OrderRow o1", "Send o1"))])
    assert f"make drill DRILL_SEED={plan.seed} DRILL_RUNS=1" in words
    assert all(str(step) in words for step in plan.steps)
    assert all(part in words for part in ("what was done", "in the ledger: o1: it is not", "OrderRow o1", "Send o1"))
