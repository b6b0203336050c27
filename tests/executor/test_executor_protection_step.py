"""What protects a position, decided: plans on the grid, what comes first, and never more sold than is held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_executor.bracket_tries import Tried
from svc_executor.exit_plan import ExitRules, MarketNow, plan_of, trigger_of
from svc_executor.protection_step import (
    MOST_STANDING,
    Bare,
    Due,
    Entry,
    Held,
    Protect,
    Send,
    Standing,
    Step,
    Withdraw,
    can_be_protected,
    next_step,
    next_try,
)
from tests.executor.positions import ENTRY, NOW, PLAN, QUIET, RULES, held, product, standing
from tradekit.exit_plan import ExitPlan
from tradekit.products import floor_to
from tradekit.states import ExitTrigger, OrderState, OrderType, ProtectionMode

D = Decimal
WAITS = {"state": OrderState.WAITING, "order_type": OrderType.MARKET}
prices = st.decimals("0.00001", "100000", places=5, allow_nan=False)
ratios = st.decimals("0.001", "0.9", places=3, allow_nan=False)


@given(prices, ratios, ratios, st.sampled_from(["0.00001", "0.01", "5"]))
def test_a_plan_is_on_the_grid_and_never_nearer_than_it_was_meant(
    price: Decimal, stop: Decimal, target: Decimal, tick: str
) -> None:
    plan = plan_of(price, NOW, replace(RULES, stop=stop, target=target), D(tick))
    for one in (plan.stop_price, plan.target_price):
        assert floor_to(one, D(tick)) == one
    assert plan.stop_price <= price * (1 - stop) or plan.stop_price == D(tick)
    assert plan.target_price >= price * (1 + target)
    assert 0 < plan.stop_price < plan.target_price
    assert plan.exit_time is None


def test_a_time_limit_counts_from_the_entry() -> None:
    plan = plan_of(D(100), NOW, replace(RULES, time_limit=timedelta(hours=24)), D("0.01"))
    assert plan == ExitPlan(D(95), D(110), NOW + timedelta(hours=24))


@pytest.mark.parametrize(
    ("bid", "trigger"),
    [("95", ExitTrigger.STOP), ("95.01", None), ("109.99", None), ("110", ExitTrigger.TARGET), (None, None)],
)
def test_stop_and_target_are_reached_at_their_price(bid: str | None, trigger: ExitTrigger | None) -> None:
    assert trigger_of(PLAN, MarketNow(D(bid) if bid else None, None, NOW), RULES) is trigger


def test_time_and_trailing_stop() -> None:
    trailing = replace(RULES, trailing=D("0.1"))
    assert trigger_of(PLAN, MarketNow(D(99), D(110), NOW), trailing) is ExitTrigger.TRAILING_STOP
    assert trigger_of(PLAN, MarketNow(D("99.01"), D(110), NOW), trailing) is None
    ends = replace(PLAN, exit_time=NOW)
    assert trigger_of(ends, QUIET, RULES) is ExitTrigger.TIME_LIMIT
    assert trigger_of(ends, replace(QUIET, time=NOW - timedelta(seconds=1)), RULES) is None
    # The worst is told where several are true.
    assert trigger_of(ends, replace(QUIET, bid=D(90)), RULES) is ExitTrigger.STOP


def test_what_nothing_protects_gets_a_bracket_around_what_was_paid() -> None:
    assert next_step(held("1.0005"), product(), QUIET, RULES) == Protect(D("1"), PLAN, OrderType.BRACKET, None)


def test_a_second_entry_is_protected_beside_the_first() -> None:
    """Each by its own plan, and what an entry has had before is its plan again."""
    one = held("3", standing=(standing("1"),), entry=Entry(uuid4(), D(200), NOW))
    step = next_step(one, product(), QUIET, RULES)
    assert step == Protect(D(2), ExitPlan(D(190), D(220)), OrderType.MARKET, ExitTrigger.STOP)
    again = next_step(held("2", plan=PLAN), product(), QUIET, RULES)
    assert again == Protect(D(2), PLAN, OrderType.BRACKET, None)


def test_many_entries_are_protected_by_few_orders() -> None:
    """One order for all of them takes the place of too many, by the plan of the newest."""
    five = tuple(standing("1") for _ in range(MOST_STANDING))
    one = held("6", standing=five, plan=PLAN)
    assert next_step(one, product(), QUIET, RULES) == Withdraw(tuple(each.order_id for each in five))
    assert next_step(replace(one, standing=()), product(), QUIET, RULES) == Protect(D(6), PLAN, OrderType.BRACKET, None)
    # While nothing is to be protected, or something is to be sold at once, they stay.
    assert next_step(replace(one, size=D(5)), product(), QUIET, RULES) is None
    crashed = replace(QUIET, bid=D(80))
    assert isinstance(next_step(one, product(), crashed, RULES), Protect)


def test_an_entry_that_brings_its_plan_is_left_by_it() -> None:
    """On the grid, and no nearer than it was meant."""
    brought = ExitPlan(D("93.337"), D("107.001"), NOW + timedelta(hours=24))
    one = held(entry=replace(ENTRY, plan=brought))
    assert next_step(one, product(), QUIET, RULES) == Protect(
        D(1), ExitPlan(D("93.33"), D("107.01"), brought.exit_time), OrderType.BRACKET, None
    )


def test_an_exchange_without_brackets_is_watched_from_here() -> None:
    refused = held(plan=PLAN, tried=(Tried(ENTRY.order_id, 1, 1, stays=True),))
    assert next_step(refused, product(), QUIET, RULES) == Protect(D(1), PLAN, OrderType.MARKET, None)
    assert next_step(held(), replace(product(), brackets=False), QUIET, RULES) == Protect(
        D(1), PLAN, OrderType.MARKET, None
    )
    by_choice = replace(RULES, mode=ProtectionMode.SOFTWARE)
    assert next_step(held(), product(), QUIET, by_choice) == Protect(D(1), PLAN, OrderType.MARKET, None)


def tried(refused: int, seconds: float, *, stays: bool = False) -> tuple[Tried, ...]:
    return (Tried(ENTRY.order_id, 2 * refused, refused, stays=stays, ago=timedelta(seconds=seconds)),)


@pytest.mark.parametrize(
    ("refused", "seconds"), [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 300), (7, 300), (5000, 300)]
)
def test_a_refusal_that_passes_is_tried_again_after_growing_pauses(refused: int, seconds: int) -> None:
    """Meanwhile an order waits here; it goes in the same step as the bracket comes."""
    waits = standing(**WAITS, entry_order_id=ENTRY.order_id)
    early = held(plan=PLAN, tried=tried(refused, seconds - 1))
    assert next_step(early, product(), QUIET, RULES) == Protect(D(1), PLAN, OrderType.MARKET, None)
    early = replace(early, standing=(waits,))
    assert next_step(early, product(), QUIET, RULES) is None
    assert next_try(early, RULES) == timedelta(seconds=1)
    late = replace(early, tried=tried(refused, seconds))
    assert next_step(late, product(), QUIET, RULES) == Protect(D(1), PLAN, OrderType.BRACKET, None, waits)
    assert next_try(late, RULES) == timedelta(0)
    # What its price has reached is sold, and no bracket comes between.
    fallen = next_step(late, product(), replace(QUIET, bid=D(90)), RULES)
    assert fallen == Send(waits.order_id, ExitTrigger.STOP)


def test_a_bracket_is_tried_again_only_where_it_may_rest() -> None:
    waits = standing(**WAITS, entry_order_id=ENTRY.order_id)
    one = held(plan=PLAN, standing=(waits,), tried=tried(1, 3600))
    again = Protect(D(1), PLAN, OrderType.BRACKET, None, waits)
    assert next_step(one, product(), replace(QUIET, free=D(1)), RULES) == again
    # Somebody holds the coins, nobody knows the price, the exchange takes no order of it now.
    assert next_step(one, product(), replace(QUIET, free=D("0.999")), RULES) is None
    assert next_step(one, product(), replace(QUIET, bid=None), RULES) is None
    assert next_step(one, replace(product(), tradable=False), QUIET, RULES) is None
    # For good: the refusal stays, the product has no brackets, somebody chose so, or no clock may count.
    for_good = replace(one, tried=tried(1, 3600, stays=True))
    assert (next_step(for_good, product(), QUIET, RULES), next_try(for_good, RULES)) == (None, None)
    assert next_step(one, replace(product(), brackets=False), QUIET, RULES) is None
    for rules in (replace(RULES, mode=ProtectionMode.SOFTWARE), replace(RULES, retries=False)):
        assert (next_step(one, product(), QUIET, rules), next_try(one, rules)) == (None, None)


def test_each_entry_counts_its_own_refusals() -> None:
    """And keeps its own plan, size and entry when its bracket comes."""
    older, plan = uuid4(), ExitPlan(D(90), D(120))
    first = standing("2", plan=plan, entry_order_id=older, **WAITS)
    second = standing(entry_order_id=ENTRY.order_id, **WAITS)
    both = (Tried(older, 2, 1, ago=timedelta(seconds=20)), *tried(2, 20))
    one = held("3", plan=PLAN, standing=(first, second), tried=both)
    assert next_step(one, product(), QUIET, RULES) == Protect(D(2), plan, OrderType.BRACKET, None, first)
    assert next_try(replace(one, standing=(second,)), RULES) == timedelta(seconds=10)


def test_what_an_older_entry_lost_is_protected_by_its_own_plan() -> None:
    """Its bracket took the place of an order that waited here, and was refused."""
    older, plan = uuid4(), ExitPlan(D(90), D(120))
    bare = Bare(D(2), plan, older)
    refused = Tried(older, 3, 2, ago=timedelta(seconds=1))
    one = held("3", plan=PLAN, bare=(bare,), tried=(refused,), standing=(standing(entry_order_id=ENTRY.order_id),))
    assert next_step(one, product(), QUIET, RULES) == Protect(D(2), plan, OrderType.MARKET, None, bare)
    # What was bought meanwhile has its own.
    both = next_step(replace(one, standing=()), product(), QUIET, RULES)
    assert both == Protect(D(2), plan, OrderType.MARKET, None, bare)
    fallen = next_step(one, product(), replace(QUIET, bid=D(90)), RULES)
    assert fallen == Protect(D(2), plan, OrderType.MARKET, ExitTrigger.STOP, bare)
    less = next_step(replace(one, size=D(2)), product(), QUIET, RULES)
    assert less == Protect(D(1), plan, OrderType.MARKET, None, bare)


def test_what_is_past_its_stop_is_sold_at_once() -> None:
    crashed = replace(QUIET, bid=D(80))
    assert next_step(held(), product(), crashed, RULES) == Protect(D(1), PLAN, OrderType.MARKET, ExitTrigger.STOP)
    waits = standing(**WAITS)
    assert next_step(held(standing=(waits,)), product(), crashed, RULES) == Send(waits.order_id, ExitTrigger.STOP)
    # No more than the exchange has free, and nothing where that is too little.
    for free, size in (("5", "1"), ("0.4", "0.4"), ("0.001", None)):
        step = next_step(held(), product(), replace(crashed, free=D(free)), RULES)
        assert (step.size if isinstance(step, Protect) else step) == (D(size) if size else None)
    # A bracket does that by itself.
    assert next_step(held(standing=(standing(),)), product(), crashed, RULES) is None


def test_what_a_bracket_does_not_know_ends_it_first() -> None:
    rests = standing(plan=replace(PLAN, exit_time=NOW))
    assert next_step(held(standing=(rests,)), product(), QUIET, RULES) == Withdraw(
        (rests.order_id,), ExitTrigger.TIME_LIMIT
    )
    over = held(plan=rests.plan)
    assert next_step(over, product(), QUIET, RULES) == Protect(
        D(1), rests.plan, OrderType.MARKET, ExitTrigger.TIME_LIMIT
    )


def test_what_is_due_is_sold_whatever_was_bought_after_it() -> None:
    """By its own plan, and no more than nothing else sells; the newest entry keeps its own."""
    over = replace(PLAN, exit_time=NOW)
    later = replace(PLAN, exit_time=NOW + timedelta(hours=9))
    one = held("3", standing=(standing("2", plan=later),), plan=later)
    due = replace(one, due=(Due(D(1), over, ExitTrigger.TIME_LIMIT),))
    assert next_step(one, product(), QUIET, RULES) == Protect(D(1), later, OrderType.BRACKET, None)
    sale = Protect(D(1), over, OrderType.MARKET, ExitTrigger.TIME_LIMIT, *due.due)
    assert next_step(due, product(), QUIET, RULES) == sale
    # It is being sold, or an exit sells it: then it is no business of this.
    sent = standing("1", state=OrderState.PENDING, order_type=OrderType.MARKET, trigger=ExitTrigger.TIME_LIMIT)
    assert next_step(replace(due, standing=(*due.standing, sent)), product(), QUIET, RULES) is None
    assert next_step(replace(due, selling=D(1)), product(), QUIET, RULES) is None


def test_brackets_that_go_for_one_reason_go_at_once_and_are_sold_as_one() -> None:
    trailing = replace(RULES, trailing=D("0.02"))
    fallen = replace(QUIET, bid=D("97.9"))
    three = tuple(standing(str(size)) for size in (1, 2, 3))
    one = held("6", standing=three, plan=PLAN)
    step = next_step(one, product(), fallen, trailing)
    assert step == Withdraw(tuple(each.order_id for each in three), ExitTrigger.TRAILING_STOP)
    due = after(one, step)
    assert next_step(due, product(), fallen, trailing) == Protect(
        *(D(6), PLAN, OrderType.MARKET, ExitTrigger.TRAILING_STOP),
        due.due[0],
    )
    # The time of one has come, which is no reason to take away the others.
    ends = standing("1", plan=replace(PLAN, exit_time=NOW))
    step = next_step(replace(one, standing=(ends, *three[1:])), product(), QUIET, RULES)
    assert step == Withdraw((ends.order_id,), ExitTrigger.TIME_LIMIT)


def test_nothing_is_begun_while_something_ends_or_cannot_be_done() -> None:
    sent = standing(cancelling=True, state=OrderState.UNKNOWN)
    assert next_step(held("2", standing=(sent,)), product(), QUIET, RULES) is None
    # What rests is asked for again: the exchange may not have heard of it.
    rests = standing(cancelling=True)
    assert next_step(held("2", standing=(rests,)), product(), QUIET, RULES) == Withdraw((rests.order_id,))
    assert next_step(held(selling=D(1)), product(), QUIET, RULES) is None
    assert next_step(held("0.009"), product(), QUIET, RULES) is None
    off = replace(RULES, mode=ProtectionMode.OFF)
    assert next_step(held(), product(), QUIET, off) is None
    waits = standing(**WAITS)
    crashed = replace(QUIET, bid=D(80))
    # What was made before it was switched off is kept.
    assert isinstance(next_step(held(standing=(waits,)), product(), crashed, off), Send)


def test_what_was_adopted_is_protected_from_now_on() -> None:
    adopted = held(entry=None)
    assert next_step(adopted, product(), replace(QUIET, bid=D(200)), RULES) == Protect(
        D(1), ExitPlan(D(190), D(220)), OrderType.BRACKET, None
    )
    assert next_step(replace(adopted, close=None), product(), replace(QUIET, bid=None), RULES) is None


def test_more_than_is_held_is_never_left_to_sell() -> None:
    two = (standing("1"), standing("0.5", **WAITS))
    step = next_step(held("1", standing=two), product(), QUIET, RULES)
    assert step == Withdraw(tuple(one.order_id for one in two))
    # What is being sent already cannot be taken back.
    sent = standing("2", state=OrderState.PENDING, order_type=OrderType.MARKET, trigger=ExitTrigger.STOP)
    assert next_step(held("1", standing=(sent,)), product(), QUIET, RULES) is None


sizes = st.decimals(0, 50, places=4, allow_nan=False)
orders = st.builds(
    Standing,
    order_id=st.uuids(),
    state=st.sampled_from([OrderState.WAITING, OrderState.OPEN, OrderState.PENDING]),
    order_type=st.sampled_from(list(OrderType)),
    left=sizes,
    plan=st.sampled_from([PLAN, replace(PLAN, exit_time=NOW), replace(PLAN, exit_time=NOW + timedelta(hours=1))]),
    cancelling=st.booleans(),
    trigger=st.none(),
)
markets = st.builds(
    MarketNow, bid=st.sampled_from([None, D(90), D(100), D(120)]), high=st.just(D(120)), time=st.just(NOW)
)
rules_of = st.builds(
    ExitRules,
    mode=st.sampled_from([ProtectionMode.BRACKET, ProtectionMode.SOFTWARE]),
    stop=st.just(D("0.05")),
    target=st.just(D("0.1")),
    trailing=st.sampled_from([None, D("0.1")]),
    time_limit=st.none(),
)


def after(position: Held, step: Step) -> Held:
    """The rows after a step that the exchange went along with; what sells is sold at once."""
    if isinstance(step, Withdraw):
        ended = [one for one in position.standing if one.order_id in step.order_ids]
        rest = tuple(one for one in position.standing if one not in ended)
        due = tuple(Due(one.left, one.plan, step.trigger) for one in ended) if step.trigger is not None else ()
        return replace(position, standing=rest, due=(*position.due, *due))
    if isinstance(step, Send):
        (sent,) = (one for one in position.standing if one.order_id == step.order_id)
        rest = tuple(one for one in position.standing if one is not sent)
        return replace(position, size=position.size - sent.left, standing=rest)
    if step.trigger is not None:
        return replace(position, size=position.size - step.size, plan=step.plan, due=())
    state = OrderState.OPEN if step.order_type is OrderType.BRACKET else OrderState.WAITING
    made = Standing(uuid4(), state, step.order_type, step.size, step.plan, cancelling=False, trigger=None)
    kept = tuple(one for one in position.standing if one is not step.successor_of)
    return replace(position, standing=(*kept, made), plan=step.plan)


@given(sizes, sizes, st.lists(orders, max_size=7), markets, rules_of, st.integers(0, 3), st.booleans())
def test_step_by_step_all_is_protected_and_never_more_than_is_held(
    size: Decimal,
    selling: Decimal,
    standing: list[Standing],
    market: MarketNow,
    rules: ExitRules,
    refused: int,
    stays: bool,
) -> None:
    rules_of_product = product()
    position = held(
        str(size),
        selling=min(selling, size),
        standing=tuple(standing),
        tried=(Tried(ENTRY.order_id, 1, refused, stays=stays, ago=timedelta(seconds=20)),),
    )
    for _ in range(2 * len(standing) + 4):
        step = next_step(position, rules_of_product, market, rules)
        if step is None:
            break
        if isinstance(step, Protect) and isinstance(step.successor_of, Standing):
            # Nothing more is sold than before, and it waited on.
            assert step.successor_of in position.standing and step.successor_of.state is OrderState.WAITING
            assert step.size == step.successor_of.left and position.unprotected >= 0
        elif isinstance(step, Protect):
            assert 0 < step.size <= position.unprotected
            endable = [one for one in position.standing if one.state is not OrderState.PENDING]
            assert step.trigger is not None or len(position.standing) < MOST_STANDING or not endable
        if isinstance(step, Send):
            assert position.unprotected >= 0
        position = after(position, step)
    else:
        raise AssertionError("it does not come to rest")
    if any(one.cancelling and one.state is OrderState.PENDING for one in position.standing):
        return
    assert position.size >= position.selling
    # Only what was just made and would already rest on its own is left; the rest cannot be protected.
    assert position.unprotected >= 0 or not [one for one in position.standing if one.trigger is None]
    if position.unprotected > 0:
        assert not can_be_protected(position.unprotected, rules_of_product, market.bid or position.close)
