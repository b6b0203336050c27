"""What is to be sold because its time has come, where its coins are not free yet."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from svc_executor.protection_step import Due, next_step
from tests.executor.test_executor_protection_step import NOW, PLAN, QUIET, RULES, held, product, standing
from tradekit.states import ExitTrigger

D = Decimal


def test_what_is_due_and_not_free_yet_is_not_kept_by_another_plan() -> None:
    over = Due(D(1), replace(PLAN, exit_time=NOW), ExitTrigger.TIME_LIMIT)
    one = held("3", standing=(standing("2"),), plan=PLAN, due=(over,))
    assert next_step(one, product(), replace(QUIET, free=D(0)), RULES) is None
    assert next_step(one, product(), replace(QUIET, free=D(1)), RULES) is not None
    # What could not be sold at any time is protected with the rest.
    dust = replace(over, left=D("0.0001"))
    assert next_step(replace(one, due=(dust,)), product(), replace(QUIET, free=D(0)), RULES) is not None
