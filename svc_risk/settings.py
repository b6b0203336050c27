"""Settings of the risk engine: the ticket key, and each parameter and limit by a variable such as RISK_MIN_NOTIONAL."""

from dataclasses import fields
from decimal import Decimal
from pathlib import Path

from pydantic import Field, model_validator

from svc_risk.parameters import Parameters, faults
from tradekit import services
from tradekit.products import quote_currency
from tradekit.settings import TradingSettings, port_field

_PREFIX = "risk_"
_D = Parameters()


class RiskSettings(TradingSettings):
    """How much risk the account bears. An invalid set of limits is refused as a whole."""

    service_name: str = "risk"
    port: int = port_field(services.RISK)
    ticket_signing_key_file: Path = Field(
        description="PEM file of the Ed25519 private key that signs tickets, readable by its owner only"
    )
    risk_stream_credit: int = Field(16, ge=1, le=256, description="items of one stream that may be unanswered at once")

    risk_sigma_ref: float = _D.sigma_ref
    risk_sigma_target: float = _D.sigma_target
    risk_sigma_floor: float = _D.sigma_floor
    risk_vol_bars: int = _D.vol_bars
    risk_min_real_bars: int = _D.min_real_bars
    risk_stop_z: float = _D.stop_z
    risk_stop_horizon_days: float = _D.stop_horizon_days
    risk_weight_volatility: float = _D.weight_volatility
    risk_weight_heat: float = _D.weight_heat
    risk_weight_exposure: float = _D.weight_exposure
    risk_weight_drawdown: float = _D.weight_drawdown
    risk_weight_uncertainty: float = _D.weight_uncertainty
    risk_neutral_confidence: float = _D.neutral_confidence
    risk_score_soft: float = _D.score_soft
    risk_score_hard: float = _D.score_hard
    risk_shock_ratio: float = _D.shock_ratio
    risk_shock_factor: float = _D.shock_factor
    risk_stale_bars: int = _D.stale_bars
    risk_account_stale_seconds: int = _D.account_stale_seconds
    risk_reservation_ttl_seconds: int = _D.reservation_ttl_seconds
    risk_price_collar_ratio: float = _D.price_collar_ratio
    risk_collar_sigmas: float = _D.collar_sigmas
    risk_min_confidence: float = _D.min_confidence
    risk_vol_limit: float = _D.vol_limit
    risk_min_notional: Decimal = _D.min_notional
    risk_max_order_notional: Decimal = _D.max_order_notional
    risk_liquidity_ratio: Decimal = _D.liquidity_ratio
    risk_max_position_ratio: Decimal = _D.max_position_ratio
    risk_gross_exposure_ratio: Decimal = _D.gross_exposure_ratio
    risk_cash_reserve_ratio: Decimal = _D.cash_reserve_ratio
    risk_heat_cap_ratio: Decimal = _D.heat_cap_ratio
    risk_max_open_positions: int = _D.max_open_positions
    risk_daily_loss_ratio: Decimal = _D.daily_loss_ratio
    risk_drawdown_ratio: Decimal = _D.drawdown_ratio
    risk_cooldown_loss_minutes: int = _D.cooldown_loss_minutes
    risk_cooldown_entry_minutes: int = _D.cooldown_entry_minutes
    risk_orders_per_minute: int = _D.orders_per_minute
    risk_product_orders_per_minute: int = _D.product_orders_per_minute

    @model_validator(mode="after")
    def _limits_fit_together(self) -> "RiskSettings":
        found = faults(self.parameters)
        if found:
            raise ValueError("; ".join(f"RISK_{fault}" if "_" in fault.split()[0] else fault for fault in found))
        return self

    @model_validator(mode="after")
    def _one_account_currency(self) -> "RiskSettings":
        currencies = sorted({quote_currency(product) for product in self.products})
        if len(currencies) > 1:
            raise ValueError(f"PRODUCTS must share one quote currency, the account's; found {', '.join(currencies)}")
        return self

    @property
    def currency(self) -> str:
        """The account's currency: what equity, limits and BUY sizes are counted in."""
        return quote_currency(self.products[0])

    @property
    def parameters(self) -> Parameters:
        """Every parameter and limit in force; the taker fee is the mesh's."""
        own = {f.name: getattr(self, _PREFIX + f.name) for f in fields(Parameters) if f.name != "taker_fee"}
        return Parameters(**own, taker_fee=self.taker_fee)
