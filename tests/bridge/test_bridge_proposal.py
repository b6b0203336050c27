"""What becomes of a signal: a table of cases, and what must hold for every signal and every state."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_bridge.proposal import ProductState, Proposal, ProposalRules, SignalSeen, Skip, propose, sellable
from svc_bridge.wire import signal_of
from tests.bridge.bridge_world import AS_OF, HOUR, signal
from tradekit.states import Side, SignalSide

D = Decimal
RULES = ProposalRules(D(100), entry_cooldown_bars=3, stale_signal_bars=1)


def seen(side: str) -> SignalSeen:
    return signal_of(signal(1, side))


CASES = [
    ("HOLD", {}, 0, ["HOLD"]),
    ("HOLD", {"held": D(1), "open_buy": True}, 9, ["HOLD"]),
    ("BUY", {}, 0, None),
    ("BUY", {"held": D(5), "open_sell": True}, 0, None),
    ("BUY", {}, 1, ["STALE_SIGNAL"]),
    ("BUY", {"open_buy": True}, 0, ["DUPLICATE_OPEN"]),
    ("BUY", {"last_buy_as_of": AS_OF - 2 * HOUR}, 0, ["COOLDOWN"]),
    ("BUY", {"last_buy_as_of": AS_OF - 3 * HOUR}, 0, None),
    ("BUY", {"last_buy_as_of": AS_OF + HOUR}, 0, ["COOLDOWN"]),
    ("BUY", {"open_buy": True, "last_buy_as_of": AS_OF}, 2, ["STALE_SIGNAL", "DUPLICATE_OPEN", "COOLDOWN"]),
    ("SELL", {}, 0, ["NOTHING_HELD"]),
    ("SELL", {"held": D("0.5")}, 0, None),
    ("SELL", {"held": D("0.5")}, 400, None),
    ("SELL", {"held": D("0.00009"), "base_increment": D("0.0001")}, 0, ["NOTHING_HELD"]),
    ("SELL", {"held": D("0.5"), "open_sell": True}, 0, ["DUPLICATE_OPEN"]),
    ("SELL", {"open_sell": True, "open_buy": True}, 0, ["NOTHING_HELD", "DUPLICATE_OPEN"]),
]


@pytest.mark.parametrize(("side", "state", "bars_old", "codes"), CASES)
def test_the_outcome_of_each_case(side: str, state: dict[str, object], bars_old: int, codes: list[str] | None) -> None:
    outcome = propose(seen(side), ProductState(**state), AS_OF + bars_old * HOUR, RULES)  # type: ignore[arg-type]
    if codes is None:
        assert isinstance(outcome, Proposal)
        assert outcome.side.value == side
    else:
        assert isinstance(outcome, Skip)
        assert [reason.code for reason in outcome.reasons] == codes


def test_a_holds_own_reasons_are_kept() -> None:
    held = signal_of(signal(1, "HOLD", reasons=[{"code": "BELOW_THRESHOLD", "scope": "model"}]))
    outcome = propose(held, ProductState(), AS_OF, RULES)
    assert isinstance(outcome, Skip)
    assert [reason.code for reason in outcome.reasons] == ["HOLD", "BELOW_THRESHOLD"]


amounts = st.decimals(min_value=0, max_value=D(10) ** 19, places=18)
increments = st.one_of(st.none(), st.integers(0, 18).map(lambda places: D(1).scaleb(-places)))
product_states = st.builds(
    ProductState,
    held=amounts,
    base_increment=increments,
    open_buy=st.booleans(),
    open_sell=st.booleans(),
    last_buy_as_of=st.one_of(st.none(), st.integers(-30, 30).map(lambda bars: AS_OF + bars * HOUR)),
)


@given(
    side=st.sampled_from(["BUY", "SELL", "HOLD"]),
    state=product_states,
    late_seconds=st.integers(-7200, 36000),
    cooldown=st.integers(0, 10),
    stale=st.integers(1, 5),
)
def test_every_signal_has_one_outcome_that_the_state_allows(
    side: str, state: ProductState, late_seconds: int, cooldown: int, stale: int
) -> None:
    rules = ProposalRules(D(100), cooldown, stale)
    newest = AS_OF + timedelta(seconds=late_seconds)
    outcome = propose(seen(side), state, newest, rules)
    assert outcome == propose(seen(side), state, newest, rules)
    if isinstance(outcome, Skip):
        assert outcome.reasons
        return
    assert outcome.side.value == side
    assert 0 <= outcome.priority <= 1
    if outcome.side is Side.SELL:
        assert 0 < outcome.size <= state.held
        assert not state.open_sell
    else:
        assert outcome.size == rules.entry_quote_size
        assert not state.open_buy
        # Whole bars decide: a bar that is not over yet has no age.
        assert late_seconds < stale * 3600
        if state.last_buy_as_of is not None and cooldown > 0:
            assert AS_OF - state.last_buy_as_of >= cooldown * HOUR


@given(held=amounts, increment=increments)
def test_what_is_sold_lies_on_the_grid_and_leaves_less_than_a_step(held: Decimal, increment: Decimal | None) -> None:
    size = sellable(held, increment)
    assert 0 <= size <= held
    if increment is None:
        assert size == held
    else:
        assert held - size < increment
        assert int(size.scaleb(18)) % int(increment.scaleb(18)) == 0


@given(edge=st.floats(-1, 1) | st.just(float("nan")))
def test_priority_is_the_edge_between_0_and_1(edge: float) -> None:
    outcome = propose(signal_of(signal(1, edge=edge)), ProductState(), AS_OF, RULES)
    assert isinstance(outcome, Proposal)
    assert 0 <= outcome.priority <= 1


def test_the_wire_gives_every_side() -> None:
    assert [seen(side).side for side in ("BUY", "SELL", "HOLD")] == [SignalSide.BUY, SignalSide.SELL, SignalSide.HOLD]
