"""The plan of a campaign: the same for the same seed, and every part of the grid in a range that is long enough."""

from collections import Counter

import pytest

from tests.chaos.grid import CELLS, TROUBLES, Death, Point, cell_of
from tests.chaos.plan import SAMPLE, Act, plan_of

CAMPAIGN = range(1, 2001)


def test_a_seed_is_its_plan() -> None:
    assert [plan_of(seed) for seed in SAMPLE] == [plan_of(seed) for seed in SAMPLE]
    assert len({str(plan_of(seed)) for seed in SAMPLE}) == len(SAMPLE)


def test_a_campaign_visits_every_cell_and_a_sample_every_point_trouble_and_death() -> None:
    visited = {str(cell_of(seed)) for seed in CAMPAIGN}
    assert visited == {str(cell) for cells in CELLS.values() for cell in cells}
    sample = [cell_of(seed) for seed in SAMPLE]
    assert {(cell.point, cell.death) for cell in sample} == {(point, death) for point in Point for death in Death}
    by_point = Counter(cell.point for cell in sample)
    assert max(by_point.values()) - min(by_point.values()) <= 1
    met = {cell.trouble.name for cell in sample}
    assert len(met) >= 0.9 * len({one.name for troubles in TROUBLES.values() for one in troubles})


@pytest.mark.parametrize("point", Point)
def test_every_cell_of_a_point_disturbs_something(point: Point) -> None:
    names = [(cell.trouble.name, cell.death) for cell in CELLS[point]]
    assert len(set(names)) == len(names)
    assert ("nothing", Death.NONE) not in names


def test_a_point_is_met_by_an_act_that_comes_to_it() -> None:
    acts = {point: {plan_of(seed).act for seed in CAMPAIGN if cell_of(seed).point is point} for point in Point}
    assert acts[Point.IN_BRACKET] == {Act.ENTRY}
    assert acts[Point.IN_CANCEL] == {Act.EXIT, Act.CLOSE, Act.CANCEL}
    others = set(Point) - {Point.IN_BRACKET, Point.IN_CANCEL}
    assert all(acts[point] == {Act.ENTRY, Act.EXIT, Act.CLOSE} for point in others)
