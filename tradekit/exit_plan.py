"""How a position is left when nobody decides to leave it."""

from dataclasses import dataclass
from datetime import datetime

from tradekit.units import Price


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """Sold at or below the stop, at or above the target, or from a market time on; prices in quote currency, times aware UTC."""

    stop_price: Price
    target_price: Price
    exit_time: datetime | None = None
