"""`mesh ledger adjust`: what it says before it books, and the currencies that it books for."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Mesh
from tests.cli.executor_answers import Answers, serving
from tradekit.decimals import ZERO
from tradekit.wire import amount_message
from trading.executor.v1 import ledger_pb2 as pb


@dataclass
class Adjusting(Answers):
    """Books what is asked; `difference` is what the ledger has too little of before it, `coins` what the exchange has."""

    difference: Decimal = ZERO
    coins: Decimal = ZERO
    booked: int = 0

    def AdjustLedger(self, request: pb.AdjustLedgerRequest, context: Any) -> pb.AdjustLedgerResponse:
        self.booked += not request.preview

        def balance(change: Decimal) -> pb.LedgerBalance:
            off = self.difference + change
            return pb.LedgerBalance(
                currency=request.currency,
                own=amount_message(self.coins + off),
                unadopted=amount_message(ZERO),
                exchange=amount_message(self.coins),
                difference=amount_message(off),
                agrees=not off,
            )

        row = pb.LedgerAdjustment(
            kind=request.kind, currency=request.currency, amount=request.amount, note=request.note
        )
        return pb.AdjustLedgerResponse(
            adjustment=row, before=balance(ZERO), after=balance(Decimal(request.amount.value))
        )


def adjust(mesh: Mesh, currency: str, amount: str) -> Any:
    return mesh("ledger", "adjust", currency, amount, "--kind", "deposit", "--note", "by hand", "--yes")


@pytest.mark.parametrize(
    ("difference", "amount", "words"),
    [
        ("0", "500", "difference: 0 → 500, which closes entries"),
        ("-700", "500", "difference: -700 → -200, which still keeps entries closed"),
        ("-500", "500", "difference: -500 → 0 booked"),
    ],
)
def test_the_preview_says_what_becomes_of_entries(
    mesh: Mesh, tmp_path: Path, difference: str, amount: str, words: str
) -> None:
    answers = Adjusting((), difference=Decimal(difference), coins=Decimal(10_000))
    with serving(tmp_path / "mesh", answers):
        ran = adjust(mesh, "USD", amount)
    assert ran.code == 0 and words in ran.said and answers.booked == 1


def test_a_currency_that_nobody_has_is_not_booked(mesh: Mesh, tmp_path: Path) -> None:
    answers = Adjusting(())
    with serving(tmp_path / "mesh", answers):
        refused = adjust(mesh, "zzz", "7")
        assert refused.code == 2 and answers.booked == 0
        assert "ZZZ is of no product that is followed" in refused.said and "BTC, ETH, USD" in refused.said
        # A coin that is traded here may come before any of it was there, and of any other coin that is there.
        assert adjust(mesh, "eth", "7").code == 0
        answers.coins = Decimal(7)
        assert adjust(mesh, "zzz", "7").code == 0
    assert answers.booked == 2
