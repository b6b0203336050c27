"""Alerts of exits: from rows to words, and no word that is not so in the state that is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import bindparam, insert, text
from sqlalchemy.dialects.postgresql import JSONB

from schema.execution import positions
from schema.operations import alerts
from schema.recommendations import recommendation_events
from svc_monitor.alerts import Severity
from svc_monitor.feeds.exits import (
    Exits,
    FailedClose,
    FailedExit,
    OpenClose,
    OpenExit,
    OrderAlarm,
    UnknownOrder,
    Violation,
)
from svc_monitor.feeds.exits import read as read_exits
from svc_monitor.feeds.trading import Trading
from svc_monitor.health import Known, ServiceState, health_names
from svc_monitor.order_rules import ORDER_RULES
from svc_monitor.rules import judge
from tests.monitor.views import NOW, found, seen
from tests.support.stored import store_order, store_recommendation
from tradekit import services
from tradekit.recommendation import Recommendation
from tradekit.states import LifeClock, Origin, Profile, Side

DOWN = Known(ServiceState.UNREACHABLE, "nobody", NOW, NOW, 0.0)
WAITS = OpenExit("BTC-USD", "r-1", "EXECUTING", 31.0, "NOTHING_AVAILABLE", "the ledger holds 2", "", "")
FAILED = FailedExit("BTC-USD", "r-1", "FAILED", "orchestrator", "RETRIES_EXHAUSTED", "NOTHING_AVAILABLE", "2")

OPEN_CLOSE = OpenClose("BTC-USD", "o-1", "PENDING", "2", "0", "", "", 31.0, False)
FAILED_CLOSE = FailedClose("BTC-USD", "o-1", "REJECTED", "2", "0", "INSUFFICIENT_FUND", "account 7", "2.5")


def test_a_close_without_an_order_is_an_alert_with_what_it_waits_for() -> None:
    waits = replace(OPEN_CLOSE, state="WAITING", reason="NOTHING_AVAILABLE", observed="the ledger holds 2")
    assert found(seen(exits=Exits(open_closes=(replace(waits, age_seconds=29.9),)))) == {}
    assert found(seen(exits=Exits(open_closes=(waits,)))) == {"EXIT_WAITING": ["order:o-1"]}
    told = words(seen(exits=Exits(open_closes=(waits,))), "EXIT_WAITING")
    assert "NOTHING_AVAILABLE: the ledger holds it" in told and "tried again" in told


def words(view: Any, code: str) -> str:
    (finding,) = judge(view)[code] or ()
    return str(finding.message)


def test_an_exit_is_an_alert_after_half_a_minute_with_what_it_waits_for() -> None:
    young = replace(WAITS, age_seconds=29.9)
    assert found(seen(exits=Exits(open=(young,)))) == {}
    assert found(seen(exits=Exits(open=(WAITS,)))) == {"EXIT_WAITING": ["product:BTC-USD"]}
    view = seen(exits=Exits(open=(WAITS,)))
    assert "moved by hand" in words(view, "EXIT_WAITING") and "mesh cancel r-1" in words(view, "EXIT_WAITING")
    ordered = replace(WAITS, order_id="o-1", order_state="UNKNOWN", age_seconds=301.0)
    (finding,) = judge(seen(exits=Exits(open=(ordered,))))["EXIT_WAITING"] or ()
    assert finding.severity is Severity.CRITICAL
    assert "ORDER_UNKNOWN" in finding.message and "cancel" not in finding.message
    assert judge(seen(exits=None))["EXIT_WAITING"] is None


def test_a_failed_exit_is_an_alert_unless_somebody_wanted_it() -> None:
    assert found(seen(exits=Exits(failed=(FAILED,)))) == {"EXIT_FAILED": ["recommendation:r-1"]}
    told = words(seen(exits=Exits(failed=(FAILED,))), "EXIT_FAILED")
    assert "RETRIES_EXHAUSTED after NOTHING_AVAILABLE" in told and "mesh close BTC-USD" in told
    for reason in ("KILL_SWITCH", "SELL_NOT_HELD", "NOT_HELD", "CANCELLED_BY_OPERATOR"):
        assert found(seen(exits=Exits(failed=(replace(FAILED, reason=reason),)))) == {}


def test_a_close_that_waits_is_an_alert_of_its_own_with_what_to_do() -> None:
    young = replace(OPEN_CLOSE, age_seconds=29.9)
    assert found(seen(exits=Exits(open_closes=(young,)))) == {}
    both = Exits(open=(WAITS,), open_closes=(OPEN_CLOSE, replace(OPEN_CLOSE, order_id="o-2")))
    assert found(seen(exits=both)) == {"EXIT_WAITING": ["product:BTC-USD", "order:o-1", "order:o-2"]}

    def told(severity: Severity = Severity.WARNING, **changes: Any) -> str:
        given = {name: changes.pop(name) for name in ("trading", "database_up", "health") if name in changes}
        view = seen(exits=Exits(open_closes=(replace(OPEN_CLOSE, **changes),)), **given)
        (finding,) = judge(view)["EXIT_WAITING"] or ()
        assert finding.severity is severity
        return str(finding.message)

    waits = told()
    assert "close of BTC-USD is PENDING" in waits and "order o-1 sells 2, sold so far: 0" in waits
    assert "not answered for" in waits and "executor sends it by itself" in waits
    assert "EXCHANGE_DOWN: 503" in told(reason="EXCHANGE_DOWN", observed="503")
    for state in ("UNKNOWN", "OPEN"):
        late = told(Severity.CRITICAL, state=state, age_seconds=300.0)
        assert f"ORDER_{state}" in late and "Look it up at the exchange" in late
        # A halt does not call back what the exchange may have.
        assert "HALTED" not in told(state=state, trading=Trading("HALTED"))
    halted = told(trading=Trading("HALTED"))
    assert "Trading is HALTED" in halted and "`mesh close BTC-USD` sells" in halted and "by itself" not in halted
    assert "wait for the database" in told(state="OPEN", database_up=False)
    # A close needs no orchestrator.
    away = dict.fromkeys(health_names(services.ORCHESTRATOR), DOWN)
    assert "orchestrator" not in told(health=away)
    assert "cancelled by an operator" in told(cancelled=True) and "by itself" not in told(cancelled=True)


def test_a_close_that_failed_is_an_alert_unless_somebody_wanted_it() -> None:
    view = seen(exits=Exits(failed=(FAILED,), failed_closes=(FAILED_CLOSE,)))
    assert found(view) == {"EXIT_FAILED": ["recommendation:r-1", "order:o-1"]}
    _, close = judge(view)["EXIT_FAILED"] or ()
    for part in ("BTC-USD", "REJECTED", "INSUFFICIENT_FUND: account 7", "o-1", "sell 2", "sold 0", "2.5 is still held",
                 "`mesh close BTC-USD`"):  # fmt: skip
        assert part in close.message
    for reason in ("KILL_SWITCH", "CANCELLED_BY_OPERATOR"):
        assert found(seen(exits=Exits(failed_closes=(replace(FAILED_CLOSE, reason=reason),)))) == {}


def test_unknown_orders_are_known_without_the_orchestrator_and_named() -> None:
    unknown = tuple(UnknownOrder(f"o-{number}", "BTC-USD", "SELL") for number in range(5))
    view = seen(exits=Exits(unknown=unknown), pipeline=None)
    assert found(view) == {"ORDER_UNKNOWN": ["account"]}
    told = words(view, "ORDER_UNKNOWN")
    assert "5 order(s)" in told and "SELL BTC-USD o-0, " in told and "o-3, …)" in told and "o-4" not in told
    # The rows are newer than the orchestrator's count, which stands in while the monitor cannot read them.
    counted = replace(seen().pipeline, unknown_orders=2)
    assert found(seen(pipeline=counted)) == {}
    assert "2 order(s) is unknown:" in words(seen(exits=None, pipeline=counted), "ORDER_UNKNOWN")


def test_a_disagreement_is_an_alert() -> None:
    view = seen(exits=Exits(violations=(Violation("service:risk", "APPROVE of 0"),)))
    assert found(view) == {"CONTRACT_VIOLATION": ["service:risk"]}
    assert "APPROVE of 0" in words(view, "CONTRACT_VIOLATION")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Exits go on."),
        ({"trading": Trading("REDUCING")}, "Exits go on."),
        ({"trading": Trading("HALTED")}, "Trading is HALTED, so exits are stopped as well."),
        ({"database_up": False, "trading": Trading("HALTED")}, "Exits wait for the database."),
        ({"down": services.EXECUTOR, "trading": None}, "Exits wait for the executor."),
        ({"down": services.ORCHESTRATOR}, "Exits wait for the orchestrator; `mesh close` sells without it."),
        ({"down": services.RISK}, "Exits go on."),
    ],
)
def test_what_is_said_of_exits_is_so(given: dict[str, Any], sentence: str) -> None:
    closed = {health_names(services.VALIDATOR)[1]: Known(ServiceState.NOT_SERVING, "", NOW, NOW, 0.0)}
    down = given.pop("down", None)
    broken = dict.fromkeys(health_names(down), DOWN) if down else {}
    view = seen(health=closed | broken, exits=Exits(open=(WAITS,)), **given)
    assert sentence in words(view, "ENTRIES_CLOSED")
    assert (sentence in words(view, "EXIT_WAITING")) == (sentence != "Exits go on.")


def test_what_closed_entries_of_the_market_mean_is_said() -> None:
    """Others that close leave the signals to sell alone."""
    for service, said in ((services.MARKET, True), (services.VALIDATOR, False)):
        closed = {health_names(service)[1]: Known(ServiceState.NOT_SERVING, "", NOW, NOW, 0.0)}
        told = words(seen(health=closed), "ENTRIES_CLOSED")
        assert ("no signal is made, to sell neither, and exits by time wait" in told) is said


def test_a_halt_is_shown_as_the_executor_obeys_it() -> None:
    view = seen(trading=Trading("HALTED", "maintenance", stored=False), risk=None)
    told = words(view, "TRADING_HALTED")
    assert "maintenance" in told and "the database does not have it yet" in told
    assert "does not have it" not in words(seen(trading=Trading("HALTED")), "TRADING_HALTED")


def test_an_order_that_a_person_must_hear_of_is_an_alert_of_its_own() -> None:
    alarms = tuple(OrderAlarm(code, "BTC-USD", code, "BUY, filled 2") for code in ORDER_RULES)
    assert found(seen(exits=Exits(alarms=alarms))) == {code: [f"order:{code}"] for code in ORDER_RULES}
    assert "filled 2" in words(seen(exits=Exits(alarms=alarms)), "ORDER_ADOPTED")


# ---- from the rows ---------------------------------------------------------------------------------------------------


def an_exit(product: str = "BTC-USD", **changes: Any) -> Recommendation:
    made = datetime(2025, 6, 15, tzinfo=UTC)
    values = {"as_of": made, "expire_time": made + timedelta(minutes=2), "life_clock": LifeClock.MACHINE, **changes}
    return Recommendation(
        uuid4(), product, Side.SELL, Decimal(2), Decimal(1), origin=Origin.OPERATOR, profile=Profile.EVIDENCE,
        priority=1.0, **values,
    )  # fmt: skip


async def run(database: Any, statement: Any) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(statement)


async def sold(
    database: Any, item: Recommendation, state: str, filled: int, recommendation: UUID | None = None
) -> None:
    size = {"base_size": 2, "filled_size": filled}
    of = {"recommendation_id": recommendation, "reservation_id": None}
    await store_order(database.engine, item.product_id, "SELL", state, item.as_of, **size, **of)


async def test_the_rows_say_what_waits_what_failed_and_who_disagreed(database: Any) -> None:
    kit: Any = SimpleNamespace(autocommit=database.engine)
    engine = database.engine
    reason = {"code": "NOTHING_AVAILABLE", "limit": "", "observed": "free: 0", "unit": "", "scope": "service:executor"}
    minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    waits = await store_recommendation(
        engine, an_exit("SOL-USD"), state="EXECUTING", delay_reason=reason, created_at=minute_ago
    )
    ordered = await store_recommendation(engine, an_exit("ETH-USD"), state="EXECUTING")
    await sold(database, ordered, "OPEN", 0, ordered.recommendation_id)
    failed = await store_recommendation(
        engine, an_exit(), state="FAILED", reasons=[{**reason, "code": "RETRIES_EXHAUSTED"}]
    )
    for product in ("BTC-USD", "LTC-USD"):
        held = {"product_id": product, "base_size": 2, "cost": 1, "realized_pnl": 0, "total_fees": 0}
        await run(database, insert(positions).values(**held))
    violation = {**reason, "code": "CONTRACT_VIOLATION", "scope": "service:risk"}
    event = {"sequence": 1, "recommendation_id": waits.recommendation_id, "to_state": "EXECUTING", "decided_by": "x"}
    await run(database, insert(recommendation_events).values(**event, reasons=[violation], as_of=waits.as_of))

    now = await read_exits(kit)
    assert [(one.product_id, one.reason, one.order_state) for one in now.open] == [
        ("ETH-USD", "", "OPEN"),
        ("SOL-USD", "NOTHING_AVAILABLE", ""),
    ]
    assert 59 < now.open[1].age_seconds < 600
    assert [(one.product_id, one.reason, one.held) for one in now.failed] == [("BTC-USD", "RETRIES_EXHAUSTED", "2")]
    assert now.violations == (Violation("service:risk", "free: 0"),)

    scope = f"recommendation:{failed.recommendation_id}"
    alert = {"alert_id": uuid4(), "code": "EXIT_FAILED", "scope": scope, "severity": "CRITICAL", "message": "m"}
    await run(database, insert(alerts).values(**alert, raised_at=minute_ago, sequence=1))
    assert len((await read_exits(kit)).failed) == 1
    await run(database, text("UPDATE alerts SET acknowledged_at = now()"))
    assert (await read_exits(kit)).failed == ()
    await run(database, text("UPDATE alerts SET acknowledged_at = NULL"))
    # What was sold since, by whatever way, shows that getting out works; a newer exit stands for the older one.
    await sold(database, failed, "FILLED", 1)
    assert (await read_exits(kit)).failed == ()


async def test_the_rows_say_which_closes_wait_and_which_failed(database: Any) -> None:
    kit: Any = SimpleNamespace(autocommit=database.engine)
    item = an_exit()
    close = {"recommendation_id": None, "reservation_id": None, "base_size": 2}
    minute_ago = datetime.now(UTC) - timedelta(minutes=1)

    async def order(state: str, product: str = "BTC-USD", **changes: Any) -> str:
        given = {**close, **changes}
        return str(await store_order(database.engine, product, "SELL", state, item.as_of, **given))

    for product in ("BTC-USD", "ETH-USD", "LTC-USD"):
        held = {"product_id": product, "base_size": 2, "cost": 1, "realized_pnl": 0, "total_fees": 0}
        await run(database, insert(positions).values(**held))
    pending = await order("PENDING", created_at=minute_ago)
    unknown = await order("UNKNOWN", "ETH-USD", filled_size=1, cancel_requested_at=minute_ago)
    # Neither an exit of a recommendation nor an entry is a close.
    await sold(database, item, "OPEN", 0, uuid4())
    await store_order(database.engine, "BTC-USD", "BUY", "OPEN", item.as_of)
    now = await read_exits(kit)
    assert [
        (one.product_id, one.order_id, one.state, one.size, one.filled, one.cancelled) for one in now.open_closes
    ] == [
        ("BTC-USD", pending, "PENDING", "2", "0", False),
        ("ETH-USD", unknown, "UNKNOWN", "2", "1", True),
    ]
    assert 59 < now.open_closes[0].age_seconds < 600
    assert [(one.order_id, one.product_id, one.side) for one in now.unknown] == [(unknown, "ETH-USD", "SELL")]
    assert now.failed_closes == ()

    refused = [{"code": "INSUFFICIENT_FUND", "observed": "account 7"}]
    done = text(
        "UPDATE orders SET state = 'REJECTED', reasons = :why, updated_at = now() WHERE order_id = CAST(:id AS uuid)"
    )
    done = done.bindparams(bindparam("why", refused, type_=JSONB))
    await run(database, done.bindparams(id=pending))
    partly = await order("CANCELLED", "LTC-USD", filled_size=1)
    await order("FILLED", "SOL-USD", filled_size=2)
    failed = {one.order_id: one for one in (await read_exits(kit)).failed_closes}
    assert failed.keys() == {pending, partly}
    told = failed[pending]
    assert (told.state, told.reason, told.observed, told.held) == ("REJECTED", "INSUFFICIENT_FUND", "account 7", "2")
    assert (failed[partly].size, failed[partly].filled) == ("2", "1")

    alert = {"alert_id": uuid4(), "code": "EXIT_FAILED", "severity": "CRITICAL", "message": "m", "sequence": 1}
    seen_ = {"raised_at": minute_ago, "acknowledged_at": minute_ago}
    await run(database, insert(alerts).values(**alert, **seen_, scope=f"order:{partly}"))
    assert [one.order_id for one in (await read_exits(kit)).failed_closes] == [pending]
    # A newer close stands for the older one, what was sold since shows that getting out works, and so does an empty position.
    newer = await order("PENDING")
    assert (await read_exits(kit)).failed_closes == ()
    await run(database, done.bindparams(id=newer))
    assert [one.order_id for one in (await read_exits(kit)).failed_closes] == [newer]
    await run(database, text("UPDATE positions SET base_size = 0 WHERE product_id = 'BTC-USD'"))
    assert (await read_exits(kit)).failed_closes == ()
    await run(database, text("UPDATE positions SET base_size = 1 WHERE product_id = 'BTC-USD'"))
    await sold(database, item, "FILLED", 1)
    assert (await read_exits(kit)).failed_closes == ()


async def test_the_rows_say_which_orders_a_person_must_hear_of(database: Any) -> None:
    kit: Any = SimpleNamespace(autocommit=database.engine)
    item = an_exit()
    taken = [{"code": "CLIENT_ORDER_ID_TAKEN", "observed": "x-9: BUY ETH-USD, filled 1"}]
    changes: dict[str, str] = {
        "ORDER_ADOPTED": "adopted_at = now() - interval '1 hour'",
        "": "adopted_at = now() - interval '2 days', state = 'OPEN', done_at = now() - interval '1 minute'",
        "ORDER_NOT_SETTLED": "state = 'OPEN', done_at = now() - interval '6 minutes'",
        "CLIENT_ORDER_ID_TAKEN": "watch_until = now() + interval '1 hour', reasons = :taken",
    }
    for change in changes.values():
        await sold(database, item, "REJECTED", 1)
        statement = text(f"UPDATE orders SET {change}, note = 'x' WHERE note = ''")
        taken_ = statement.bindparams(bindparam("taken", taken, type_=JSONB)) if ":taken" in change else statement
        await run(database, taken_)
    alarms = {one.code: one.detail for one in (await read_exits(kit)).alarms}
    assert alarms == {
        "ORDER_ADOPTED": "SELL, now REJECTED, filled 1",
        "ORDER_NOT_SETTLED": "SELL, filled 1",
        "CLIENT_ORDER_ID_TAKEN": "x-9: BUY ETH-USD, filled 1",
    }
