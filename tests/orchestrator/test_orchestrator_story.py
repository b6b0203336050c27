"""The order of a story's steps, from rows alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from svc_orchestrator.explain import tell
from svc_orchestrator.story_rows import EventRow, FillRow, OrderRow, ReviewRow, StoryRows

BAR = datetime(2025, 3, 1, 12, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)


NO_PROTECTION = dict.fromkeys(("entry_order_id", "stop_price", "target_price", "exit_time", "trigger"))


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def event(before: str | None, after: str, seconds: float) -> EventRow:
    return EventRow(before, after, "orchestrator", (), BAR, moment(seconds))


def order(order_id: UUID, seconds: float) -> OrderRow:
    amounts: dict[str, Any] = {"filled_size": Decimal(1), "filled_value": Decimal(100), "total_fees": Decimal(1)}
    terms: dict[str, Any] = {"quote_size": Decimal(100), "base_size": None, **amounts, "send_count": 1}
    return OrderRow(
        order_id=order_id,
        recommendation_id=uuid4(),
        product_id="BTC-USD",
        side="BUY",
        state="FILLED",
        exchange_order_id="x",
        venue="SIMULATED",
        ticket_id="",
        note="",
        reasons=(),
        as_of=BAR,
        created_at=moment(seconds),
        **{"purpose": "ENTRY", "order_type": "MARKET", "limit_price": None, "end_time": None, **NO_PROTECTION, **terms},
    )


def test_a_story_is_told_as_it_happened_where_all_of_it_has_one_market_time() -> None:
    order_id = uuid4()
    fill = FillRow(order_id, "f", "t", "BUY", Decimal(100), Decimal(1), Decimal(1), "TAKER", Decimal(0), BAR, BAR)
    rows = StoryRows(
        reviews=(ReviewRow("rules", "VETO", "APPROVE", "APPROVE", "", "", 1.0, "", (), moment(1.5)),),
        orders=(order(order_id, 3),),
        fills=(fill,),
        events=(
            event(None, "PROPOSED", 0),
            event("PROPOSED", "IN_REVIEW", 1),
            event("IN_REVIEW", "EXECUTING", 2),
            event("EXECUTING", "EXECUTED", 4),
        ),
    )
    told = [(step.stage, step.outcome) for step in tell(rows).steps]
    assert told == [
        ("orchestrator", "PROPOSED"),
        ("orchestrator", "IN_REVIEW"),
        ("validator", "APPROVE"),
        ("orchestrator", "EXECUTING"),
        ("order", "FILLED"),
        ("fill", "BUY"),
        ("orchestrator", "EXECUTED"),
    ]


def test_an_order_that_waited_for_its_price_has_the_time_of_its_fill() -> None:
    """One that was placed and filled days later must not be read as filled when it was placed."""
    later = BAR + timedelta(days=2)
    prices = {"stop_price": Decimal(90), "target_price": Decimal(110), "purpose": "PROTECTION", "order_type": "BRACKET"}
    bracket = replace(order(uuid4(), 3), side="SELL", **prices)
    waiting = replace(bracket, order_id=uuid4(), state="OPEN")
    fill = FillRow(
        bracket.order_id, "f", "t", "SELL", Decimal(90), Decimal(1), Decimal(1), "TAKER", Decimal(0), later, later
    )
    done, sold, open_yet = tell(StoryRows(orders=(bracket, waiting), fills=(fill,))).steps
    assert done.as_of == sold.as_of == later and open_yet.as_of == BAR
    assert f"placed {BAR:%Y-%m-%d %H:%M}, FILLED" in done.summary and "placed" not in open_yet.summary
