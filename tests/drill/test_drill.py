"""Forty fixed runs of the drill: the whole mesh against a faulty exchange, deaths, the switch and strangers."""

from contextlib import aclosing

import pytest

from tests.drill.campaign import campaign
from tests.drill.plan import SAMPLE, Kill, plan_of
from tests.drill.report import line_of, summary, told

# A world that shows a violation is made anew for the next run; enough is known after a few.
ENOUGH = 3


@pytest.mark.timeout(3600)
async def test_what_was_promised_holds_in_forty_runs():
    lines, violated = [], []
    killed: set[str] = set()
    plans = [plan_of(seed) for seed in SAMPLE]
    async with aclosing(campaign(plans)) as runs:
        async for result in runs:
            lines.append(line_of(result))
            kills = [step for step in result.plan.steps if isinstance(step, Kill)]
            killed |= {step.victim for step in kills if f"{step}: killed" in result.answers}
            if result.violations:
                violated.append(told(result.plan, result.answers, result.violations))
            if len(violated) == ENOUGH:
                break
    assert not violated, "\n\n".join([*violated, summary(lines)])
    assert len(lines) == len(SAMPLE)
    states = {state for line in lines for state, count in line.states.items() if count}
    assert states >= {"EXECUTED", "REJECTED"}, "a drill in which nothing trades shows nothing"
    assert {name for line in lines for name in line.faults} - {"pass"}, "a drill in which nothing breaks shows nothing"
    planned = {step.victim for plan in plans for step in plan.steps if isinstance(step, Kill)}
    assert killed == planned, "each of the others was already dead whenever its turn came"
