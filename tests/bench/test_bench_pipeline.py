"""The arithmetic of the pipeline's bench: what it says of rows, logs and counters, without a mesh."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from rich.console import Console

from bench.pipeline import report
from bench.pipeline.figures import (
    STEPS,
    Moments,
    delays,
    ends,
    executed_per_second,
    latencies,
    percentile,
    ratio,
    spread,
    step_seconds,
)
from bench.pipeline.loads import BurstFigures
from bench.pipeline.meter import Reading, Use, used
from bench.pipeline.options import parse
from bench.pipeline.orchestrators import OrchestratorFigures, more_than_once, runs_of
from bench.pipeline.overload import OverloadFigures
from bench.pipeline.peers import PeerFigures
from bench.pipeline.statement_log import Counts, Part, StatementCounter
from bench.pipeline.statements import lines_of, texts_of
from bench.pipeline.stored import copy_statement
from tests.support.replicas import ended_by

START = datetime(2026, 1, 1, tzinfo=UTC)


def moments(*seconds: float, state: str = "EXECUTED", reasons: tuple[str, ...] = ()) -> Moments:
    """As many of the steps as there are seconds."""
    names = STEPS if len(seconds) == len(STEPS) else ("created", "ended")
    at = {name: START + timedelta(seconds=one) for name, one in zip(names, seconds, strict=False)}
    return Moments(at, state, reasons, orders=1)


def shown(table: object) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


# ---- percentiles and rates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [
        ([5.0], 50, 5.0),
        ([1.0, 2.0], 50, 1.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 102)), 99, 100),
        (list(range(1, 11)), 99, 10),
        (list(range(1, 101)), 100, 100),
    ],
)
def test_percentile_is_a_measured_value(values: list[float], percent: float, wanted: float) -> None:
    assert percentile(values, percent) == wanted


@pytest.mark.parametrize("percent", [0, -1, 100.1])
def test_percentile_refuses_what_is_none(percent: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile([1.0], percent)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    assert spread([]) is None


def test_throughput_counts_executed_ones_from_the_first_creation_of_all() -> None:
    found = [moments(0, 99, state="REJECTED"), moments(2, 4), moments(3, 10)]
    assert executed_per_second(found) == pytest.approx(2 / 10)
    assert executed_per_second([moments(0, 1, state="FAILED")]) == 0.0


def test_latency_leaves_out_who_has_not_come_so_far() -> None:
    assert latencies([moments(1, 3), moments(1)], "created", "ended") == [2.0]


def test_steps_are_those_of_executed_ones_alone() -> None:
    quick, slow = moments(*range(9)), moments(*(10 * number for number in range(9)))
    refused = moments(*(1000 * number for number in range(9)), state="REJECTED")
    steps = step_seconds([quick, slow, refused])
    assert list(steps) == [f"{a} -> {b}" for a, b in pairwise(STEPS)]
    assert steps["ordered -> sent"].p50 == 1.0
    assert steps["ordered -> sent"].longest == 10.0
    assert steps["ordered -> sent"].count == 2


def test_a_moment_that_nobody_noted_is_stepped_over() -> None:
    at = {name: START + timedelta(seconds=number) for number, name in enumerate(STEPS) if name != "sent"}
    steps = step_seconds([Moments(at, "EXECUTED")])
    assert steps["ordered -> recorded"].p50 == 2.0
    assert not any("sent" in step for step in steps)


def test_an_end_that_is_none_is_told_with_its_reasons() -> None:
    found = [
        moments(0, 1),
        moments(0, 1, state="REJECTED", reasons=("ORDER_RATE", "DRAWDOWN")),
        moments(0, 1, state="EXPIRED"),
        moments(0, state="IN_REVIEW"),
    ]
    assert ends(found) == {
        "EXECUTED": 1,
        "REJECTED: ORDER_RATE, DRAWDOWN": 1,
        "EXPIRED: no reason": 1,
        "OPEN (IN_REVIEW): no reason": 1,
    }


def test_what_was_put_back_is_counted_by_its_last_reason() -> None:
    twice = Moments({}, "EXECUTED", delays=2, delay="ORDER_UNKNOWN")
    assert delays([twice, twice, Moments({}, "EXECUTED"), Moments({}, "EXPIRED", delays=1)]) == {
        "ORDER_UNKNOWN": 4,
        "no reason": 1,
    }


def test_ratio_of_nothing_is_none() -> None:
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(None, 2.0) is None
    assert ratio(1.0, None) is None
    assert ratio(1.0, 0.0) is None


# ---- the log of statements ---------------------------------------------------------------------------------------------


def log(*lines: str) -> str:
    return "\n".join(lines)


def line(service: str, session: int, text: str, how: str = "statement") -> str:
    return f"{service}|{session}|LOG:  {how}: {text}"


def test_a_statement_alone_is_a_transaction_of_its_own() -> None:
    counts = StatementCounter().counted(
        log(
            line("risk", 1, "BEGIN;"),
            line("risk", 1, "SELECT 1", "execute __asyncpg_stmt_1__"),
            line("risk", 2, "SELECT 2", "execute <unnamed>"),
            line("risk", 1, "UPDATE x"),
            line("risk", 1, "COMMIT;"),
            line("risk", 1, "SELECT 3"),
        )
    )
    assert counts.statements == {"risk": 4}
    assert counts.transactions == {"risk": 1}
    assert counts.implicit == {"risk": 2}
    assert counts.count("all_transactions", "risk") == 3


def test_a_transaction_with_nothing_in_it_is_a_ping() -> None:
    counts = StatementCounter().counted(
        log(line("risk", 1, "BEGIN;"), line("risk", 1, ";"), line("risk", 1, "ROLLBACK;"))
    )
    assert counts.pings == {"risk": 1}
    assert not counts.transactions
    assert not counts.statements


def test_a_transaction_goes_on_in_the_next_part() -> None:
    counter = StatementCounter()
    first = counter.counted(log(line("risk", 1, "begin isolation level read committed"), line("risk", 1, "SELECT 1")))
    second = counter.counted(log(line("risk", 1, "SELECT 2"), line("risk", 1, "commit"), line("risk", 1, "SELECT 3")))
    assert (first.transactions, first.implicit) == ({}, {})
    assert (second.transactions, second.implicit) == ({"risk": 1}, {"risk": 1})


def test_a_session_belongs_to_one_service_and_another_line_to_none() -> None:
    counts = StatementCounter().counted(
        log(
            line("risk", 1, "BEGIN"),
            line("executor", 2, "SELECT 1"),
            "risk|1|ERROR:  nothing to count",
            "a line of a text that goes on",
            line("risk", 1, "ROLLBACK TO SAVEPOINT a"),
            line("risk", 1, "ROLLBACK"),
        )
    )
    assert counts.implicit == {"executor": 1}
    assert counts.transactions == {"risk": 1}
    assert counts.statements == {"executor": 1, "risk": 1}


def test_a_text_that_begins_with_a_new_line_is_shown_by_the_next() -> None:
    counts = StatementCounter().counted(log(line("risk", 1, ""), "    WITH mine AS (", "    SELECT 1)"))
    assert counts.texts == {("risk", "WITH mine AS ("): 1}
    assert counts.implicit == {"risk": 1}


def counted(statements: int, implicit: int = 0, transactions: int = 0) -> Counts:
    found = Counts()
    found.statements["risk"], found.implicit["risk"], found.transactions["risk"] = statements, implicit, transactions
    found.texts["risk", "SELECT 1"] = statements
    return found


def test_rest_is_taken_off_by_the_time_that_passed() -> None:
    rest, part = Part(counted(20), 10.0), Part(counted(110), 5.0, executed=10)
    assert part.per_item("statements", "risk", rest) == pytest.approx((110 - 10) / 10)
    assert texts_of(part, rest, "risk") == [(10.0, "SELECT 1")]
    assert texts_of(part, rest, "executor") == []


def test_a_line_for_each_service_and_their_sum() -> None:
    rest, part = Part(counted(0), 10.0), Part(counted(30, implicit=20, transactions=10), 10.0, executed=10)
    lines = lines_of(rest, {"entry": part})
    by = {str(one["service"]): one for one in lines}
    assert by["risk"]["entry_statements"] == 3.0
    assert by["risk"]["entry_implicit"] == 2.0
    assert by["all"]["entry_transactions"] == 1.0
    assert by["bridge"]["entry_statements"] == 0.0


# ---- counters ----------------------------------------------------------------------------------------------------------


def test_use_is_the_difference_of_what_is_still_there() -> None:
    before = Reading(10.0, {"risk": 1.0, "gone": 1.0}, {"writes": 100.0, "wal_bytes": 5.0})
    use = used(before, Reading(14.0, {"risk": 1.5, "new": 9.0}, {"writes": 120.0, "wal_bytes": 25.0}))
    assert use == Use(4.0, {"risk": 0.5}, {"writes": 20.0, "wal_bytes": 20.0})
    assert use.per_second() == Use(1.0, {"risk": 0.125}, {"writes": 5.0, "wal_bytes": 5.0})


def test_use_per_item_is_less_what_rest_takes_in_that_time() -> None:
    rest = Use(2.0, {"risk": 0.2}, {"writes": 4.0})
    per_item = Use(10.0, {"risk": 3.0}, {"writes": 120.0}).per_item(rest, 10)
    assert per_item.cpu["risk"] == pytest.approx((3.0 - 1.0) / 10)
    assert per_item.database["writes"] == pytest.approx((120 - 20) / 10)


# ---- several orchestrators ---------------------------------------------------------------------------------------------


def test_who_ended_a_recommendation_is_counted_once() -> None:
    written = "\n".join(
        [
            '{"event": "recommendation", "to_state": "EXECUTED", "recommendation_id": "a"}',
            '{"event": "recommendation", "to_state": "EXECUTED", "recommendation_id": "a"}',
            '{"event": "recommendation", "to_state": "EXECUTING", "recommendation_id": "b"}',
            '{"event": "recommendation", "to_state": "EXECUTED", "recommendation_id": "of another burst"}',
            '{"event": "recommendation", "to_st',
            "a word about nothing",
        ]
    )
    assert ended_by(written) == {"a", "of another burst"}


def test_two_orders_of_one_recommendation_are_seen() -> None:
    assert more_than_once(["a", "b", "a", "c", "c"], frozenset("ab")) == 1
    assert more_than_once(["a", "b"], frozenset("ab")) == 0


# ---- tables and options ------------------------------------------------------------------------------------------------


def burst(**changes: object) -> BurstFigures:
    values: dict[str, object] = {
        "wanted": 3,
        "created_per_second": 50.0,
        "executed_per_second": 12.5,
        "executed": 2,
        "ends": {"EXECUTED": 2, "REJECTED: ORDER_RATE": 1},
        "refused": {"RESOURCE_EXHAUSTED, asked again": 4},
        "call": spread([0.01, 0.02]),
        "orders": 2,
        "delays": {"ORDER_UNKNOWN": 7},
        "steps": {},
    }
    return BurstFigures(**{**values, **changes})  # type: ignore[arg-type]


def test_the_table_of_a_burst_hides_nothing() -> None:
    text = shown(report.burst_table(burst()))
    for word in (
        "12.5 /s",
        "1 REJECTED: ORDER_RATE",
        "4 refused by the bridge",
        "put back 7 times: ORDER_UNKNOWN",
        "10.0 / 20.0 / 20.0",
    ):
        assert word in text


def test_a_peer_that_is_not_there_is_said_to_be_skipped_and_others_get_ratios() -> None:
    found = [
        PeerFigures("DBOS Transact", "workflows", skipped="not installed: pip install dbos"),
        PeerFigures("bare gRPC", "messages", 50.0, spread([0.002]), "8 at once"),
    ]
    text = shown(report.peer_table(found, 25.0, 0.1))
    assert "not installed: pip install dbos" in text
    assert "0.500" in text
    assert "50.0" in text
    assert "-" in shown(report.peer_table(found, None, None))


def test_more_orchestrators_are_measured_by_the_first() -> None:
    found = [
        OrchestratorFigures(1, False, False, burst(), {"orchestrator": 2}),
        OrchestratorFigures(
            2, True, False, burst(executed_per_second=25.0), {"orchestrator": 1, "orchestrator-2": 1}, 1, 0
        ),
        OrchestratorFigures(2, False, True, burst(), {"orchestrator": 1, "orchestrator-2": 1}),
    ]
    text = shown(report.orchestrator_table(found))
    assert "2, one killed" in text
    assert "2, all stages twice" in text
    assert runs_of((1,)) == [(1, False, False)]
    assert runs_of((1, 2)) == [(1, False, False), (2, False, False), (2, True, False), (2, False, True)]
    assert "2.00" in text
    assert "orchestrator-2 1" in text


def test_figures_are_plain_values_in_the_file() -> None:
    plain = report.plain(
        {"burst": burst(ends=Counter({"EXECUTED": 2, "REJECTED: ORDER_RATE": 1})), "paced": (spread([0.123456789]),)}
    )
    assert plain["burst"]["ends"] == {"EXECUTED": 2, "REJECTED: ORDER_RATE": 1}
    assert plain["paced"][0]["p50"] == 0.123457


def test_orchestrators_are_a_phase_where_they_are_asked_for() -> None:
    assert "orchestrators" not in parse([]).phases
    assert parse(["--orchestrators", "1,3"]).orchestrators == (1, 3)
    only = parse(["--only", "orchestrators"])
    assert (only.phases, only.orchestrators) == (("orchestrators",), (1, 2, 4))
    assert parse(["--only", "peers", "--only", "burst"]).phases == ("burst", "peers")


@pytest.mark.parametrize(
    "arguments",
    [["--items", "0"], ["--pace", "10,x"], ["--seconds", "nan"], ["--stored", "3"], ["--only", "all"]],
)
def test_options_that_cannot_be_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    assert stop.value.code == 2


def test_a_copy_keeps_every_column_that_is_not_named() -> None:
    statement = copy_statement("fills", "t.order_id = $3", {"fill_id": "'bench-' || i"})
    assert "to_jsonb(t) || jsonb_build_object('fill_id', 'bench-' || i)" in statement
    assert statement.endswith("WHERE t.order_id = $3")


def test_the_overload_table_tells_whether_memory_stayed_flat() -> None:
    megabyte = 1024 * 1024
    during = [{"executor": size * megabyte} for size in (50, 55, 60)]
    found = OverloadFigures(
        served=30.0,
        wanted=300.0,
        seconds=20.0,
        created=2_000,
        most_open=900,
        ends={"EXECUTED": 600, "EXPIRED": 1_400},
        refused={"RESOURCE_EXHAUSTED, asked again": 5},
        before={"executor": 40 * megabyte},
        during=during,
        after={"executor": 45 * megabyte},
    )
    told = shown(report.overload_table(found))
    title = "300 a second wanted for 20 s where 30.0 can be served: 100.0 a second taken, 900 open at most"
    assert title in " ".join(told.split())
    row = next(line for line in told.splitlines() if "executor" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][1:] == ["40", "50", "55", "60", "45", "1.20"]
    assert parse(["--overload", "5"]).phases[-1] == "overload" and "overload" not in parse([]).phases
