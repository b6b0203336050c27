"""The risk score: five parts, each clipped to 0..1, weighted and summed; evaluated as if the request had been done.

Monotone in every part, so more volatility, heat, exposure, drawdown or doubt never looks safer.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from svc_risk.exposure import Account, ratio_of
from svc_risk.parameters import Parameters
from tradekit.units import QuoteSize


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """The parts, each 0 to 1."""

    volatility: float
    heat: float
    exposure: float
    drawdown: float
    uncertainty: float


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def score_parts(
    account: Account,
    size: QuoteSize,
    stop: Decimal,
    sigma_14d: float,
    confidence: float | None,
    p: Parameters,
) -> ScoreParts:
    """The parts after `size` more of a product with stop distance `stop`. An operator's recommendation has no confidence."""
    heat_after = ratio_of(account.at_risk + size * stop, account.equity)
    exposure_after = ratio_of(account.exposure + size, p.gross_exposure_ratio * account.equity)
    return ScoreParts(
        volatility=_clip(sigma_14d / p.sigma_ref),
        heat=_clip(heat_after / float(p.heat_cap_ratio)),
        exposure=_clip(exposure_after),
        drawdown=_clip(float(account.drawdown) / float(p.drawdown_ratio)),
        uncertainty=_clip(1 - (p.neutral_confidence if confidence is None else confidence)),
    )


def score_of(parts: ScoreParts, p: Parameters) -> float:
    """The weighted sum."""
    return (
        p.weight_volatility * parts.volatility
        + p.weight_heat * parts.heat
        + p.weight_exposure * parts.exposure
        + p.weight_drawdown * parts.drawdown
        + p.weight_uncertainty * parts.uncertainty
    )


def score_shown(score: float) -> str:
    """The score with two digits, rounded half-even."""
    return str(Decimal(repr(score)).quantize(Decimal("0.01"), ROUND_HALF_EVEN))
