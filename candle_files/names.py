"""Reads product and candle length out of a file's name, where its content does not say them.

What a name says is taken only where it can mean one thing; otherwise the caller is asked. Sources of the spellings:
freqtrade ETH_USD-1h, ccxt 1INCH_USD_1h, Binance BTCUSDT-1h-2024-01, Kraken XBTUSD_60 (minutes), Bitstamp
btcusd_bitstamp_1min_2012-2025, TradingView `COINBASE_BTCUSD, 60_50ad4` (minutes) and `, 1D`, Yahoo BTC-USD_1d.
"""

import re

from candle_files.rows import Hints, UnusableFile
from tradekit.bars import GRANULARITY_NAMES, GRANULARITY_SECONDS
from tradekit.products import base_currency, is_product_id

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_592_000}
# Long spellings by the letter they stand for; a capital M is a month, as at the exchanges.
_LENGTH = r"(\d{1,5})[ _-]?(seconds?|secs?|minutes?|mins?|months?|mo|hours?|hrs?|days?|weeks?|[smhdwSHDWM])"
_LENGTH_IN_NAME = re.compile(rf"(?<![A-Za-z0-9.]){_LENGTH}(?![A-Za-z0-9])")
_LENGTH_ALONE = re.compile(_LENGTH)
_WORDS = {"hourly": 3600, "daily": 86_400, "weekly": 604_800}
_MINUTES = (
    re.compile(r"[A-Za-z0-9]+_(\d{1,5})"),  # Kraken
    re.compile(r".*, (\d{1,5})(?:_[0-9a-f]{5})?(?: \(\d+\))?"),  # TradingView
)
_PAIR_AND_LENGTH = re.compile(r"(?:^|[-_])([A-Z0-9]{1,12})[_-]([A-Z0-9]{2,12})[-_]\d+[mhd]$")
_SEPARATED = re.compile(r"(?:^|[-_ ,.])([A-Z0-9]{1,12})[-_]([A-Z]{3,5})(?=$|[-_ ,.])")
_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "CAD", "AUD", "CHF")
_PAIR = re.compile(r"([A-Z0-9]{1,12})[-_/]([A-Z0-9]{2,12})")
# Where BTCBUSD could be BTC in BUSD or BTCB in USD, a coin that is well known decides.
_WELL_KNOWN = frozenset(
    re.findall(
        r"\w+",
        "AAVE ADA ALGO APT ARB ATOM AVAX BAT BCH BNB BTC DOGE DOT EOS ETC ETH FIL GRT ICP LINK LTC MATIC NEAR OP POL"
        " SHIB SOL SUI TRX UNI USDC USDT XLM XMR XRP XTZ ZEC",
    )
)
# Kraken's own codes of two coins.
_ALIASES = {"XBT": "BTC", "XDG": "DOGE"}


def product_of(hints: Hints) -> str:
    """The product of a file that does not carry it: given, or read from the file's name."""
    product_id = hints.product_id or _product_in(stem(hints.file_name))
    if product_id is None or not is_product_id(product_id):
        description = "neither the file nor its name says one product; send it as BTC-USD"
        raise UnusableFile("open.product_id", "REQUIRED", description)
    return product_id


def granularity_of(hints: Hints) -> int:
    """The candle length of a file that does not carry it, in seconds: given, or read from the file's name."""
    seconds = hints.granularity or seconds_in(stem(hints.file_name))
    if seconds is None:
        description = "neither the file nor its name says the length of its candles; send it"
        raise UnusableFile("open.granularity", "REQUIRED", description)
    if seconds not in GRANULARITY_NAMES:
        raise UnusableFile("open.granularity", "UNSUPPORTED", unsupported(f"the file's name says {length(seconds)}"))
    return seconds


def unsupported(what: str) -> str:
    """The sentence for a candle length that is understood and cannot be used."""
    known = ", ".join(f"{length(seconds)} ({name})" for name, seconds in GRANULARITY_SECONDS.items())
    return f"{what}; candles of {known} can be used, so take one of these"


def length(seconds: int) -> str:
    """14400 as 4h."""
    unit = next(unit for unit in "Mwdhms" if seconds % _UNIT_SECONDS[unit] == 0)
    return f"{seconds // _UNIT_SECONDS[unit]}{unit}"


def stem(file_name: str) -> str:
    """The name without folders and endings; a dot inside of it stays."""
    name = file_name.replace("\\", "/").rpartition("/")[2]
    return re.sub(r"(?:\.(?:csv|json|feather|parquet|gz|zip))+$", "", name, flags=re.IGNORECASE)


def parse_length(text: str) -> int | None:
    """Seconds of a candle length as people write it: ONE_HOUR, 1h, 15min, 4H; None if it is none."""
    if text in GRANULARITY_SECONDS:
        return GRANULARITY_SECONDS[text]
    found = _LENGTH_ALONE.fullmatch(text.strip())
    return _seconds(found) if found else _WORDS.get(text.strip().lower())


def seconds_in(name: str) -> int | None:
    """The candle length that a name says, if it says one."""
    for pattern in _MINUTES:
        if found := pattern.fullmatch(name):
            return int(found[1]) * 60 or None
    lengths = {_seconds(found) for found in _LENGTH_IN_NAME.finditer(name)}
    lengths |= {_WORDS[word] for word in re.split(r"[-_ ,.]+", name.lower()) if word in _WORDS}
    return lengths.pop() if len(lengths) == 1 else None


def _seconds(found: re.Match[str]) -> int:
    unit = found[2]
    letter = "M" if unit.lower().startswith("mo") or unit == "M" else unit[0].lower()
    return (int(found[1]) or 1) * _UNIT_SECONDS[letter]


def _product_in(name: str) -> str | None:
    if found := _PAIR_AND_LENGTH.search(name):
        return _joined(found[1], found[2])
    separated = {_joined(one[1], one[2]) for one in _SEPARATED.finditer(name) if one[2] in _QUOTES}
    found_ids = separated or {
        product_id
        for word in re.split(r"[-_ ,.()]+", name)
        if word.isupper() or word.islower()
        for product_id in splits(word.upper())
    }
    return found_ids.pop() if len(found_ids) == 1 else None


def splits(joined: str) -> set[str]:
    """What BTCUSD can mean: BTC-USD. More than one where nothing decides: ABBUSD is ABB in USD, or AB in BUSD."""
    found = {
        _joined(joined.removesuffix(quote), quote)
        for quote in _QUOTES
        if joined.endswith(quote) and 2 <= len(joined) - len(quote) <= 12
    }
    well_known = {product_id for product_id in found if base_currency(product_id) in _WELL_KNOWN}
    return well_known if len(well_known) == 1 else found


def spelled_product(text: str) -> str | None:
    """BTC-USD of BTC-USD, BTC/USD, btc_usd or BTCUSD; None where it is none, or could be two."""
    word = text.strip().upper()
    if found := _PAIR.fullmatch(word):
        return _joined(found[1], found[2])
    found_ids = splits(word)
    return found_ids.pop() if len(found_ids) == 1 else None


def _joined(base: str, quote: str) -> str:
    return f"{_ALIASES.get(base, base)}-{_ALIASES.get(quote, quote)}"
