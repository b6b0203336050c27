"""Layouts that people have: each made here as its vendor writes it, with the same three candles in it."""

import gzip
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from candle_files.names import parse_length, seconds_in, spelled_product, stem
from candle_files.rows import UnusableFile
from candle_files.series import load

HOUR = 3600
FIRST = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp())
STARTS = [FIRST + n * HOUR for n in range(3)]
VALUES = ("84.5", "85.25", "84", "85", "1259.76951889")
EXPECTED = [(start, *map(Decimal, VALUES)) for start in STARTS]


def iso(seconds: int, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def text(header: list[str], row: Callable[[int], str], end: str = "\n") -> bytes:
    return end.join([*header, *map(row, STARTS), ""]).encode()


FIRST_PRICE, H, L, C, V = VALUES
BINANCE = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def binance(unit: int) -> Callable[[int], str]:
    return lambda t: f"{t * unit},{FIRST_PRICE},{H},{L},{C},{V},{(t + HOUR) * unit - 1},1.5,7,0.5,0.5,0"


def plain(t: int) -> str:
    return f"{t},{FIRST_PRICE},{H},{L},{C},{V}"


LAYOUTS = {
    "Binance, milliseconds": ("BTCUSDT-1h-2024-12.csv", text([], binance(1000)), "BTC-USDT", "binance"),
    "Binance, microseconds": ("BTCUSDT-1h-2025-03.csv", text([], binance(1_000_000)), "BTC-USDT", "binance"),
    "Binance with header": ("BTCUSDT-1h-2025-03.csv", text([BINANCE], binance(1_000_000)), "BTC-USDT", "csv"),
    "Kraken": ("XBTUSD_60.csv", text([], lambda t: plain(t) + ",761"), "BTC-USD", "kraken"),
    "Kraken, its own code of Dogecoin": ("XDGUSD_60.csv", text([], lambda t: plain(t) + ",761"), "DOGE-USD", "kraken"),
    "Bitstamp": (
        "btcusd_bitstamp_1h_2012-2025.csv",
        text(["timestamp,open,high,low,close,volume"], plain),
        "BTC-USD",
        "csv",
    ),
    "Bitstamp, older": (
        "BTC-USD_1h.csv",
        text(
            ["Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price"],
            lambda t: plain(t) + ",106000,84.7",
        ),
        "BTC-USD",
        "csv",
    ),
    "TradingView, UNIX": (
        "COINBASE_BTCUSD, 60_50ad4.csv",
        text(["time,open,high,low,close,Volume,Volume MA"], lambda t: plain(t) + ",1200"),
        "BTC-USD",
        "csv",
    ),
    "TradingView, ISO": (
        "BINANCE_BTCUSDT, 60.csv",
        text(["time,open,high,low,close,Volume"], lambda t: f"{iso(t)},{FIRST_PRICE},{H},{L},{C},{V}"),
        "BTC-USDT",
        "csv",
    ),
    "yfinance": (
        "BTC-USD_1h.csv",
        text(
            ["Datetime,Open,High,Low,Close,Adj Close,Volume"],
            lambda t: f"{iso(t, '%Y-%m-%d %H:%M:%S+00:00')},{FIRST_PRICE},{H},{L},{C},{C},{V}",
        ),
        "BTC-USD",
        "csv",
    ),
    "yfinance with three header lines": (
        "prices-1h.csv",
        text(
            ["Price,Close,High,Low,Open,Volume", "Ticker,ETH-USD,ETH-USD,ETH-USD,ETH-USD,ETH-USD", "Datetime,,,,,"],
            lambda t: f"{iso(t, '%Y-%m-%d %H:%M:%S+00:00')},{C},{H},{L},{FIRST_PRICE},{V}",
        ),
        "ETH-USD",
        "yfinance",
    ),
    "quoted": (
        "BTC_USD-1h.csv",
        text(
            ['"Date","Open","High","Low","Close","Volume"'],
            lambda t: f'"{iso(t)}","{FIRST_PRICE}","{H}","{L}","{C}","{V}"',
            "\r\n",
        ),
        "BTC-USD",
        "csv",
    ),
    "spaced": (
        "BTC_USD-1h.csv",
        text(
            ["\ufeffDate , Open, High , Low, Close, Volume "],
            lambda t: f"{iso(t)} , {FIRST_PRICE}, {H}, {L} , {C}, {V} ",
        ),
        "BTC-USD",
        "csv",
    ),
    "semicolons": (
        "BTC_USD-1h.csv",
        text(["date;open;high;low;close;volume"], lambda t: plain(t).replace(",", ";")),
        "BTC-USD",
        "csv",
    ),
    "product and length in the rows": (
        "all.csv",
        text(["symbol,interval,time,open,high,low,close,volume"], lambda t: "BTC/USD,1h," + plain(t)),
        "BTC-USD",
        "csv",
    ),
    "table with an unnamed index of times": (
        "BTC_USD-1h.csv",
        text(
            [",open,high,low,close,volume"],
            lambda t: f"{iso(t, '%Y-%m-%d %H:%M:%S')}+00:00,{FIRST_PRICE},{H},{L},{C},{V}",
        ),
        "BTC-USD",
        "csv",
    ),
}


@pytest.mark.parametrize("packed", ["", ".gz", ".zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_holds_the_same_candles(tmp_path: Path, layout: str, packed: str) -> None:
    name, content, product_id, form = LAYOUTS[layout]
    path = tmp_path / name
    if packed == ".gz":
        path = tmp_path / (name + packed)
        path.write_bytes(gzip.compress(content))
    elif packed == ".zip":
        path = path.with_suffix(packed)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"__MACOSX/._{name}", b"x")
            archive.writestr(f"deep/{name}", content)
            archive.writestr(f"{name}.CHECKSUM", b"x")
    else:
        path.write_bytes(content)
    found = load(path)
    series = found.series[product_id]
    assert (found.format, found.granularity, list(found.series)) == (form, HOUR, [product_id])
    rows = [(start, *(column[at] for column in series.columns)) for at, start in enumerate(series.starts)]
    assert rows == EXPECTED
    assert found.account.refused == 0 and found.account.lines == content.count(b"\n")


def test_a_day_needs_no_zone_and_an_hour_does(tmp_path: Path) -> None:
    header = "Date,Open,High,Low,Close,Volume\n"
    daily = tmp_path / "BTC-USD_1d.csv"
    daily.write_text(header + f"2025-03-01,{FIRST_PRICE},{H},{L},{C},{V}\n2025-03-02,,,,,\n")
    found = load(daily)
    assert found.series["BTC-USD"].starts == [FIRST] and found.account.refusals == {"NO_VALUES": 1}
    hourly = tmp_path / "BTC-USD_1h.csv"
    hourly.write_text(
        header + f"2025-03-01,{FIRST_PRICE},{H},{L},{C},{V}\n2025-03-01 00:00:00,{FIRST_PRICE},{H},{L},{C},{V}\n"
    )
    with pytest.raises(UnusableFile) as caught:
        load(hourly)
    assert caught.value.rule == "NO_CANDLES" and "TIME_WITHOUT_ZONE 2" in caught.value.descriptions[1]


def test_a_length_that_is_understood_and_cannot_be_used_is_refused_in_words(tmp_path: Path) -> None:
    names = {
        "BTCUSDT-4h-2025-03.csv": "4h",
        "XBTUSD_30.csv": "30m",
        "COINBASE_BTCUSD, 240.csv": "4h",
        "BTC-USD_1w.csv": "1w",
    }
    for name, length in names.items():
        path = tmp_path / name
        path.write_bytes(text([], lambda t: plain(t) + ",761"))
        with pytest.raises(UnusableFile) as caught:
            load(path)
        assert caught.value.rule == "UNSUPPORTED"
        assert f"name says {length}" in str(caught.value) and "1h (ONE_HOUR)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("XBTUSD_1440", 86_400),
        ("COINBASE_BTCUSD, 1D_85c84", 86_400),
        ("COINBASE_BTCUSD, 60 (3)", 3600),
        ("bitstampUSD_1-min_data_2012-01-01_to_2021-03-31", 60),
        ("BTCUSDT-1mo-2024", 2_592_000),
        ("BTC-USD daily", 86_400),
        ("BTC_USD-15m", 900),
        ("1INCH_USD", None),
        ("BTC-USD_1h_or_1d", None),
        ("BTC-USD 2024-01-01", None),
    ],
)
def test_a_name_says_a_length_or_none(name: str, seconds: int | None) -> None:
    assert seconds_in(name) == seconds


def test_words_for_a_length_and_a_product() -> None:
    assert [parse_length(word) for word in ("ONE_HOUR", "1h", "15min", "4H", "1M", "noon", "")] == [
        3600,
        3600,
        900,
        14_400,
        2_592_000,
        None,
        None,
    ]
    assert spelled_product("btc/usd") == spelled_product("XBTUSD") == "BTC-USD"
    assert [spelled_product(word) for word in ("BNBUSD", "BTCBUSD", "DOTUSDT")] == ["BNB-USD", "BTC-BUSD", "DOT-USDT"]
    # Which of two a joined name means nobody can say: ABB in USD, or AB in BUSD.
    assert spelled_product("ABBUSD") is spelled_product("gold") is None
    assert stem("a/BTC_USD-1h.csv.gz") == "BTC_USD-1h"


def test_a_file_that_does_not_say_its_product_asks_for_it(tmp_path: Path) -> None:
    for name in ("prices-1h.csv", "ABBUSD-1h.csv", "BTCUSD and ETHUSD 1h.csv"):
        path = tmp_path / name
        path.write_bytes(text(["time,open,high,low,close,volume"], plain))
        with pytest.raises(UnusableFile) as caught:
            load(path)
        assert (caught.value.field, caught.value.rule) == ("open.product_id", "REQUIRED")


@pytest.mark.parametrize(
    ("header", "rule", "told"),
    [
        ("time,open,high,low,close,close,volume", "COLUMN_REPEATED", "close 2 times"),
        ("open,high,low,close,volume", "COLUMNS", "lacks a time"),
        ("time,open,high,low,volume", "COLUMNS", "lacks close"),
        ("hello", "LAYOUT", "begins with 'hello'"),
    ],
)
def test_a_header_that_lacks_something_is_told_what(tmp_path: Path, header: str, rule: str, told: str) -> None:
    path = tmp_path / "BTC_USD-1h.csv"
    path.write_text(header + "\n1,2,3\n")
    with pytest.raises(UnusableFile) as caught:
        load(path)
    assert caught.value.rule == rule and told in str(caught.value)


def test_products_side_by_side_and_archives_of_many_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "x-1h.csv"
    path.write_text("Price,Close,Close,High,High\nTicker,ETH-USD,BTC-USD,ETH-USD,BTC-USD\nDate,,,,\n")
    with pytest.raises(UnusableFile):
        load(path)
    many = tmp_path / "Kraken_OHLCVT.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for name in ("XBTUSD_1.csv", "XBTUSD_60.csv"):
            archive.writestr(name, b"x")
    with pytest.raises(UnusableFile, match=r"holds 2 files \(XBTUSD_1.csv, XBTUSD_60.csv"):
        load(many)


@pytest.mark.parametrize("ending", [".gz", ".zip"])
def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candle_files.unpack.MOST_UNPACKED_BYTES", 3 << 20)
    path, content = tmp_path / f"BTC_USD-1h.csv{ending}", bytes(8 << 20)
    if ending == ".gz":
        path.write_bytes(gzip.compress(content))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("BTC_USD-1h.csv", content)
    assert path.stat().st_size < 100_000
    with pytest.raises(UnusableFile) as caught:
        load(path)
    assert caught.value.rule == "TOO_LARGE"


def test_hints_of_a_product_leave_out_the_others_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "all-1h.csv"
    rows = [f"{product}," + plain(FIRST) for product in ("BTC-USD", "ETH-USD", "gold")]
    path.write_text("\n".join(["symbol,time,open,high,low,close,volume", *rows, ""]))
    found = load(path, ["ETH-USD"])
    assert list(found.series) == ["ETH-USD"]
    assert (found.account.left_out, dict(found.account.refusals)) == (1, {"PRODUCT_ID": 1})
