"""Since when a position has had no stop: from the end of what protected it last, whichever order that was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert

from schema.execution import positions
from schema.market import products
from svc_monitor.feeds.exits import read as read_exits
from tests.support.stored import store_order

NOW = datetime.now(UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.fixture
async def held(database: Any) -> Any:
    """6 of ETH-USD, bought an hour ago."""
    steps = dict.fromkeys(("base_increment", "quote_increment", "price_increment", "base_min_size"), Decimal("0.01"))
    rules = {**steps, "quote_min_size": 1, "tradable": True, "status": "online", "followed": True, "observed_at": NOW}
    bought = {"base_size": 6, "cost": 600, "realized_pnl": 0, "total_fees": 0, "updated_at": ago(3600)}
    async with database.engine.begin() as connection:
        await connection.execute(insert(products).values(product_id="ETH-USD", **rules))
        await connection.execute(insert(positions).values(product_id="ETH-USD", **bought))
    return database


async def protects(database: Any, state: str, size: int, made: float, ended: float, **changes: Any) -> None:
    terms = {"purpose": "PROTECTION", "stop_price": 90, "target_price": 120, "order_type": "BRACKET"}
    ids = {"recommendation_id": None, "reservation_id": None, "exchange_order_id": f"x-{made}"}
    times = {"created_at": ago(made), "updated_at": ago(ended)}
    given = {**terms, **ids, **times, "base_size": size, **changes}
    await store_order(database.engine, "ETH-USD", "SELL", state, NOW, **given)


async def unprotected(database: Any) -> tuple[str, float]:
    (one,) = (await read_exits(SimpleNamespace(autocommit=database.engine))).unprotected  # type: ignore[arg-type]
    return one.unprotected, one.age_seconds - (datetime.now(UTC) - NOW).total_seconds()


async def test_the_end_of_an_older_bracket_counts(held: Any) -> None:
    """The one that was made last is not the one that ended last."""
    await protects(held, "CANCELLED", 2, 900, 3)
    await protects(held, "OPEN", 2, 400, 390)
    await protects(held, "OPEN", 2, 180, 172)
    size, seconds = await unprotected(held)
    assert (size, round(seconds)) == ("2", 3)


async def test_what_still_protects_a_part_does_not_make_the_rest_young(held: Any) -> None:
    await protects(held, "CANCELLED", 2, 900, 100)
    await protects(held, "OPEN", 4, 50, 5)
    size, seconds = await unprotected(held)
    assert (size, round(seconds)) == ("2", 100)


async def test_what_was_refused_at_once_protected_nothing(held: Any) -> None:
    await protects(held, "REJECTED", 6, 20, 19, exchange_order_id=None)
    assert round((await unprotected(held))[1]) == 3600
    # What had waited here protected until it was sent, and what the exchange had until that failed it.
    await protects(held, "REJECTED", 6, 800, 70, exchange_order_id=None, order_type="MARKET", triggered_at=ago(71))
    assert round((await unprotected(held))[1]) == 70
    await protects(held, "REJECTED", 6, 60, 40)
    assert round((await unprotected(held))[1]) == 40
