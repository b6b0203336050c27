"""The exits of the evidence are live trading's: by the executor's own rule bar by bar, and by hand where a candle is silent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.candles import FloatArray
from modelkit.features.cleaning import Grid, clean
from svc_bridge.exit_plan import LabelTerms, exit_plan
from svc_executor.exit_plan import ExitRules, MarketNow, own_trigger, trigger_of
from tests.signal.market_doubles import HOUR, grid_of
from tests.signal.signal_series import synthetic
from tradekit.exit_plan import ExitPlan
from tradekit.states import ExitTrigger, ProtectionMode
from tradekit.units import Price
from training.backtest import Costs, charges_of, gains_of, market_of, simulate_trades, statistics
from training.exits import LIVE, Entries, Exit, Way, entries_of
from training.trades import Calls, Trades, trade

BAR = timedelta(seconds=HOUR)
START = datetime(2025, 1, 1, tzinfo=UTC)
HORIZON = 5


def price(value: float) -> Price:
    return Price(Decimal(repr(float(value))))


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade of one row: the bars it was decided and ended at, why, and what it was sold for by what was paid."""

    begin: int
    end: int
    reason: str
    ratio: float


def walked(grid: Grid, barrier: FloatArray, calls: Calls, trailing: float | None) -> Iterator[Trade]:
    """As a service trades: a price at a time, each shown to the executor's rule. Its stop is worse than its target in one bar."""
    rules = ExitRules(ProtectionMode.BRACKET, Decimal(1), Decimal(1), trailing and Decimal(repr(trailing)), None)
    plan: ExitPlan | None = None
    peak: Price | None = None
    begin, paid, wish = 0, 0.0, ""
    for bar in range(grid.bars):
        opens, high, low = (float(each[0, bar]) for each in (grid.open, grid.high, grid.low))
        opened = START + bar * BAR
        if plan is not None and (wish == "SELL" or own_trigger(plan, MarketNow(None, None, opened), rules)):
            yield Trade(begin, bar - 1, "SELL" if wish == "SELL" else ExitTrigger.TIME_LIMIT, opens / paid)
            plan = None
        if plan is None and wish == "BUY":
            begin, paid, peak = bar - 1, opens, None
            sigma, decided = float(barrier[0, begin]), price(grid.close[0, begin])
            plan = exit_plan(decided, opened, sigma, LabelTerms(1.0, HORIZON), BAR, with_time=True)
        if plan is not None:
            # The end of the time is looked at when the bar is over.
            for seen in passed(plan, price(opens), price(low), price(high), peak, rules):
                trigger = trigger_of(plan, MarketNow(seen, peak, None), rules)
                if trigger is not None:
                    at_market = trigger is not ExitTrigger.TARGET or begin == bar - 1
                    yield Trade(begin, bar, trigger, float(seen if at_market else plan.target_price) / paid)
                    plan = None
                    break
        peak = price(high) if peak is None else max(peak, price(high))
        wish = "SELL" if calls.sell[0, bar] else "BUY" if calls.buy[0, bar] else ""


def passed(plan: ExitPlan, opens: Price, low: Price, high: Price, peak: Price | None, rules: ExitRules) -> list[Price]:
    """The prices of a bar at which something may happen: its open, what a fall to its low passes, and then its target."""
    trail = [] if peak is None or rules.trailing is None else [peak * (1 - rules.trailing)]
    falling = sorted((level for level in (plan.stop_price, *trail) if low <= level < opens), reverse=True)
    return [opens, *falling, *([plan.target_price] if high >= plan.target_price else [])]


def random_calls(grid: Grid, rng: np.random.Generator) -> Calls:
    drawn = rng.random(grid.close.shape)
    return Calls(drawn < 0.3, drawn > 0.93)


def listed(trades: Trades, grid: Grid) -> list[Trade]:
    """Without what the end of the bars cuts."""
    gain = np.concatenate([np.zeros((1, 1)), np.cumsum(np.log1p(gains_of(trades, market_of(grid))), axis=1)], axis=1)[0]
    found = [
        Trade(int(begin), int(end), Exit(reason).name, float(np.exp(gain[end] - gain[begin])))
        for begin, end, reason in zip(trades.begin, trades.end, trades.reason, strict=True)
        if reason != Exit.END
    ]
    return sorted(found, key=lambda each: each.begin)


def closing(found: list[Trade], grid: Grid) -> list[Trade]:
    return [each for each in found if each.end < grid.bars - 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from((None, 0.004, 0.012)))
def test_trades_are_those_of_the_executor_s_rule(seed: int, trailing: float | None) -> None:
    rng = np.random.default_rng(seed)
    grid = clean(synthetic(1, 120, seed=seed), HOUR, "BTC-USD")
    barrier = rng.uniform(0.004, 0.03, grid.close.shape)
    calls = random_calls(grid, rng)
    entries = entries_of(grid, barrier, HORIZON, Way(trailing=trailing))
    found = closing(listed(trade(calls, entries, market_of(grid).present), grid), grid)
    expected = closing(list(walked(grid, barrier, calls, trailing)), grid)
    assert [(each.begin, each.end, each.reason) for each in found] == [
        (each.begin, each.end, each.reason) for each in expected
    ]
    # The plan's ratios of prices have nine digits.
    assert [each.ratio for each in found] == pytest.approx([each.ratio for each in expected], rel=1e-7)
    assert len(found) > 4


def test_the_executor_s_triggers_have_its_names() -> None:
    assert [each.name for each in Exit][:4] == [each.value for each in ExitTrigger]


FLAT = (100.0, 100.5, 99.5, 100.0)
DECIDED = FLAT
REST = (FLAT,) * 8


def left(way: Way, *bars: tuple[float, float, float, float] | None) -> tuple[str, int, float] | None:
    """What an entry decided at the first bar comes to, with a barrier of 10 %: why, in or after which bar, and at what price by
    100; None if it is not filled."""
    grid = grid_of(DECIDED, *bars, *REST)
    entries = entries_of(grid, np.full(grid.close.shape, 0.1), HORIZON, way)
    if not entries.filled[0, 0]:
        return None
    calls = Calls(np.arange(grid.bars)[None] == 0, np.zeros((1, grid.bars), dtype=np.bool_))
    (found,) = listed(trade(calls, entries, market_of(grid).present), grid)
    paid = 100.0 if way.maker else grid.open[0, 1]
    return found.reason, found.end, found.ratio * paid


STOP, TARGET = 100.0 * np.exp(-0.1), 100.0 * np.exp(0.1)


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([(100, 101, 90, 95)], ("STOP", 1, STOP)),
        ([FLAT, (85, 95, 80, 90)], ("STOP", 2, 85.0)),  # a gap through the stop fills at the open
        ([FLAT, (100, 120, 80, 100)], ("STOP", 2, STOP)),  # both in one bar
        ([FLAT, FLAT, (100, 115, 99, 112)], ("TARGET", 3, TARGET)),
        (
            [FLAT, (115, 120, 80, 100)],
            ("TARGET", 2, TARGET),
        ),  # its open comes before its low; a limit sells at its price
        ([(112, 120, 80, 100)], ("TARGET", 1, 112.0)),  # bought above its target: sold at once
        ([(85, 101, 84, 95)], ("STOP", 1, 85.0)),
        ([FLAT] * 5 + [(103, 104, 102, 103)], ("TIME_LIMIT", 5, 103.0)),
        ([FLAT] * 4 + [(100, 101, 80, 90), FLAT], ("STOP", 5, STOP)),  # the last bar of its time
    ],
)
def test_what_ends_an_entry(
    bars: list[tuple[float, float, float, float] | None], expected: tuple[str, int, float]
) -> None:
    why, when, at = left(LIVE, *bars) or ("", 0, 0.0)
    assert (why, when) == expected[:2]
    assert at == pytest.approx(expected[2])


def test_a_time_that_ends_in_a_gap_ends_at_the_next_price() -> None:
    grid = grid_of(*[FLAT] * 5, *[None] * 30, (97, 98, 96, 97), *REST)
    calls = Calls(np.arange(grid.bars)[None] == 0, np.zeros((1, grid.bars), dtype=np.bool_))
    entries = entries_of(grid, np.full(grid.close.shape, 0.1), 20, LIVE)
    (found,) = listed(trade(calls, entries, market_of(grid).present), grid)
    assert (found.reason, found.end, found.ratio) == ("TIME_LIMIT", 34, pytest.approx(0.97))


def test_a_trailing_stop_follows_the_highs_of_the_bars_before() -> None:
    way = Way(trailing=0.03)
    rise = (100.0, 108.0, 99.0, 107.0)
    assert left(way, rise, (107, 109, 104, 108)) == ("TRAILING_STOP", 2, pytest.approx(108 * 0.97))
    assert left(way, rise, (102, 103, 101, 102)) == ("TRAILING_STOP", 2, pytest.approx(102))
    assert left(way, rise, (80, 85, 79, 82)) == (
        "STOP",
        2,
        pytest.approx(80),
    )  # both are passed: the executor says STOP


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([(100.2, 101, 100, 100.5)], None),  # at the limit and not below it: others were there first
        ([(100.2, 115, 99.9, 114), FLAT], ("TIME_LIMIT", 5, 100.0)),  # its high may have been before the fill
        ([(100.2, 115, 99.9, 114), (114, 116, 113, 115)], ("TARGET", 2, TARGET)),
        ([(100.2, 101, 89, 100)], ("STOP", 1, STOP)),
        ([None, FLAT], None),
    ],
)
def test_a_maker_entry_is_filled_only_below_its_limit(
    bars: list[tuple[float, float, float, float] | None], expected: tuple[str, int, float] | None
) -> None:
    found = left(Way(maker=True), *bars)
    assert found == (expected and (*expected[:2], pytest.approx(expected[2])))


def test_an_entry_of_the_bar_that_ended_a_position_is_another_trade_with_its_own_costs() -> None:
    """Stopped in bar 1, whose close buys again at the open of bar 2; a SELL beside the end of its time is a SELL."""
    down = (100.0, 101.0, 85.0, 100.0)
    grid = grid_of(FLAT, down, *REST)
    calls = Calls(np.zeros((1, grid.bars), dtype=np.bool_), np.zeros((1, grid.bars), dtype=np.bool_))
    calls.buy[0, :2] = True
    calls.sell[0, 1 + HORIZON] = True
    market = market_of(grid)
    trades = trade(calls, entries_of(grid, np.full(grid.close.shape, 0.1), HORIZON, LIVE), market.present)
    assert [(each.begin, each.end, each.reason) for each in listed(trades, grid)] == [(0, 1, "STOP"), (1, 6, "SELL")]
    paid = charges_of(trades, market, Costs(0.01, 0.02))[0]
    assert paid[:3] == pytest.approx([0.03, 0.01, 0.0]) and paid[6] == pytest.approx(0.02)
    stats = statistics(simulate_trades(trades, market, Costs(0.01, 0.02)), market)
    assert (stats.trades, stats.total_return) == (2, pytest.approx((STOP / 100 - 0.03) * (1 - 0.01) * (1 - 0.02) - 1.0))


def test_a_block_by_itself_opens_and_closes_what_its_edges_cut() -> None:
    grid = clean(synthetic(2, 200, seed=3), HOUR, "BTC-USD")
    rng = np.random.default_rng(4)
    market = market_of(grid)
    entries = entries_of(grid, np.full(grid.close.shape, 0.02), 24, LIVE)
    trades = trade(random_calls(grid, rng), entries, market.present)
    whole = gains_of(trades, market)
    assert (trades.held.sum(), len(trades)) > (100, 20)
    pieces = [trades.part(begin, begin + 40) for begin in range(0, 200, 40)]
    assert (np.concatenate([piece.held for piece in pieces], axis=1) == trades.held).all()
    parts = [
        gains_of(piece, market.part(begin, begin + 40)) for begin, piece in zip(range(0, 200, 40), pieces, strict=True)
    ]
    assert np.concatenate(parts, axis=1) == pytest.approx(whole)
    assert sum(len(piece) for piece in pieces) > len(trades)


def test_one_product_s_part_of_entries_is_what_its_own_bars_give() -> None:
    """Nothing after the end of a part is known in it."""
    grid = clean(synthetic(2, 150, seed=8), HOUR, "BTC-USD")
    barrier = np.full(grid.close.shape, 0.01)
    calls = random_calls(grid, np.random.default_rng(5))
    market = market_of(grid)
    short = Calls(calls.buy[:, :90], calls.sell[:, :90])
    of_whole = trade(short, entries_of(grid, barrier, HORIZON, LIVE).part(0, 90), market.part(0, 90).present)
    cut = clean(synthetic(2, 150, seed=8), HOUR, "BTC-USD", grid.first_bar, grid.first_bar + 91)
    own = trade(short, entries_of(cut, barrier[:, :92], HORIZON, LIVE).part(0, 90), market_of(cut).part(0, 90).present)
    assert listed_by_row(of_whole) == listed_by_row(own)


def listed_by_row(trades: Trades) -> list[tuple[int, int, int, int]]:
    return sorted(zip(*(each.tolist() for each in (trades.row, trades.begin, trades.end, trades.reason)), strict=True))


def test_many_rules_at_once_are_each_rule_by_itself() -> None:
    grid = clean(synthetic(2, 150, seed=8), HOUR, "BTC-USD")
    entries, market = entries_of(grid, np.full(grid.close.shape, 0.01), HORIZON, LIVE), market_of(grid)
    many = [random_calls(grid, np.random.default_rng(seed)) for seed in range(3)]
    together = trade(
        Calls(np.stack([each.buy for each in many]), np.stack([each.sell for each in many])), entries, market.present
    )
    gain = gains_of(together, market).reshape(3, 2, -1)
    for number, calls in enumerate(many):
        assert gain[number] == pytest.approx(gains_of(trade(calls, entries, market.present), market))


def test_entries_have_no_price_where_there_is_no_bar() -> None:
    grid = grid_of(FLAT, *[None] * 20, FLAT, FLAT, FLAT)
    found: Entries = entries_of(grid, np.full(grid.close.shape, 0.1), HORIZON, LIVE)
    assert np.isfinite(found.sold_to_open).all() and np.isfinite(found.open_to_paid).all()
    assert not found.filled[0, 12:19].any() and not found.filled[0, -1]
