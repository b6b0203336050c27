"""Lots: nothing is lost or made by any method, FIFO is what counting units one by one gives, AVERAGE is the ledger's own."""

from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_executor.ledger import BookedFill, Position, apply_fill
from tests.tradekit.lot_cases import BTC, START, a_fill, histories, movements_of
from tradekit.account_history import AccountFill
from tradekit.decimals import CONTEXT
from tradekit.lots import Acquired, Disposed, LotsRefused, Method, make_lots, split
from tradekit.states import Side
from tradekit.units import BaseSize, QuoteSize

methods = st.sampled_from(list(Method))


def total(numbers: object) -> Decimal:
    with localcontext(CONTEXT):
        return sum(numbers, Decimal(0))


@given(histories(), methods)
def test_size_cost_and_proceeds_are_conserved_to_the_last_digit(fills: list[AccountFill], method: Method) -> None:
    lots = make_lots(movements_of(fills), method)
    bought = [one for one in fills if one.side is Side.BUY]
    sold = [one for one in fills if one.side is Side.SELL]
    parts = [*(one.lot for one in lots.sold), *lots.open]
    assert not lots.left
    assert all(part.size > 0 for part in parts)
    assert total(part.size for part in parts) == total(one.size for one in bought)
    # The fees are inside: added to what a BUY costs, taken off what a SELL brings.
    assert total(part.cost for part in parts) == total(total([one.value, one.fee]) for one in bought)
    assert total(one.proceeds for one in lots.sold) == total(total([one.value, -one.fee]) for one in sold)
    for one in sold:
        own = [part for part in lots.sold if part.disposed_by == one.fill_id]
        assert total(part.lot.size for part in own) == one.size
        assert total(part.proceeds for part in own) == total([one.value, -one.fee])
        assert all(part.lot.acquired_time <= part.disposed_time == one.time for part in own)
    for one in bought:
        own_size = total(part.size for part in parts if part.acquired_by == one.fill_id)
        assert own_size == one.size
        if method is not Method.AVERAGE:
            assert total(part.cost for part in parts if part.acquired_by == one.fill_id) == total([one.value, one.fee])


@given(histories(), methods, st.data())
def test_what_leaves_without_a_sale_is_conserved_too(
    fills: list[AccountFill], method: Method, data: st.DataObject
) -> None:
    movements = [
        replace(one, proceeds=None) if isinstance(one, Disposed) and data.draw(st.booleans()) else one
        for one in movements_of(fills)
    ]
    lots = make_lots(movements, method)
    parts = [*(one.lot for one in (*lots.sold, *lots.left)), *lots.open]
    came = [one for one in movements if isinstance(one, Acquired)]
    assert total(part.size for part in parts) == total(one.size for one in came)
    assert total(part.cost for part in parts) == total(one.cost for one in came)
    went = {one.event_id for one in movements if isinstance(one, Disposed) and one.proceeds is None}
    assert {one.disposed_by for one in lots.left} == went and all(one.gain is None for one in lots.left)


@given(histories(all_sold=True))
def test_once_everything_is_sold_every_method_gains_the_same(fills: list[AccountFill]) -> None:
    made = {method: make_lots(movements_of(fills), method) for method in Method}
    cash = total(total([one.value if one.side is Side.SELL else -one.value, -one.fee]) for one in fills)
    for lots in made.values():
        assert not lots.open
        assert total(one.gain for one in lots.sold) == cash


@given(histories())
def test_average_is_what_the_ledger_books_for_each_fill(fills: list[AccountFill]) -> None:
    lots = make_lots(movements_of(fills), Method.AVERAGE)
    positions: dict[str, Position] = {}
    for one in fills:
        booked = BookedFill(
            one.fill_id, one.trade_id, one.product_id, one.side, one.price, one.size, one.value, one.fee, "", one.time
        )
        positions[one.product_id], realized = apply_fill(positions.get(one.product_id, Position()), booked)
        assert total(part.gain for part in lots.sold if part.disposed_by == one.fill_id) == realized
    for product_id, position in positions.items():
        left = [lot for lot in lots.open if lot.product_id == product_id]
        assert total(lot.size for lot in left) == position.base_size
        assert total(lot.cost for lot in left) == position.cost


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 12), st.integers(1, 99)), max_size=20),
    st.sampled_from([Method.FIFO, Method.LIFO, Method.HIFO]),
)
def test_lots_are_what_counting_whole_units_one_by_one_gives(
    trades: list[tuple[bool, int, int]], method: Method
) -> None:
    movements, units, expected = [], deque(), []
    for number, (buys, size, price) in enumerate(trades):
        now, name = START + timedelta(days=number), str(number)
        if buys or not units:
            cost = QuoteSize(Decimal(price * size))
            movements.append(Acquired(name, BTC, now, BaseSize(Decimal(size)), cost, "BUY"))
            units.extend((number, price) for _ in range(size))
            continue
        size = min(size, len(units))
        movements.append(Disposed(name, BTC, now, BaseSize(Decimal(size)), QuoteSize(Decimal(price * size)), "SELL"))
        gained: dict[int, int] = {}
        for _ in range(size):
            pick = {
                Method.FIFO: lambda: units[0],
                Method.LIFO: lambda: units[-1],
                Method.HIFO: lambda: max(units, key=lambda unit: (unit[1], -unit[0])),
            }[method]()
            units.remove(pick)
            gained[pick[0]] = gained.get(pick[0], 0) + price - pick[1]
        expected += [(name, str(bought), gain) for bought, gain in gained.items()]
    lots = make_lots(movements, method)
    assert [(one.disposed_by, one.lot.acquired_by, one.gain) for one in lots.sold] == expected
    assert sorted((int(lot.acquired_by), lot.size) for lot in lots.open) == sorted(
        (number, sum(1 for unit in units if unit[0] == number)) for number in {unit[0] for unit in units}
    )


@given(
    st.decimals("-1000", 1000, places=18), st.lists(st.decimals("0.00000001", 100, places=8), min_size=1, max_size=9)
)
def test_a_split_sums_to_the_whole(amount: Decimal, sizes: list[Decimal]) -> None:
    assert total(split(QuoteSize(amount), [BaseSize(size) for size in sizes])) == amount


def test_the_last_part_takes_the_remainder_of_thirds() -> None:
    fills = [
        a_fill(0, BTC, Side.BUY, Decimal(3), Decimal("33.333333"), fee=QuoteSize(Decimal("0.000001"))),
        *(a_fill(number, BTC, Side.SELL, Decimal(1), Decimal(40)) for number in (1, 2, 3)),
    ]
    costs = [one.lot.cost for one in make_lots(movements_of(fills), Method.FIFO).sold]
    assert costs == [
        Decimal("33.333333333333333333"),
        Decimal("33.333333333333333334"),
        Decimal("33.333333333333333333"),
    ]
    assert total(costs) == 100


def test_days_held_are_days_of_the_calendar() -> None:
    late = datetime(2024, 12, 31, 23, 59, tzinfo=UTC)
    fills = [
        a_fill(0, BTC, Side.BUY, Decimal(1), Decimal(10), time=late),
        a_fill(1, BTC, Side.SELL, Decimal(1), Decimal(11), time=late + timedelta(minutes=2)),
    ]
    assert make_lots(movements_of(fills), Method.FIFO).sold[0].holding_days == 1


def test_coins_that_leave_without_a_sale_take_their_cost_and_gain_nothing() -> None:
    came = Acquired("a", BTC, START, BaseSize(Decimal(2)), QuoteSize(Decimal(10)), "ADOPTION")
    went = Disposed("w", BTC, START, BaseSize(Decimal("0.5")), None, "WITHDRAWAL")
    lots = make_lots([came, went], Method.FIFO)
    assert not lots.sold and lots.left[0].gain is None
    assert (lots.left[0].lot.cost, lots.open[0].cost, lots.open[0].size) == (
        Decimal("2.5"),
        Decimal("7.5"),
        Decimal("1.5"),
    )


@pytest.mark.parametrize("method", list(Method))
def test_selling_more_than_was_bought_names_the_fill(method: Method) -> None:
    fills = [a_fill(0, BTC, Side.BUY, Decimal(1), Decimal(10)), a_fill(1, BTC, Side.SELL, Decimal("1.5"), Decimal(11))]
    with pytest.raises(LotsRefused, match=r"SELL f0001 of BTC-USD takes out 1\.5, but only 1 came in before it"):
        make_lots(movements_of(fills), method)


def test_what_has_no_size_or_no_order_of_time_is_refused() -> None:
    bought = movements_of([a_fill(0, BTC, Side.BUY, Decimal(1), Decimal(10))])[0]
    with pytest.raises(LotsRefused, match="f0000 of BTC-USD has the size 0"):
        make_lots([replace(bought, size=BaseSize(Decimal(0)))], Method.FIFO)
    with pytest.raises(LotsRefused, match="early of BTC-USD is of 2024"):
        make_lots([bought, replace(bought, event_id="early", time=START - timedelta(days=1))], Method.FIFO)
