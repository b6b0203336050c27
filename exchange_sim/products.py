"""Trading rules of each product: increments, minimums, state flags.

The catalogue holds the simulator's own copy of realistic rules and of the figures the generated
market starts from. A product that only a candle file knows gets rules derived from its prices.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Product:
    product_id: str
    price_increment: Decimal
    base_increment: Decimal
    quote_increment: Decimal
    base_min_size: Decimal
    base_max_size: Decimal
    quote_min_size: Decimal
    quote_max_size: Decimal
    base_name: str
    status: str = "online"
    trading_disabled: bool = False
    is_disabled: bool = False
    cancel_only: bool = False
    limit_only: bool = False
    post_only: bool = False
    view_only: bool = False
    auction_mode: bool = False

    @property
    def market_id(self) -> str:
        """Whose book it trades in: what is quoted in USDC trades in the book of the dollar, out of a wallet of its own."""
        return f"{self.base}-USD" if self.quote == "USDC" else self.product_id

    @property
    def base(self) -> str:
        return self.product_id.rpartition("-")[0]

    @property
    def quote(self) -> str:
        return self.product_id.rpartition("-")[2]


@dataclass(frozen=True, slots=True)
class Listing:
    """One row of the catalogue; the last four columns steer the generated market only."""

    name: str
    price_increment: str
    base_increment: str
    base_max_size: str
    start_price: float
    daily_volatility: float
    market_correlation: float
    daily_volume: float


CATALOGUE: dict[str, Listing] = {
    "BTC": Listing("Bitcoin", "0.01", "0.00000001", "3400", 62_000.0, 0.024, 0.95, 9_000.0),
    "ETH": Listing("Ethereum", "0.01", "0.00000001", "42000", 2_900.0, 0.031, 0.85, 120_000.0),
    "SOL": Listing("Solana", "0.01", "0.00000001", "290000", 145.0, 0.040, 0.75, 1_500_000.0),
    "LTC": Listing("Litecoin", "0.01", "0.00000001", "300000", 85.0, 0.034, 0.70, 300_000.0),
    "DOGE": Listing("Dogecoin", "0.00001", "0.1", "90000000", 0.16, 0.045, 0.65, 350_000_000.0),
    "LINK": Listing("Chainlink", "0.001", "0.01", "1000000", 15.5, 0.042, 0.70, 1_200_000.0),
    "AVAX": Listing("Avalanche", "0.01", "0.00000001", "500000", 32.0, 0.045, 0.70, 700_000.0),
    "DOT": Listing("Polkadot", "0.001", "0.00000001", "2500000", 6.4, 0.042, 0.70, 1_500_000.0),
    "BCH": Listing("Bitcoin Cash", "0.01", "0.00000001", "30000", 420.0, 0.036, 0.65, 25_000.0),
    "ADA": Listing("Cardano", "0.0001", "0.00000001", "25000000", 0.55, 0.043, 0.70, 60_000_000.0),
    "XRP": Listing("XRP", "0.0001", "0.000001", "20000000", 1.10, 0.041, 0.60, 80_000_000.0),
    "SHIB": Listing("Shiba Inu", "0.00000001", "1", "900000000000", 0.00002, 0.047, 0.65, 6e11),
    "ZEC": Listing("Zcash", "0.01", "0.00000001", "60000", 45.0, 0.046, 0.50, 40_000.0),
    "UNI": Listing("Uniswap", "0.001", "0.000001", "1000000", 9.0, 0.046, 0.65, 900_000.0),
}


def _rules(product_id: str, name: str, price_increment: Decimal, base_increment: Decimal, base_max: Decimal) -> Product:
    return Product(
        product_id=product_id,
        price_increment=price_increment,
        base_increment=base_increment,
        quote_increment=min(Decimal("0.01"), price_increment),
        base_min_size=base_increment,
        base_max_size=base_max,
        quote_min_size=Decimal(1),
        quote_max_size=Decimal(150_000_000),
        base_name=name,
    )


def listed(product_id: str) -> Product | None:
    """The product's rules from the catalogue, whatever it is quoted in."""
    listing = CATALOGUE.get(product_id.rpartition("-")[0])
    if listing is None:
        return None
    return _rules(
        product_id,
        listing.name,
        Decimal(listing.price_increment),
        Decimal(listing.base_increment),
        Decimal(listing.base_max_size),
    )


def derived(product_id: str, prices: Iterable[Decimal]) -> Product:
    """Rules for a product known only by its prices: the tick is the finest digit they use."""
    exponents = (price.normalize().as_tuple().exponent for price in prices)
    finest = min((e for e in exponents if isinstance(e, int)), default=-2)
    tick = Decimal(1).scaleb(max(-12, min(-2, finest)))
    return _rules(product_id, product_id.rpartition("-")[0], tick, Decimal("0.00000001"), Decimal(1_000_000_000))


def quote_currencies(products: Iterable[Product]) -> tuple[str, ...]:
    """What the products are paid for in: the money of this exchange. A currency that is bought as well is still money."""
    return tuple(dict.fromkeys(product.quote for product in products))
