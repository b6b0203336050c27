"""A plan of what goes wrong, read at the start: the same rules and habits that the operator may set later, in one file.

Rules carry their seeds, so that the same plan meets the same requests in the same way each time.
"""

from pathlib import Path

from exchange_sim.fault_rules import Faults
from exchange_sim.habits import Habits
from exchange_sim.order_request import BadBody, read_object
from exchange_sim.web import HttpError


class BadPlan(Exception):
    """The file is no plan; the text says what in it."""


def follow(path: Path, faults: Faults, habits: Habits) -> None:
    """Sets what a file `{"faults": [rule, ...], "habits": {...}}` says; BadPlan."""
    try:
        plan = read_object(path.read_bytes())
    except (OSError, BadBody) as error:
        raise BadPlan(f"SIM_PLAN_FILE: {path} is no JSON object that can be read: {error}") from error
    unknown = sorted(plan.keys() - {"faults", "habits"})
    rules, given = plan.get("faults", []), plan.get("habits", {})
    if unknown or not isinstance(rules, list) or not isinstance(given, dict):
        raise BadPlan(f"SIM_PLAN_FILE: {path} must be an object of faults, a list, and habits, an object")
    for number, rule in enumerate(rules):
        try:
            faults.add(rule if isinstance(rule, dict) else {})
        except HttpError as error:
            raise BadPlan(f"SIM_PLAN_FILE: {path}: faults[{number}]: {error}") from error
    try:
        habits.change(given)
    except ValueError as error:
        raise BadPlan(f"SIM_PLAN_FILE: {path}: habits: {error}") from error
