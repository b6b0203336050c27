"""Settings of the market service, and the pairs of venue and host that candles may come from."""

from collections.abc import Iterator

from pydantic import Field

from exchange_client.settings import SIMULATOR_HOSTS, ExchangeSettings
from tradekit import services
from tradekit.products import market_factor
from tradekit.settings import port_field
from tradekit.states import Venue


class MarketSettings(ExchangeSettings):
    """What is followed, and at what pace."""

    service_name: str = services.MARKET.name
    port: int = port_field(services.MARKET)

    market_follow: bool = Field(True, description="on keeps candles current by itself; off stores only what is asked")
    market_history_bars: int = Field(
        2000, ge=1, le=100_000, description="bars of history fetched of each product; raised later, older ones follow"
    )
    market_poll_seconds: float = Field(1.0, ge=0.02, le=10.0, description="longest wait between looks at exchange time")
    market_grace_seconds: float = Field(
        2.0, ge=0.0, le=30.0, description="wait for candles that the exchange publishes late; 0 in replay"
    )
    market_products_seconds: float = Field(300.0, ge=1.0, le=86_400.0, description="time between looks at products")
    market_simulated: bool = Field(
        False, description="the market is made up: real candles are imported only if the import says into_simulated"
    )
    market_requests: int = Field(4, ge=1, le=32, description="requests to the exchange at once")

    def disagreements(self) -> Iterator[str]:
        """Prices that are made up are never taken for real ones, nor the other way round."""
        yield from super().disagreements()
        if self.real_prices and self.market_simulated:
            yield f"MARKET_SIMULATED is refused with VENUE={self.venue}, whose prices are real: unset it"
        if self.venue is Venue.SANDBOX and self.exchange != self.adapter.live_host:
            yield f"VENUE=SANDBOX takes candles from EXCHANGE_HOST={self.adapter.live_host} only, not from {self.exchange}"
        if not self.real_prices and not self.simulator_only:
            yield (
                f"VENUE={self.venue} takes candles from the simulated exchange only, {SIMULATOR_HOSTS}; not from "
                f"{self.exchange}: real prices with simulated orders are VENUE=PAPER"
            )

    @property
    def followed_products(self) -> tuple[str, ...]:
        """The products traded, then the market factor of each quote currency."""
        return tuple(dict.fromkeys((*self.products, *map(market_factor, self.products))))

    @property
    def exchange_source(self) -> str:
        """What stored candles of the exchange name as their source."""
        return f"exchange:{self.venue.value}"
