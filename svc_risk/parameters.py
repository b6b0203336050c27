"""Every number the risk engine decides by, validated as a whole and named by one hash.

A decision stores the hash (`limits_version`), so it can always be told by which limits it was made. Shares of money are
decimals because they are multiplied with money; statistics are float64.
"""

import hashlib
import json
import math
from dataclasses import dataclass, fields, replace
from decimal import Decimal

from tradekit.decimals import plain
from tradekit.fees import DEFAULT_TAKER_FEE


@dataclass(frozen=True, slots=True)
class Parameters:
    """Model parameters and limits. Volatilities are annualised; a `_ratio` is a share of equity unless it says else."""

    # Volatility, stop distance and score.
    sigma_ref: float = 1.50
    sigma_target: float = 0.60
    sigma_floor: float = 0.05
    vol_bars: int = 336
    min_real_bars: int = 300
    stop_z: float = 2.0
    stop_horizon_days: float = 1.0
    weight_volatility: float = 0.40
    weight_heat: float = 0.25
    weight_exposure: float = 0.20
    weight_drawdown: float = 0.10
    weight_uncertainty: float = 0.05
    # Confidence an idea without a model behind it is scored at.
    neutral_confidence: float = 0.5
    score_soft: float = 0.50
    score_hard: float = 0.80
    shock_ratio: float = 2.5
    shock_factor: float = 0.5
    # Freshness.
    stale_bars: int = 2
    account_stale_seconds: int = 30
    reservation_ttl_seconds: int = 60
    # Limits of one order.
    price_collar_ratio: float = 0.02
    collar_sigmas: float = 4.0
    min_confidence: float = 0.40
    vol_limit: float = 2.50
    min_notional: Decimal = Decimal("10.00")
    max_order_notional: Decimal = Decimal("250.00")
    liquidity_ratio: Decimal = Decimal("0.01")
    # Limits of the account.
    max_position_ratio: Decimal = Decimal("0.20")
    gross_exposure_ratio: Decimal = Decimal("0.80")
    cash_reserve_ratio: Decimal = Decimal("0.05")
    heat_cap_ratio: Decimal = Decimal("0.06")
    max_open_positions: int = 8
    taker_fee: Decimal = DEFAULT_TAKER_FEE
    # Locks.
    daily_loss_ratio: Decimal = Decimal("0.03")
    drawdown_ratio: Decimal = Decimal("0.10")
    cooldown_loss_minutes: int = 240
    cooldown_entry_minutes: int = 30
    orders_per_minute: int = 10
    product_orders_per_minute: int = 2

    def as_text(self) -> dict[str, str]:
        """Every parameter as plain text, by name."""
        return {field.name: _text(getattr(self, field.name)) for field in fields(self)}

    def charging(self, taker_fee: Decimal | None) -> "Parameters":
        """The same parameters at the taker fee that a decision was made by; None keeps the setting's."""
        return self if taker_fee is None or taker_fee == self.taker_fee else replace(self, taker_fee=taker_fee)

    @property
    def limits_version(self) -> str:
        """sha256 over every name and value."""
        return hashlib.sha256(json.dumps(self.as_text(), sort_keys=True).encode()).hexdigest()


# Everything else must be above 0.
_MAY_BE_ZERO = (
    "weight_volatility",
    "weight_heat",
    "weight_exposure",
    "weight_drawdown",
    "weight_uncertainty",
    "neutral_confidence",
    "score_soft",
    "min_confidence",
    "cash_reserve_ratio",
    "taker_fee",
    "cooldown_loss_minutes",
    "cooldown_entry_minutes",
)
_SHARES = (
    "shock_factor",
    "neutral_confidence",
    "score_soft",
    "score_hard",
    "min_confidence",
    "liquidity_ratio",
    "max_position_ratio",
    "gross_exposure_ratio",
    "cash_reserve_ratio",
    "heat_cap_ratio",
    "taker_fee",
    "daily_loss_ratio",
    "drawdown_ratio",
)


def faults(p: Parameters) -> list[str]:
    """Everything that is wrong with a set of parameters; empty if it may be used."""
    values = {field.name: getattr(p, field.name) for field in fields(p)}
    found = [f"{name} is not a finite number" for name, value in values.items() if not math.isfinite(value)]
    if found:
        return found
    found += [
        f"{name} is {value}; must be above 0"
        for name, value in values.items()
        if value <= 0 and name not in _MAY_BE_ZERO
    ]
    found += [f"{name} is {values[name]}; must be 0 or more" for name in _MAY_BE_ZERO if values[name] < 0]
    found += [f"{name} is {values[name]}; must be at most 1" for name in _SHARES if values[name] > 1]
    weights = [value for name, value in values.items() if name.startswith("weight_")]
    rules = (
        (abs(sum(weights) - 1) <= 1e-9, "the five weights must sum to 1"),
        (p.score_soft < p.score_hard, "score_soft must be below score_hard"),
        (p.min_real_bars <= p.vol_bars, "min_real_bars must be at most vol_bars"),
        (p.vol_bars >= 24, "vol_bars must be at least 24, the span of the shock rule"),
        (p.sigma_floor <= p.sigma_target, "sigma_floor must be at most sigma_target"),
        (p.min_notional <= p.max_order_notional, "min_notional must be at most max_order_notional"),
        (p.gross_exposure_ratio + p.cash_reserve_ratio <= 1, "gross_exposure and cash_reserve must fit into equity"),
        (p.product_orders_per_minute <= p.orders_per_minute, "a product's order rate must be at most the account's"),
    )
    return found + [text for holds, text in rules if not holds]


def _text(value: Decimal | float) -> str:
    return plain(value) if isinstance(value, Decimal) else repr(value)
