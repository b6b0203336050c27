"""Settings of the bridge."""

from datetime import timedelta
from decimal import Decimal

from pydantic import Field

from svc_bridge.standstill import LATE
from tradekit import services
from tradekit.settings import TradingSettings, port_field
from tradekit.units import QuoteSize


class BridgeSettings(TradingSettings):
    """How signals become recommendations."""

    service_name: str = "bridge"
    port: int = port_field(services.BRIDGE)
    entry_quote_size: QuoteSize = Field(
        QuoteSize(Decimal(100)), gt=0, le=Decimal(1_000_000), description="quote amount of a BUY, fee inside"
    )
    recommendation_ttl_seconds: int = Field(120, ge=5, le=3600, description="life of a recommendation")
    entry_cooldown_bars: int = Field(
        3, ge=0, le=1000, description="bars between two BUY recommendations of one product"
    )
    exit_at_horizon: bool = Field(
        True, description="sell what a signal bought when the horizon of its model's labels is over"
    )
    stale_signal_bars: int = Field(1, ge=1, le=100, description="BUY signals this many bars old are skipped")

    @property
    def longest_standstill(self) -> timedelta | None:
        """How long no bar may come, by machine time; None where bars do not close by that."""
        return timedelta(seconds=self.granularity_seconds) + LATE if self.real_prices else None
