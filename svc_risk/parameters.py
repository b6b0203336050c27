"""Every number the risk engine decides by, validated as a whole and named by one hash.

A decision stores the hash (`limits_version`), so it can always be told by which limits it was made. Shares of money are
decimals because they are multiplied with money; statistics are float64. The settings are made from this class: each field
is a variable such as RISK_MIN_NOTIONAL.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal

from tradekit.decimals import plain
from tradekit.fees import DEFAULT_TAKER_FEE
from tradekit.units import QuoteSize


def _means(words: str, *, zero: bool = False, share: bool = False) -> dict[str, str | bool]:
    """What a parameter means, whether it may be 0 (else it is above), and whether it is at most 1."""
    return {"words": words, "zero": zero, "share": share}


@dataclass(frozen=True, slots=True)
class Parameters:
    """Model parameters and limits. Volatilities are annualised; a `_ratio` is a share of equity unless it says else."""

    # Volatility, stop distance and score.
    sigma_ref: float = field(default=1.50, metadata=_means("annualised volatility that scores 1"))
    sigma_target: float = field(default=0.60, metadata=_means("annualised volatility above which entries shrink"))
    sigma_floor: float = field(default=0.05, metadata=_means("least annualised volatility that is believed"))
    vol_bars: int = field(default=336, metadata=_means("hourly bars of the volatility, 14 days"))
    min_real_bars: int = field(default=300, metadata=_means("real candles needed among them"))
    stop_z: float = field(default=2.0, metadata=_means("stop distance in standard deviations"))
    stop_horizon_days: float = field(default=1.0, metadata=_means("days of the stop distance"))
    weight_volatility: float = field(default=0.40, metadata=_means("weight of volatility in the score", zero=True))
    weight_heat: float = field(default=0.25, metadata=_means("weight of portfolio heat in the score", zero=True))
    weight_exposure: float = field(default=0.20, metadata=_means("weight of exposure in the score", zero=True))
    weight_drawdown: float = field(default=0.10, metadata=_means("weight of drawdown in the score", zero=True))
    weight_uncertainty: float = field(
        default=0.05, metadata=_means("weight of the model's uncertainty in the score", zero=True)
    )
    # Confidence a recommendation without a model behind it is scored at.
    neutral_confidence: float = field(
        default=0.5,
        metadata=_means("confidence that a recommendation without a model is scored at", zero=True, share=True),
    )
    score_soft: float = field(default=0.50, metadata=_means("score above which entries shrink", zero=True, share=True))
    score_hard: float = field(default=0.80, metadata=_means("score at which entries are refused", share=True))
    shock_ratio: float = field(
        default=2.5, metadata=_means("volatility of a day over that of its fortnight that counts as a shock")
    )
    shock_factor: float = field(default=0.5, metadata=_means("what a shock leaves of an entry, share", share=True))
    # Freshness.
    stale_bars: int = field(default=2, metadata=_means("bars after which candles are stale"))
    account_stale_seconds: int = field(default=30, metadata=_means("seconds after which a reconciliation is stale"))
    reservation_ttl_seconds: int = field(default=60, metadata=_means("life of a reservation and its ticket"))
    # Limits of one order.
    price_collar_ratio: float = field(
        default=0.02, metadata=_means("distance of the recommendation's price from the newest close, share")
    )
    collar_sigmas: float = field(
        default=4.0, metadata=_means("the same in hourly standard deviations; the larger counts")
    )
    min_confidence: float = field(default=0.40, metadata=_means("least confidence of the model", zero=True, share=True))
    vol_limit: float = field(
        default=2.50, metadata=_means("annualised volatility above which a product is not entered")
    )
    min_notional: QuoteSize = field(
        default=QuoteSize(Decimal("10.00")), metadata=_means("smallest order, quote currency")
    )
    max_order_notional: QuoteSize = field(
        default=QuoteSize(Decimal("250.00")), metadata=_means("largest order, quote currency")
    )
    liquidity_ratio: Decimal = field(
        default=Decimal("0.01"), metadata=_means("largest order as a share of an hour's turnover", share=True)
    )
    # Limits of the account.
    max_position_ratio: Decimal = field(
        default=Decimal("0.20"), metadata=_means("largest position, share of equity", share=True)
    )
    gross_exposure_ratio: Decimal = field(
        default=Decimal("0.80"), metadata=_means("all positions, share of equity", share=True)
    )
    cash_reserve_ratio: Decimal = field(
        default=Decimal("0.05"), metadata=_means("cash that stays free, share of equity", zero=True, share=True)
    )
    heat_cap_ratio: Decimal = field(
        default=Decimal("0.06"), metadata=_means("loss if everything hits its stop, share of equity", share=True)
    )
    max_open_positions: int = field(default=8, metadata=_means("positions at once"))
    taker_fee: Decimal = field(
        default=DEFAULT_TAKER_FEE, metadata=_means("taker fee per side, share", zero=True, share=True)
    )
    # Locks.
    daily_loss_ratio: Decimal = field(
        default=Decimal("0.03"), metadata=_means("loss of a day that locks entries, share of equity", share=True)
    )
    drawdown_ratio: Decimal = field(
        default=Decimal("0.10"), metadata=_means("fall from the high-water mark that locks entries, share", share=True)
    )
    cooldown_loss_minutes: int = field(
        default=240, metadata=_means("market minutes without entry after a losing exit of a product", zero=True)
    )
    cooldown_entry_minutes: int = field(
        default=30, metadata=_means("market minutes between two entries of a product", zero=True)
    )
    orders_per_minute: int = field(default=10, metadata=_means("orders of the account in a market minute"))
    product_orders_per_minute: int = field(default=2, metadata=_means("orders of a product in a market minute"))

    def as_text(self) -> dict[str, str]:
        """Every parameter as plain text, by name."""
        return {f.name: _text(getattr(self, f.name)) for f in fields(self)}

    @property
    def cooldown_loss_seconds(self) -> int:
        """The cooldown after a losing exit."""
        return self.cooldown_loss_minutes * 60

    @property
    def cooldown_entry_seconds(self) -> int:
        """The cooldown between two entries."""
        return self.cooldown_entry_minutes * 60

    def stale_seconds(self, granularity_seconds: int) -> int:
        """Greatest age of a product's newest candle."""
        return self.stale_bars * granularity_seconds

    def charging(self, taker_fee: Decimal | None) -> "Parameters":
        """The same parameters at the taker fee that a decision was made by; None keeps the setting's."""
        return self if taker_fee is None or taker_fee == self.taker_fee else replace(self, taker_fee=taker_fee)

    @property
    def limits_version(self) -> str:
        """sha256 over every name and value."""
        return hashlib.sha256(json.dumps(self.as_text(), sort_keys=True).encode()).hexdigest()


def faults(p: Parameters, name: Callable[[str], str] = str) -> list[str]:
    """Everything that is wrong with a set of parameters, each by the `name` that its reader knows; empty if it may be used."""
    wrong = {f.name: rule for f in fields(p) if (rule := _broken_rule(f.metadata, getattr(p, f.name)))}
    found = [f"{name(one)} = {_short(getattr(p, one))}: {rule}" for one, rule in wrong.items()]
    for names, holds, rule in _rules(p):
        # What does not hold because of a value that is wrong by itself, is no second fault.
        if not holds and not wrong.keys() & set(names):
            found.append(f"{', '.join(f'{name(one)} = {_short(getattr(p, one))}' for one in names)}: {rule}")
    return found


def _broken_rule(meant: Mapping[str, str | bool], value: Decimal | float) -> str | None:
    if not math.isfinite(value):
        return "must be a finite number"
    if value < 0 or (value == 0 and not meant["zero"]):
        return "must be 0 or more" if meant["zero"] else "must be above 0"
    return "must be at most 1" if meant["share"] and value > 1 else None


def _rules(p: Parameters) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    """What must hold of which parameters, and whether it does."""
    weights = tuple(f.name for f in fields(p) if f.name.startswith("weight_"))
    yield weights, abs(sum(getattr(p, one) for one in weights) - 1) <= 1e-9, "the weights must sum to 1"
    yield ("score_soft", "score_hard"), p.score_soft < p.score_hard, "the first must be below the second"
    yield ("min_real_bars", "vol_bars"), p.min_real_bars <= p.vol_bars, "the first must be at most the second"
    yield ("vol_bars",), p.vol_bars >= 24, "must be at least 24, the span of the shock rule"
    yield ("sigma_floor", "sigma_target"), p.sigma_floor <= p.sigma_target, "the first must be at most the second"
    smallest = ("min_notional", "max_order_notional")
    yield smallest, p.min_notional <= p.max_order_notional, "the first must be at most the second"
    equity = ("gross_exposure_ratio", "cash_reserve_ratio")
    yield equity, p.gross_exposure_ratio + p.cash_reserve_ratio <= 1, "they must fit into equity, 1 together"
    rates = ("product_orders_per_minute", "orders_per_minute")
    yield rates, p.product_orders_per_minute <= p.orders_per_minute, "the first must be at most the second"


def _short(value: Decimal | float) -> str:
    return _text(value).removesuffix(".0")


def _text(value: Decimal | float) -> str:
    return plain(value) if isinstance(value, Decimal) else repr(value)
