"""The account's history: adjustments find their place among the fills, the replay is the ledger's own arithmetic, and the
three-way match sees the last digit."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from svc_executor.adjustment import Standing
from svc_executor.adjustment import adjust as book
from svc_executor.ledger import BookedFill, Position, apply_fill
from tests.tradekit.lot_cases import BTC, ETH, START, a_fill, histories, movements_of
from tradekit.account_history import (
    AccountFill,
    Adjustment,
    Event,
    Held,
    in_time_order,
    left_position,
    movements_in_time,
    replay,
    values_of,
)
from tradekit.decimals import CONTEXT, to_stored_scale
from tradekit.lots import Disposed, Method, make_lots
from tradekit.sizes import NO_QUOTE, price_of, share_of
from tradekit.states import Side
from tradekit.three_way_match import Booked, BookedPosition, ExchangeBalance, match
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

HOUR = timedelta(hours=1)


def an_adjustment(name: str, amount: str, cost: str = "0", **more: Any) -> Adjustment:
    values = {"kind": "DEPOSIT", "currency": "BTC", "product_id": BTC, "equity_change": QuoteSize(Decimal(cost))} | more
    when = values.pop("booked_at", START)
    sequence = values.pop("booking_sequence", 0)
    return Adjustment(
        adjustment_id=name,
        amount=Decimal(amount),
        cost=QuoteSize(Decimal(cost)),
        note="",
        caller="",
        time=when,
        booked_at=when,
        booking_sequence=sequence,
        **values,
    )


def names(events: list[Event]) -> list[str]:
    return [event.fill_id if isinstance(event, AccountFill) else event.adjustment_id for event in events]


def test_an_adjustment_stands_between_what_was_booked_before_it_and_what_was_ordered_after_it() -> None:
    machine = datetime(2026, 1, 1, tzinfo=START.tzinfo)
    fills = [
        a_fill(n, BTC, Side.BUY, Decimal(1), Decimal(10), ordered_at=machine + n * HOUR, booking_sequence=10 * n)
        for n in range(3)
    ]
    middle = an_adjustment("middle", "1", "5", booked_at=machine + HOUR * 1.5, booking_sequence=15)
    first = an_adjustment("first", "1", "5", booked_at=machine - HOUR, booking_sequence=-10)
    # A simulated market has a time of its own: the adjustment's is that of the newest fill that was booked before it.
    simulated = in_time_order(fills, [middle, first], START - HOUR, one_clock=False)
    assert names(simulated) == ["first", "f0000", "f0001", "middle", "f0002"]
    assert [event.time for event in simulated if isinstance(event, Adjustment)] == [START - HOUR, fills[1].time]
    same = [replace(fill, ordered_at=fill.time) for fill in fills]
    real = in_time_order(same, [replace(middle, booked_at=START + HOUR * 1.5)], START, one_clock=True)
    assert names(real) == ["f0000", "f0001", "middle", "f0002"] and real[2].time == START + HOUR * 1.5


def test_values_of_an_order_sum_to_what_the_ledger_says() -> None:
    fills = [
        (Price(Decimal("3")), BaseSize(Decimal("0.333333333333333333"))),
        (Price(Decimal(2)), BaseSize(Decimal(1))),
    ]
    assert values_of(QuoteSize(Decimal(3)), fills) == [Decimal("0.999999999999999999"), Decimal("2.000000000000000001")]
    assert values_of(NO_QUOTE, []) == []


steps = st.one_of(
    st.tuples(
        st.just("fill"), st.booleans(), st.decimals("0.00000001", 50, places=8), st.decimals("0.01", 10**5, places=2)
    ),
    st.tuples(
        st.just("adjust"), st.booleans(), st.decimals("0.00000001", 50, places=8), st.decimals(0, 10**5, places=2)
    ),
    st.tuples(st.just("beside"), st.booleans(), st.decimals("0.00000001", 50, places=8), st.just(Decimal(0))),
)


@given(st.lists(steps, max_size=15), st.decimals(0, 40, places=8))
def test_the_replay_is_what_fills_and_adjustments_did_to_the_position(
    wanted: list[tuple[str, bool, Decimal, Decimal]], unadopted: Decimal
) -> None:
    """Coins that go out are taken from what was never adopted first, of which the ledger tells no history."""
    mark = Price(Decimal(7))
    standing = Standing("BTC", Decimal(0), unadopted, BTC, Position(), mark)
    events: list[Event] = []
    with localcontext(CONTEXT):
        for number, (kind, comes, size, price) in enumerate(wanted):
            held = standing.position
            if kind == "fill":
                side = Side.BUY if comes or not held.base_size else Side.SELL
                size = size if side is Side.BUY else min(size, held.base_size)
                fill = a_fill(number, BTC, side, size, price)
                told = BookedFill(fill.fill_id, "", BTC, side, fill.price, fill.size, fill.value, fill.fee, "", START)
                after, _ = apply_fill(held, told)
                own = standing.own + (size if side is Side.BUY else -size)
                standing = replace(standing, own=own, position=after)
                events.append(fill)
                continue
            amount = size if comes else -min(size, standing.total)
            if not amount:
                continue
            cost = QuoteSize(price) if comes and kind == "adjust" else None
            booking = book(standing, amount, cost, "USD")
            standing = booking.after
            events.append(
                an_adjustment(
                    f"a{number}",
                    *(str(amount), str(booking.cost)),
                    equity_change=booking.equity_change,
                    booking_sequence=number + 1,
                )
            )
    held = replay(events).positions.get(BTC, Held())
    position = standing.position
    assert (held.size, held.cost, held.realized) == (position.base_size, position.cost, position.realized_pnl)


@given(st.decimals("0.00000001", 10**6, places=8), st.decimals("0.01", 10**9, places=10), st.data())
def test_the_part_that_left_a_position_is_found_by_its_share_of_the_cost(
    size: Decimal, cost: Decimal, data: st.DataObject
) -> None:
    part = data.draw(st.decimals("0.00000001", size, places=8))
    beside = data.draw(st.decimals(0, 10, places=8))
    held = Held(BaseSize(size), QuoteSize(cost))
    share = share_of(held.cost, BaseSize(part), held.size)
    found = left_position(held, BaseSize(part + beside), share)
    assert share_of(held.cost, found, held.size) == share
    # Where a coin is worth so little that many sizes have one share, each of them is as good.
    assert found == part or cost / size < Decimal("0.001") or part == size


def booked_by_ledger(fills: list[AccountFill]) -> Booked:
    """What a ledger that is right says of these fills, and an exchange that agrees."""
    positions = replay(fills).positions
    with localcontext(CONTEXT):
        cash = 100 + sum((one.cash for one in fills), Decimal(0))
        fees = sum((one.fee for one in fills), Decimal(0))
        told = {
            name: BookedPosition(
                held.size,
                to_stored_scale(price_of(held.cost, held.size)) if held.size else Price(Decimal(0)),
                held.realized,
            )
            for name, held in positions.items()
        }
    exchange = {name.removesuffix("-USD"): ExchangeBalance(held.size, Decimal(0)) for name, held in positions.items()}
    exchange |= {"USD": ExchangeBalance(cash, Decimal(0)), "DOGE": ExchangeBalance(Decimal(9), Decimal(9))}
    return Booked(
        "USD", QuoteSize(Decimal(100)), NO_QUOTE, QuoteSize(fees), {"USD": cash}, told, exchange, START, 10_000
    )


@given(histories())
def test_a_ledger_that_is_right_agrees(fills: list[AccountFill]) -> None:
    found = match(fills, booked_by_ledger(fills))
    assert found.agrees and not found.notes
    assert "DOGE" not in {check.what for check in found.checks}


bookings = st.lists(
    st.tuples(
        st.sampled_from(["fill", "fill", "adjust", "beside"]),
        st.sampled_from([BTC, ETH]),
        st.booleans(),
        st.decimals("0.00000001", 50, places=8),
        st.decimals("0.01", 10**5, places=2),
    ),
    max_size=20,
)


def as_booked(wanted: list[tuple[str, ProductId, bool, Decimal, Decimal]]) -> tuple[list[Event], Booked]:
    """What the ledger's own arithmetic makes of fills and adjustments of two products in the order in which they get the account,
    and what it says in the end. Coins that go out and were never the mesh's own leave no position."""
    standings = {
        name: Standing(name[:3], Decimal(0), Decimal(0), name, Position(), Price(Decimal(7))) for name in (BTC, ETH)
    }
    events: list[Event] = []
    with localcontext(CONTEXT):
        for number, (kind, product_id, comes, size, price) in enumerate(wanted):
            standing, sequence = standings[product_id], 10 * number + 1
            held = standing.position
            if kind == "fill":
                side = Side.BUY if comes or not held.base_size else Side.SELL
                size = size if side is Side.BUY else min(size, held.base_size)
                fill = a_fill(number, product_id, side, size, price, booking_sequence=sequence)
                told = BookedFill(fill.fill_id, "", product_id, side, fill.price, size, fill.value, fill.fee, "", START)
                own = standing.own + (size if side is Side.BUY else -size)
                standings[product_id] = replace(standing, own=own, position=apply_fill(held, told)[0])
                events.append(fill)
                continue
            amount = size if comes else -min(size, standing.total)
            if not amount:
                continue
            booking = book(standing, amount, QuoteSize(price) if comes and kind == "adjust" else None, "USD")
            standings[product_id] = booking.after
            more = {"currency": product_id[:3], "product_id": product_id, "equity_change": booking.equity_change}
            events.append(
                an_adjustment(f"a{number:04}", str(amount), str(booking.cost), booking_sequence=sequence, **more)
            )
        cash = sum((one.cash for one in events if isinstance(one, AccountFill)), Decimal(100))
        transfers = sum((one.cost for one in events if isinstance(one, Adjustment)), NO_QUOTE)
    held_in_the_end = {
        name: BookedPosition(
            one.position.base_size,
            to_stored_scale(price_of(one.position.cost, one.position.base_size))
            if one.position.base_size
            else Price(Decimal(0)),
            one.position.realized_pnl,
        )
        for name, one in standings.items()
    }
    exchange = {name[:3]: ExchangeBalance(one.total, one.unadopted) for name, one in standings.items()}
    exchange["USD"] = ExchangeBalance(cash, Decimal(0))
    opened = QuoteSize(Decimal(100))
    told_cash = {"USD": cash}
    return events, Booked(
        "USD", opened, QuoteSize(transfers), NO_QUOTE, told_cash, held_in_the_end, exchange, START, 10 * len(wanted)
    )


@given(bookings, st.randoms(use_true_random=False))
def test_no_time_decides_whether_the_ledger_agrees(
    wanted: list[tuple[str, ProductId, bool, Decimal, Decimal]], chance: Random
) -> None:
    """Fills found late and late transactions: the machine's times say nothing of the order of booking, the exchange's neither."""
    events, booked = as_booked(wanted)
    times = [START + HOUR * n for n in range(len(events))]

    def some(event: Event) -> Event:
        if isinstance(event, AccountFill):
            return replace(event, time=chance.choice(times), ordered_at=chance.choice(times))
        when = chance.choice(times)
        return replace(event, time=when, booked_at=when)

    lied = [some(event) for event in events]
    chance.shuffle(lied)
    fills = [one for one in lied if isinstance(one, AccountFill)]
    adjustments = [one for one in lied if isinstance(one, Adjustment)]
    for one_clock in (True, False):
        found = match(in_time_order(fills, adjustments, START, one_clock=one_clock), booked)
        assert found.agrees, [check.words for check in found.checks if not check.agrees]


@given(bookings, st.randoms(use_true_random=False))
def test_lots_are_the_ledgers_coins_where_only_the_machines_times_lie(
    wanted: list[tuple[str, ProductId, bool, Decimal, Decimal]], chance: Random
) -> None:
    events, booked = as_booked(wanted)
    fills = [
        replace(one, ordered_at=START + HOUR * chance.randint(-99, 99))
        for one in events
        if isinstance(one, AccountFill)
    ]
    adjustments = [
        replace(one, booked_at=START + HOUR * chance.randint(-99, 99)) for one in events if isinstance(one, Adjustment)
    ]
    chance.shuffle(adjustments)
    in_time = in_time_order(fills, adjustments, START - HOUR, one_clock=False)
    assert names(in_time) == names(events)
    assert not match(in_time, booked).notes
    lots = make_lots(movements_in_time(in_time), Method.FIFO)
    with localcontext(CONTEXT):
        for product_id, told in booked.positions.items():
            own = sum((lot.size for lot in lots.open if lot.product_id == product_id), Decimal(0))
            assert own == told.size


LAST_DIGIT = Decimal("1e-18")
TRADED = [
    a_fill(0, BTC, Side.BUY, Decimal(3), Decimal(10), fee=QuoteSize(Decimal("0.1"))),
    a_fill(1, BTC, Side.SELL, Decimal(1), Decimal(12), fee=QuoteSize(Decimal("0.1"))),
]


def test_every_side_is_compared_to_the_last_digit() -> None:
    right = booked_by_ledger(TRADED)
    held = right.positions[BTC]
    off = {
        "BTC": [
            replace(right, positions={BTC: replace(held, size=held.size + LAST_DIGIT)}),
            replace(right, exchange=right.exchange | {"BTC": ExchangeBalance(2 + LAST_DIGIT, Decimal(0))}),
            replace(right, exchange={name: told for name, told in right.exchange.items() if name != "BTC"}),
        ],
        "realised BTC-USD, USD": [replace(right, positions={BTC: replace(held, realized=held.realized - LAST_DIGIT)})],
        "average cost BTC-USD, USD": [
            replace(right, positions={BTC: replace(held, average_cost=held.average_cost + LAST_DIGIT)})
        ],
        "USD": [
            replace(right, cash={"USD": right.cash["USD"] + LAST_DIGIT}),
            replace(right, opening_balance=QuoteSize(Decimal(101))),
        ],
        "fees, USD": [replace(right, total_fees=QuoteSize(Decimal("0.3")))],
        "brought in or taken out, USD": [replace(right, transfers=QuoteSize(Decimal(5)))],
        "DOGE": [replace(right, exchange=right.exchange | {"DOGE": ExchangeBalance(Decimal(10), Decimal(9))})],
    }
    for what, faults in off.items():
        for fault in faults:
            found = match(TRADED, fault)
            assert not found.agrees
            assert [check.what for check in found.checks if not check.agrees] == [what]


def test_a_fill_that_is_missing_is_seen() -> None:
    found = match(TRADED[:1], booked_by_ledger(TRADED))
    wrong = {check.what: check.words for check in found.checks if not check.agrees}
    assert wrong["BTC"] == "BTC: 3 by fills, 2 by the ledger, 2 by the exchange"
    assert {"USD", "fees, USD", "realised BTC-USD, USD"} <= set(wrong)


def test_what_was_booked_after_the_newest_reconciliation_is_counted() -> None:
    right = booked_by_ledger(TRADED)
    earlier = booked_by_ledger(TRADED[:1])
    found = match(TRADED, replace(right, exchange=earlier.exchange, reconciled_sequence=1))
    assert found.agrees and "after the newest reconciliation" in found.notes[0]
    never = match(TRADED, replace(right, exchange={}, reconciled_at=None))
    assert not never.agrees and all(check.agrees for check in never.checks) and "not compared" in never.notes[0]


def test_what_may_be_missing_is_said() -> None:
    unknown = match(TRADED, replace(booked_by_ledger(TRADED), orders_unknown=2))
    assert unknown.agrees and "2 order(s) are UNKNOWN" in unknown.notes[0]
    beside = [an_adjustment(f"a{number}", "1", kind="REWARD") for number in range(50)]
    many = match([*beside, *TRADED], booked_by_ledger(TRADED))
    assert many.agrees and "older ones are missing" in many.notes[0]


def test_a_fill_that_the_ledger_booked_late_is_no_difference() -> None:
    """The second BUY happened before the SELL, and was found after it."""
    fills = [
        TRADED[0],
        a_fill(1, BTC, Side.BUY, Decimal(1), Decimal(20), booking_sequence=9),
        a_fill(2, BTC, Side.SELL, Decimal(2), Decimal(30)),
    ]
    booked = booked_by_ledger([fills[0], fills[2], fills[1]])
    found = match(fills, booked)
    assert found.agrees and "another order" in found.notes[0]
    assert found.replay.realized["f0002"] == booked.positions[BTC].realized
    assert make_lots(movements_of(fills), Method.AVERAGE).sold[0].gain != found.replay.realized["f0002"]


def test_coins_that_are_adopted_and_withdrawn_are_matched_with_their_cost() -> None:
    adopted = an_adjustment("adopted", "2", "20", kind="ADOPTION", booking_sequence=1)
    beside = an_adjustment("beside", "1", kind="REWARD", booking_sequence=2)
    left = an_adjustment("left", "-1.5", "-5", kind="WITHDRAWAL", booking_sequence=4)
    cash = an_adjustment("cash", "50", currency="USD", product_id=None, booking_sequence=3)
    events: list[Event] = [adopted, beside, cash, left]
    booked = Booked(
        currency="USD",
        opening_balance=QuoteSize(Decimal(100)),
        transfers=QuoteSize(Decimal(65)),
        total_fees=NO_QUOTE,
        cash={"USD": Decimal(150)},
        positions={BTC: BookedPosition(BaseSize(Decimal("1.5")), Price(Decimal(10)), NO_QUOTE)},
        exchange={"BTC": ExchangeBalance(Decimal("1.5"), Decimal(0)), "USD": ExchangeBalance(Decimal(150), Decimal(0))},
        reconciled_at=START + 2 * HOUR,
        reconciled_sequence=4,
    )
    assert match(events, booked).agrees
    came, went = replay(events).movements
    assert came.size == 2 and isinstance(went, Disposed)
    assert (went.size, went.proceeds) == (Decimal("0.5"), None)
