"""The table of limits as it is told to whoever asks: each rule's code, limit, unit and effect, in evaluation order."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from svc_risk.parameters import Parameters
from svc_risk.verdict import Kind
from tradekit.reasons import shown


@dataclass(frozen=True, slots=True)
class Limit:
    """One rule. `value` is empty where the rule has no number."""

    code: str
    value: str
    unit: str
    kind: Kind
    buy_only: bool


_Value = Callable[[Parameters], Decimal | float]
# Code, the number it goes by, unit, kind, BUY only.
_TABLE: tuple[tuple[str, _Value | None, str, Kind, bool], ...] = (
    ("KILL_SWITCH", None, "", Kind.REJECT, False),
    ("INTERNAL", None, "", Kind.REJECT, True),
    ("UNKNOWN_PRODUCT", None, "", Kind.REJECT, False),
    ("TRADING_DISABLED", None, "", Kind.REJECT, False),
    ("EXPIRED_REQUEST", None, "", Kind.REJECT, True),
    ("STALE_DATA", lambda p: p.stale_bars, "bars", Kind.REJECT, True),
    ("INSUFFICIENT_HISTORY", lambda p: p.min_real_bars, "bars", Kind.REJECT, True),
    ("STALE_ACCOUNT", lambda p: p.account_stale_seconds, "seconds", Kind.REJECT, True),
    ("ORDER_UNKNOWN", None, "", Kind.REJECT, True),
    ("PRICE_COLLAR", lambda p: p.price_collar_ratio, "ratio", Kind.REJECT, True),
    ("LOW_CONFIDENCE", lambda p: p.min_confidence, "ratio", Kind.REJECT, True),
    ("DAILY_LOSS", lambda p: p.daily_loss_ratio, "ratio", Kind.REJECT, True),
    ("DRAWDOWN", lambda p: p.drawdown_ratio, "ratio", Kind.REJECT, True),
    ("COOLDOWN_LOSS", lambda p: p.cooldown_loss_minutes * 60, "seconds", Kind.REJECT, True),
    ("COOLDOWN_ENTRY", lambda p: p.cooldown_entry_minutes * 60, "seconds", Kind.REJECT, True),
    ("ORDER_RATE", lambda p: p.orders_per_minute, "count", Kind.REJECT, True),
    ("VOL_LIMIT", lambda p: p.vol_limit, "ratio", Kind.REJECT, True),
    ("RISK_SCORE", lambda p: p.score_hard, "ratio", Kind.REJECT, True),
    ("MAX_OPEN_POSITIONS", lambda p: p.max_open_positions, "count", Kind.REJECT, True),
    ("VOL_TARGET", lambda p: p.sigma_target, "ratio", Kind.SCALE, True),
    ("VOL_SHOCK", lambda p: p.shock_ratio, "ratio", Kind.SCALE, True),
    ("SCORE_SCALED", lambda p: p.score_soft, "ratio", Kind.SCALE, True),
    ("MAX_ORDER_NOTIONAL", lambda p: p.max_order_notional, "usd", Kind.CAP, True),
    ("MAX_POSITION", lambda p: p.max_position_ratio, "ratio", Kind.CAP, True),
    ("GROSS_EXPOSURE", lambda p: p.gross_exposure_ratio, "ratio", Kind.CAP, True),
    ("CASH_RESERVE", lambda p: p.cash_reserve_ratio, "ratio", Kind.CAP, True),
    ("PORTFOLIO_HEAT", lambda p: p.heat_cap_ratio, "ratio", Kind.CAP, True),
    ("LIQUIDITY", lambda p: p.liquidity_ratio, "ratio", Kind.CAP, True),
    ("MIN_NOTIONAL", lambda p: p.min_notional, "usd", Kind.REJECT, False),
    ("SELL_NOT_HELD", None, "", Kind.REJECT, False),
    ("DUST_CLOSED", lambda p: p.min_notional, "usd", Kind.FLAG, False),
)


def limits_of(p: Parameters) -> tuple[Limit, ...]:
    """Every rule with the limit in force."""
    return tuple(
        Limit(code, "" if value is None else shown(value(p)), unit, kind, buy_only)
        for code, value, unit, kind, buy_only in _TABLE
    )
