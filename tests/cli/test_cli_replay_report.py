"""What a replay says: nothing lost in the JSON, and no agreement claimed where there is none."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from rich.console import Console

from cli.replay.agreement import Agreement
from cli.replay.lockstep import Steps
from cli.replay.options import ReplayOptions
from cli.replay.result import AccountResult, ExitResult, ReplayResult, buy_and_hold, exits_of
from cli.replay.run import ReplayReport
from cli.replay_report import IN_SAMPLE, as_json, faults, print_report

BEGIN, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
LONG = Decimal("0.030842580000000001")


def report() -> ReplayReport:
    """A replay of one order that came out even."""
    row = {"side": "BUY", "decision": "REDUCE", "reason": "VOL_TARGET", "items": 1}
    result = ReplayResult(
        hash="ab" * 32,
        candles=24,
        signals={"BUY": 1, "HOLD": 23},
        outcomes=[{"outcome": "SKIPPED", "reason": "HOLD", "items": 23}],
        validations=[{"reviewer": "rules", "verdict": "APPROVE", "reason": "", "items": 1}],
        assessments=[row],
        recommendations={"BUY EXECUTED": 1},
        orders={"BUY FILLED": 1},
        protective_orders={"BRACKET FILLED": 1},
        exits=[ExitResult("STOP", 1, Decimal("95.25"), Decimal("0.86"), Decimal("-6.51"))],
        fills=1,
        fees=[
            {"side": "BUY", "liquidity": "TAKER", "items": 1, "value": Decimal(100), "fees": Decimal("0.9")},
            {"side": "SELL", "liquidity": "MAKER", "items": 2, "value": Decimal("95.25"), "fees": Decimal("0.86")},
        ],
        orders_with_exchange_id=1,
        orders_unknown=0,
        unbalanced_transactions=0,
        items=[{"product_id": "BTC-USD", "as_of": BEGIN, "size": Decimal(100), "reasons": []}],
        cash={"USD": Decimal("9900.5"), "BTC": LONG},
        positions=[],
        account=AccountResult(*(Decimal(number) for number in (10000, 9900, 9990, 0, -10, 1, 50))),
    )
    agreement = Agreement(1, [("BTC", LONG, LONG)])
    options = ReplayOptions(Path("candles.parquet"), ("BTC-USD",), BEGIN, END)
    return ReplayReport(options, Steps(BEGIN, END, 3600), result, agreement, {}, Path("/nowhere"))


def said(found: ReplayReport) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_report(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_clean_replay_shows_every_stage_and_its_hash() -> None:
    text = said(report())
    words = (
        "VOL_TARGET",
        "rules APPROVE",
        "BUY EXECUTED",
        "SELL MAKER",
        "-6.51",
        "buy and hold",
        "-10.00",
        str(LONG),
        "ab" * 32,
    )
    for word in words:
        assert word in text
    assert "✗" not in text and IN_SAMPLE not in text and not faults(report())


def test_in_sample_is_said_before_anything_else() -> None:
    found = report()
    assert IN_SAMPLE in said(replace(found, options=replace(found.options, in_sample=True))).splitlines()[0]


def test_every_disagreement_is_a_fault_of_its_own() -> None:
    found = report()
    wrong = replace(
        found,
        result=replace(found.result, orders_unknown=1, unbalanced_transactions=2),
        agreement=Agreement(2, [("BTC", LONG, LONG + Decimal("1e-18"))]),
    )
    assert len(faults(wrong)) == 4
    text = said(wrong)
    assert "≠" in text and all(fault in text for fault in faults(wrong))


def test_the_json_keeps_decimals_to_the_last_digit_as_text() -> None:
    document = json.loads(as_json(report()))
    assert document["result"]["cash"] == {"USD": "9900.5", "BTC": str(LONG)}
    assert document["result"]["items"][0] == {
        "product_id": "BTC-USD",
        "as_of": "2025-01-01T00:00:00+00:00",
        "size": "100",
        "reasons": [],
    }
    assert document["result"]["account"]["pnl"] == "-10" and document["options"]["profile"] == "EXERCISE"
    assert document["faults"] == []


def test_exits_are_added_up_by_reason_to_the_last_digit() -> None:
    tiny = Decimal("1e-18")
    sales = [
        {"reason": "STOP", "filled_value": Decimal(90), "total_fees": Decimal("0.81"), "realized_pnl": Decimal(-12)},
        {"reason": "EXIT", "filled_value": Decimal(101), "total_fees": Decimal("0.909"), "realized_pnl": tiny},
        {"reason": "STOP", "filled_value": Decimal(80), "total_fees": tiny, "realized_pnl": Decimal(-22)},
    ]
    assert exits_of(sales) == [
        ExitResult("EXIT", 1, Decimal(101), Decimal("0.909"), tiny),
        ExitResult("STOP", 2, Decimal(170), Decimal("0.810000000000000001"), Decimal(-34)),
    ]


def test_buying_and_holding_pays_both_fees_too() -> None:
    still = {"first": Decimal(10), "last": Decimal(10)}
    doubled = {"first": Decimal(10), "last": Decimal(20)}
    assert buy_and_hold([still, doubled], Decimal(10000), Decimal(0)) == 5000
    # 10,000 / 1.01 of coins, sold at 0.99 of what they are worth.
    assert round(buy_and_hold([still], Decimal(10000), Decimal("0.01")), 2) == Decimal("-198.02")
    assert buy_and_hold([], Decimal(10000), Decimal("0.01")) == 0
