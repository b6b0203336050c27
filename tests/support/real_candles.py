"""Files of real hourly candles: the sample of the repository, or the larger one beside it."""

from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[1] / "data" / "candles-coinbase-ONE_HOUR.parquet"
SAMPLE_PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
SAMPLE_END = "2025-05-01"
LARGER = Path(__file__).parents[3] / "shared" / "data" / SAMPLE.name


def hourly_file(products: tuple[str, ...], end: str) -> Path:
    """A file that holds the products up to the date; what is more than the sample skips where the larger is absent."""
    if set(products) <= set(SAMPLE_PRODUCTS) and end <= SAMPLE_END:
        return SAMPLE
    if not LARGER.exists():
        pytest.skip(
            f"needs more real candles than {SAMPLE.name} of the repository holds: {', '.join(products)} to {end}"
        )
    return LARGER
