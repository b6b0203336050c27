"""What is judged beside the drill's checks is silent about what is right, and finds what is not."""

from dataclasses import replace
from decimal import Decimal

import pytest

from svc_monitor.exit_rules import UNPROTECTED_SECONDS
from tests.chaos.caller import Answer
from tests.chaos.checks import answers_hold, bare, doubtful, too_late
from tests.drill.history import DatabaseSide, OrderRow

D = Decimal
ENTRY = OrderRow("entry", "r1", "BTC-USD", "BUY", "FILLED", "x1", D(2))
BRACKET = OrderRow("bracket", None, "BTC-USD", "SELL", "OPEN", "x2", D(0), left=D(2), rests=True)
LEDGER = DatabaseSide((ENTRY, BRACKET), (), (), {}, {"BTC-USD": D(2)}, 0.0, {"BTC-USD": D("0.1")})


@pytest.mark.parametrize("answer", [Answer("entry", "FILLED", D(2)), Answer("exit", "", D(0), "NOT_HELD")])
def test_an_answer_that_is_so_is_silent(answer: Answer) -> None:
    assert list(answers_hold(LEDGER, [answer])) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer("entry", "REJECTED", D(0)),
        Answer("entry", "FILLED", D(1)),
        Answer("entry", "", D(0), "EXPIRED"),
        Answer("lost", "FILLED", D(2)),
    ],
)
def test_an_answer_that_is_not_so_is_found(answer: Answer) -> None:
    assert [one.subject for one in answers_hold(LEDGER, [answer])] == [answer.order_id]


def test_what_rests_is_not_in_doubt_and_what_is_on_its_way_is() -> None:
    assert list(doubtful(LEDGER)) == []
    for state in ("PENDING", "UNKNOWN", "OPEN"):
        assert list(doubtful(replace(LEDGER, orders=(replace(ENTRY, state=state), BRACKET)))) == ["entry"]


def test_a_position_is_bare_where_less_of_it_is_protected_than_can_be() -> None:
    assert not bare(LEDGER)
    assert bare(replace(LEDGER, orders=(ENTRY,)))
    assert bare(replace(LEDGER, orders=(ENTRY,)), "BTC-USD") and not bare(replace(LEDGER, orders=(ENTRY,)), "ETH-USD")


def test_only_what_is_over_its_bound_is_too_late() -> None:
    assert list(too_late([], 61.0, UNPROTECTED_SECONDS)) == []
    found = {one.check for one in too_late(["entry"], 61.0, UNPROTECTED_SECONDS + 1)}
    assert found == {"unknown for too long", "unprotected for too long"}
