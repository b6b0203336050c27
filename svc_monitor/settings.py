"""Settings of the monitor."""

from pydantic import Field

from tradekit import services
from tradekit.settings import TradingSettings, port_field


class MonitorSettings(TradingSettings):
    """Where the page listens, and how long silence may last."""

    service_name: str = "monitor"
    port: int = port_field(services.MONITOR)
    monitor_page_port: int = Field(
        services.PAGE_PORT, ge=0, le=65535, description="HTTP port of the page; 0 takes any free one"
    )
    health_check_seconds: float = Field(5.0, gt=0, le=60, description="time between two signs of life of a service")
    health_silence_seconds: float = Field(
        12.0, gt=0, le=300, description="a service silent for longer is shown as UNKNOWN"
    )
