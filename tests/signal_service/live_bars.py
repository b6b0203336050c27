"""Bars as they arrive live, and what a batch decides of the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import select

from modelkit.candles import CandleArrays
from modelkit.loading import LoadedModel
from modelkit.serving import latest_rows
from schema.market import crypto_prices
from svc_signal.bars.bar import BarDecisions, BarTerms, decide_bar
from tests.signal.signal_series import FIRST_BAR
from tests.signal_service.signal_world import PRODUCTS, World, close_of
from tradekit.states import Profile

HOURLY = 3600


FACTOR = "BTC-USD"


COST = 2 * (0.009 + 0.0005)


async def stored_candles(world: World, product: str) -> CandleArrays:
    """Read plainly, row by row, beside the service's own packed reading."""
    table = crypto_prices.c
    wanted = select(table.start, table.open, table.high, table.low, table.close, table.volume)
    rows = await world.run(wanted.where(table.product_id == product, table.granularity == HOURLY).order_by(table.start))
    starts = np.array([row["start"].timestamp() for row in rows], dtype=np.int64)
    columns = ("open", "high", "low", "close", "volume")
    values = np.array([[float(row[column]) for column in columns] for row in rows]).reshape(-1, 5)
    return CandleArrays(starts, *(values[:, column].copy() for column in range(5)))


async def truth(
    world: World, bar: int, model: LoadedModel, products: Sequence[str] = PRODUCTS, profile: Profile = Profile.EXERCISE
) -> BarDecisions:
    """The decisions of a bar from the candles as they are stored now, by the reference of the features."""
    candles = {name: await stored_candles(world, name) for name in (*PRODUCTS, FACTOR)}
    found = latest_rows({name: candles[name] for name in {*products, FACTOR}}, FIRST_BAR + bar, 3600, FACTOR)
    return decide_bar(found, BarTerms(products, model, None, None, COST, profile))


def same(rows: Sequence[Any], expected: BarDecisions) -> None:
    """The stored signals of a bar are the expected decisions, to the bit."""
    assert tuple(row["product_id"] for row in rows) == expected.products
    for number, row in enumerate(rows):
        features = expected.features[number].tolist() if expected.ready[number] else []
        assert row["features"] == features
        assert row["side"] == expected.decisions.side[number]
        assert row["confidence"] == expected.decisions.confidence[number]
        assert row["sigma_horizon"] == expected.sigma[number]
        assert [reason["code"] for reason in row["reasons"]] == list(expected.decisions.reasons[number])
        if expected.ready[number]:
            assert [row["p_down"], row["p_neutral"], row["p_up"]] == expected.decisions.probabilities[number].tolist()
            assert row["edge"] == expected.decisions.edge[number]
            assert row["expected_net"] == expected.decisions.expected_net[number]


def of_bar(rows: Sequence[Any], bar: int) -> list[Any]:
    return [row for row in rows if row["as_of"] == close_of(bar)]


async def next_bar(world: World, bar: int, products: tuple[str, ...] = PRODUCTS) -> list[Any]:
    await world.store(bar, bar, products)
    await world.complete(bar)
    return of_bar(await world.until_decided(bar), bar)
