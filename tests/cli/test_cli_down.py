"""`mesh down` names the positions that nothing watches once it is down, and waits for nobody to do so."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import Mesh
from tests.cli.executor_answers import Answers, serving
from tradekit.account_history import Held
from tradekit.units import BaseSize, QuoteSize
from tradekit.wire import amount_message, timestamp_message
from trading.executor.v1 import executor_service_pb2 as pb

SIZE = "0.00142543"
ALONE = "its stop is watched by this mesh alone and rests nowhere: nothing sells it while the mesh is down"
BY_THAT = "is watched by this mesh alone: nothing sells it by that while the mesh is down"
HELD = {"BTC-USD": Held(BaseSize(Decimal(SIZE)), QuoteSize(Decimal(100)))}


def order(state: str, left: str, *, ends: bool = False) -> pb.ProtectiveOrder:
    made = pb.ProtectiveOrder(
        order_type="ORDER_TYPE_MARKET" if state == "WAITING" else "ORDER_TYPE_BRACKET",
        state=f"ORDER_STATE_{state}",
        left_size=amount_message(Decimal(left)),
    )
    if ends:
        made.exit_time.CopyFrom(timestamp_message(datetime(2030, 1, 1, tzinfo=UTC)))
    return made


@pytest.mark.parametrize(
    ("orders", "watches", "told"),
    [
        ([order("WAITING", SIZE)], True, f"BTC-USD: {SIZE} held; {ALONE}"),
        ([order("OPEN", "0.001"), order("WAITING", "0.0004")], True, f"BTC-USD: 0.0004 of {SIZE} held; {ALONE}"),
        ([order("OPEN", SIZE, ends=True)], True, f"its time limit, as any trailing stop, {BY_THAT}"),
        ([order("OPEN", SIZE)], True, f"its trailing stop {BY_THAT}"),
        ([order("OPEN", SIZE)], False, ""),
        ([], False, ""),
    ],
)
def test_what_only_the_mesh_watches_is_named_before_it_goes_down(
    mesh: Mesh, tmp_path: Path, orders: list[pb.ProtectiveOrder], watches: bool, told: str
) -> None:
    answers = Answers((), adopted=HELD, protective={"BTC-USD": orders}, watches=watches)
    with serving(tmp_path / "mesh", answers):
        ran = mesh("down")
    assert ran.code == 0
    assert told in ran.said
    assert told or "BTC-USD" not in ran.said


def test_an_executor_that_does_not_answer_keeps_nobody_from_going_down(mesh: Mesh, tmp_path: Path) -> None:
    answers = Answers((), adopted=HELD, protective={"BTC-USD": [order("WAITING", SIZE)]}, slow_seconds=4.0)
    with serving(tmp_path / "mesh", answers):
        began = time.monotonic()
        ran = mesh("down")
        assert time.monotonic() - began < 3.5
    silent = mesh("down")
    for one in (ran, silent):
        assert (one.code, "BTC-USD" in one.said, "nothing ran in" in one.said) == (0, False, True)
