"""What strangers' acts take of a position is reckoned beside the executor, whose other word is a finding."""

from decimal import Decimal
from typing import Any

import pytest

from tests.drill.history import BookedAct, ExchangeFill, ExchangeOrder, ExchangeSide
from tests.drill.settling import Settling, WronglyTaken

D = Decimal
# A stranger buys 3, sells 2 of them, and then 4: three more than were left to him.
ACTS = (("BUY", "3"), ("SELL", "2"), ("SELL", "4"))


class StandIn:
    """A world of one stranger, whose executor gives prepared answers."""

    def __init__(self, *answers: str) -> None:
        self.hand = self.operator = self
        self.traded = True
        self._answers = [D(one) for one in answers]
        self._shown = 0

    async def exchange_side(self) -> ExchangeSide:
        acts = list(enumerate(ACTS[: self._shown]))
        orders = [ExchangeOrder(f"x{n}", "hand", "BTC-USD", side, "FILLED", D(size)) for n, (side, size) in acts]
        fills = [ExchangeFill(f"f{n}", f"x{n}", "BTC-USD", side, D(size), D(10), D(0)) for n, (side, size) in acts]
        return ExchangeSide(tuple(orders), tuple(fills), {}, frozenset({"hand"}))

    async def adjust(self, currency: str, amount: Decimal) -> Decimal:
        return self._answers.pop(0) if currency == "BTC" else D(0)

    async def settle_next(self, settling: Any) -> None:
        self._shown, self.traded = self._shown + 1, True
        await settling.book_foreign_acts()


async def settled(*answers: str) -> list[BookedAct]:
    world: Any = StandIn(*answers)
    settling = Settling(world)
    for _ in ACTS:
        await world.settle_next(settling)
    return settling.booked


async def test_strangers_own_coins_go_first() -> None:
    assert await settled("0", "0", "3") == [BookedAct("f0", D(0)), BookedAct("f1", D(0)), BookedAct("f2", D(3))]


@pytest.mark.parametrize("answers", [("1", "0", "3"), ("0", "2", "3"), ("0", "0", "4"), ("0", "0", "0")])
async def test_an_executor_that_takes_another_amount_is_found(answers: tuple[str, ...]) -> None:
    with pytest.raises(WronglyTaken, match="BTC by"):
        await settled(*answers)


async def test_what_came_and_went_at_once_is_one_change() -> None:
    world: Any = StandIn("3")
    settling = Settling(world)
    world._shown = len(ACTS)
    await settling.book_foreign_acts()
    assert [act.of_position for act in settling.booked] == [D(0), D(0), D(3)]
    assert not world.traded
