"""Whether a challenger may decide: both models on the same rows, outcomes known, judged by one set of limits.

Pure. Neighbouring labels overlap and products move together, so what is drawn again for the probability that its loss is
lower are blocks of whole bars, never single rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from modelkit.candles import FloatArray, IntArray
from modelkit.metrics import calibration_error, log_loss, reliability
from tradekit.reasons import Reason, shown

LEAST_DAYS: Final = 14
LEAST_LABELS: Final = 1_000
LEAST_PROBABILITY: Final = 0.9
MOST_TURNOVER: Final = 1.5
MOST_CALIBRATION_ERROR: Final = 0.05
BUY, HOLD, SELL = 1, 0, -1
_DRAWS = 1_000
_SEED = 51
_LONGEST_BLOCK = 168
_BLOCKS = 10
_LEAST_BLOCKS = 5
_LEAST_CHANCE = 1e-15


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Rows that both models predicted and whose label has matured, (n) each; probabilities (n, 3), sides BUY, HOLD, SELL.

    `bar` is the absolute bar number, `product` any number of its own, `next_return` the log return from the next open to
    the open after it.
    """

    bar: IntArray
    product: IntArray
    challenger: FloatArray
    champion: FloatArray
    challenger_side: IntArray
    champion_side: IntArray
    outcome: IntArray
    next_return: FloatArray

    def __len__(self) -> int:
        return len(self.bar)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rows say; losses are means in nats, returns net log returns, equal weight on every product.

    `labelled_from` and `as_of` are the first open and last close of bars that count; None without rows.
    """

    labelled_from: datetime | None
    as_of: datetime | None
    matured_labels: int
    log_loss: float
    champion_log_loss: float
    probability_better: float
    net_return: float
    champion_net_return: float
    trades: int
    champion_trades: int
    calibration_error: float

    @property
    def span(self) -> timedelta:
        return self.as_of - self.labelled_from if self.as_of and self.labelled_from else timedelta()

    def as_dict(self) -> dict[str, Any]:
        """The form that is stored as JSON."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


def weigh(
    rows: JudgedRows, round_trip_cost: float, horizon_bars: int, period: tuple[datetime, datetime] | None
) -> Evidence:
    """The evidence; `period` is the first open and the last close of the rows' bars."""
    net, trades = _long_or_flat(rows, rows.challenger_side, round_trip_cost)
    champion_net, champion_trades = _long_or_flat(rows, rows.champion_side, round_trip_cost)
    return Evidence(
        labelled_from=period[0] if period else None,
        as_of=period[1] if period else None,
        matured_labels=len(rows),
        log_loss=log_loss(rows.challenger, rows.outcome),
        champion_log_loss=log_loss(rows.champion, rows.outcome),
        probability_better=_probability_better(rows, horizon_bars),
        net_return=net,
        champion_net_return=champion_net,
        trades=trades,
        champion_trades=champion_trades,
        calibration_error=calibration_error(reliability(rows.challenger, rows.outcome)),
    )


def missing(evidence: Evidence) -> tuple[Reason, ...]:
    """Everything that a promotion still lacks; empty if nothing."""
    days = evidence.span / timedelta(days=1)
    turnover_limit = MOST_TURNOVER * evidence.champion_trades
    checks = (
        (
            days >= LEAST_DAYS or evidence.matured_labels >= LEAST_LABELS,
            Reason(
                "EVIDENCE_TOO_SHORT",
                f"{LEAST_DAYS} days or {LEAST_LABELS} labels",
                f"{days:.1f} days, {evidence.matured_labels} labels",
            ),
        ),
        (
            evidence.probability_better >= LEAST_PROBABILITY,
            Reason("LOG_LOSS_NOT_LOWER", shown(LEAST_PROBABILITY), shown(evidence.probability_better), "probability"),
        ),
        (
            evidence.net_return >= evidence.champion_net_return,
            Reason(
                "NET_RETURN_LOWER", shown(evidence.champion_net_return), shown(evidence.net_return), "net log return"
            ),
        ),
        (
            # A champion that never traded says nothing about turnover; costs are in the net return.
            evidence.champion_trades == 0 or evidence.trades <= turnover_limit,
            Reason("TURNOVER_TOO_HIGH", shown(turnover_limit), shown(evidence.trades), "changes of position"),
        ),
        (
            evidence.calibration_error <= MOST_CALIBRATION_ERROR,
            Reason("CALIBRATION_OFF", shown(MOST_CALIBRATION_ERROR), shown(evidence.calibration_error), "ece of p_up"),
        ),
    )
    return tuple(reason for holds, reason in checks if not holds)


def in_words(reasons: tuple[Reason, ...]) -> str:
    """Each finding with what was observed and its limit, in one line."""
    return "; ".join(
        f"{each.code}: {each.observed} {each.unit}".rstrip() + f" (limit {each.limit})" for each in reasons
    )


def _probability_better(rows: JudgedRows, horizon_bars: int) -> float:
    """Share of resampled periods in which the challenger lost less; 0.5 where there is too little to draw from.

    Circular blocks (Politis and Romano 1992) of at least a label's horizon and at most a week: a tenth of the bars, so
    that two weeks are more than two blocks.
    """
    bars, number = np.unique(rows.bar, return_inverse=True)
    block = min(_LONGEST_BLOCK, max(horizon_bars, len(bars) // _BLOCKS))
    if len(bars) < _LEAST_BLOCKS * block:
        return 0.5
    difference = _losses(rows.challenger, rows.outcome) - _losses(rows.champion, rows.outcome)
    per_bar = np.bincount(number, weights=difference, minlength=len(bars))
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([per_bar, per_bar[: block - 1]]))])
    block_sums = running[block:] - running[:-block]
    starts = np.random.default_rng(_SEED).integers(0, len(bars), size=(_DRAWS, -(-len(bars) // block)))
    return float(np.mean(block_sums[starts].sum(axis=1) < 0.0))


def _losses(probabilities: FloatArray, outcomes: IntArray) -> FloatArray:
    chosen = probabilities[np.arange(len(outcomes)), outcomes]
    return np.asarray(-np.log(np.maximum(chosen, _LEAST_CHANCE)))


def _long_or_flat(rows: JudgedRows, sides: IntArray, round_trip_cost: float) -> tuple[float, int]:
    """Net log return and changes of position: BUY enters, SELL leaves, HOLD keeps; flat before the first bar and after
    the last."""
    if not len(rows):
        return 0.0, 0
    order = np.lexsort((rows.bar, rows.product))
    product, side = rows.product[order], sides[order]
    place = np.arange(len(order))
    first = np.concatenate([[True], product[1:] != product[:-1]])
    last = np.concatenate([first[1:], [True]])
    begin = np.maximum.accumulate(np.where(first, place, 0))
    spoken = np.maximum.accumulate(np.where(side != HOLD, place, -1))
    held = ((spoken >= begin) & (side[np.maximum(spoken, 0)] == BUY)).astype(np.float64)
    before = np.where(first, 0.0, np.concatenate([[0.0], held[:-1]]))
    changes = np.abs(held - before).sum() + held[last].sum()
    net = (held * rows.next_return[order]).sum() - 0.5 * round_trip_cost * changes
    return float(net / first.sum()), int(changes)
