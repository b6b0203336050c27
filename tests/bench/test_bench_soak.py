"""The plan of a soak and what is made of its samples; the soak itself is `make soak`."""

from collections import Counter

import pytest

from bench.soak.plan import WARM, Sample, growth_of, soak_plan
from tests.drill.plan import PRODUCTS, VICTIMS, Buy, Kill, Sell

HOUR = 3600.0


def test_everybody_dies_once_before_memory_is_looked_at_and_orders_come_evenly():
    plan = soak_plan(600, 10)
    kills = [step for step in plan.steps if isinstance(step, Kill)]
    orders = [step for step in plan.steps if not isinstance(step, Kill)]
    assert Counter(step.victim for step in kills) == Counter(VICTIMS)
    assert 0 < kills[0].at < kills[-1].at < 600 * WARM
    assert len(orders) == 6000 and orders[-1].at < 600
    for minute in range(10):
        part = [step for step in orders if minute * 60 <= step.at < minute * 60 + 60]
        assert len(part) == pytest.approx(600, abs=1)
        for kind, share in ((Buy, 0.8), (Sell, 0.2)):
            products = Counter(step.product for step in part if isinstance(step, kind))
            assert set(products) == set(PRODUCTS)
            assert sum(products.values()) == pytest.approx(600 * share, abs=2)


def test_growth_is_the_slope_after_the_warm_up():
    samples = [Sample(at, "risk", 1, 10_000_000 if at < 100 else 1_000_000 + at * 5) for at in range(0, 400, 10)]
    samples += [Sample(at, "bridge", 2, 7_000) for at in range(0, 400, 10)]
    bridge, risk = growth_of(samples, 100)
    assert (bridge.name, bridge.per_hour) == ("bridge", 0)
    assert risk.per_hour == pytest.approx(5 * HOUR)
    assert (risk.first, risk.last, risk.most) == (1_000_500, 1_001_950, 1_001_950)


def test_a_process_started_anew_after_the_warm_up_has_no_growth():
    samples = [Sample(at, "risk", 1 if at < 300 else 2, 1000) for at in range(0, 400, 10)]
    with pytest.raises(ValueError, match="risk was started anew"):
        growth_of(samples, 100)
    assert growth_of(samples, 300)[0].per_hour == 0
