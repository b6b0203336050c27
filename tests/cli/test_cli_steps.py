"""A step of a start that cannot be done says so itself, where a supervisor would speak of a process that ended."""

import asyncio

import pytest

from cli.steps import StepFailed, StepUnit, in_own_words
from supervisor.unit import StartFailed


async def too_few() -> None:
    raise StepFailed("no model could be trained: TOO_FEW_ROWS")


def failed(*units: StepUnit) -> str:
    with pytest.raises((StartFailed, StepFailed)) as raised, in_own_words(units):
        raise StartFailed("model: no model could be trained: TOO_FEW_ROWS: last lines of its log")
    return str(raised.value)


def test_a_failed_step_is_told_in_its_own_words() -> None:
    async def run(unit: StepUnit) -> None:
        await unit.launch()
        assert not (await unit.wait()).ok

    model, other = StepUnit("model", (), too_few, 5), StepUnit("migrations", (), too_few, 8)
    assert failed(other, model).endswith("last lines of its log")
    asyncio.run(run(model))
    assert failed(other, model) == "no model could be trained: TOO_FEW_ROWS"
