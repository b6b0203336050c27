"""With and without protective exits, entered by taker and by maker orders: the same decisions traded in each of the four ways.

All are at the account's cost. A maker entry pays the maker fee and no slippage, every exit the taker fee and slippage: whether a
target that rests at the exchange is charged less is not known of the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from training.backtest import Costs, gains_of, simulate_trades, statistics
from training.exits import Entries, Exit, Way, entries_of
from training.report.decisions import Span
from training.trades import Calls, Trades
from training.walkforward_candidates import RULES
from training.walkforward_study import Study, StudySettings

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ways:
    """What entries come to in each way, of the whole table."""

    entries: Mapping[Way, Entries]

    @classmethod
    def of(cls, study: Study) -> Ways:
        live, table, horizon = study.settings.way, study.table, study.settings.label.horizon_bars
        ways = [
            replace(live, protective=protective, maker=maker) for protective in (True, False) for maker in (False, True)
        ]
        return cls({way: entries_of(table.grid, table.barrier, horizon, way) for way in ways})


@dataclass(frozen=True, slots=True)
class Fees:
    """Shares of the notional, the two parts of `Costs`."""

    fee: Costs
    slippage: Costs

    @classmethod
    def of(cls, way: Way, settings: StudySettings) -> Fees:
        label = settings.label
        return cls(
            Costs(settings.maker_fee if way.maker else label.fee_ratio, label.fee_ratio),
            Costs(0.0 if way.maker else label.slippage_ratio, label.slippage_ratio),
        )

    @property
    def whole(self) -> Costs:
        return Costs(self.fee.entry + self.slippage.entry, self.fee.exit + self.slippage.exit)


@dataclass(frozen=True, slots=True)
class Tally:
    """Trades of one stake each, added up: `gross`, `fees`, `slippage` and `pnl` are multiples of the stake, not compounded.

    `exits` counts why they ended, `not_filled` the entries decided while nothing was held that no price filled.
    """

    exits: Mapping[str, int]
    not_filled: int
    gross: float
    fees: float
    slippage: float
    pnl: float


def traded_ways(study: Study, span: Span, ways: Ways) -> list[Document]:
    """The chosen model's rules, each in every way; `live` is how live trading trades."""
    settings, market = study.settings, span.market
    found = []
    for rule in RULES:
        calls = span.calls(study.chosen, rule, settings.account_cost)
        for way, entries in ways.entries.items():
            own, fees = replace(span, entries=entries), Fees.of(way, settings)
            trades = own.trade(calls)
            found.append(
                {
                    "rule": rule.name,
                    "protective_exits": way.protective,
                    "entry": "MAKER" if way.maker else "TAKER",
                    "live": way == settings.way,
                    **asdict(statistics(simulate_trades(trades, market, fees.whole), market)),
                    **asdict(tally(trades, own, calls, fees)),
                }
            )
    return found


def tally(trades: Trades, span: Span, calls: Calls, fees: Fees) -> Tally:
    """What became of a rule's decisions over a span."""
    market = span.market
    running = np.cumsum(np.log1p(gains_of(trades, market)), axis=1)
    running = np.concatenate([np.zeros((trades.rows, 1)), running], axis=1)
    sold = np.exp(running[trades.row, trades.end] - running[trades.row, trades.begin])
    paid_fees = float((fees.fee.entry + fees.fee.exit * sold).sum())
    slippage = float((fees.slippage.entry + fees.slippage.exit * sold).sum())
    gross = float((sold - 1.0).sum())
    filled = span.entries.part(span.begin, span.end).filled
    missed = calls.buy & market.present & ~filled & ~trades.held
    return Tally(
        exits={each.name: int(np.count_nonzero(trades.reason == each)) for each in Exit},
        not_filled=int(np.count_nonzero(missed)),
        gross=gross,
        fees=paid_fees,
        slippage=slippage,
        pnl=gross - paid_fees - slippage,
    )
