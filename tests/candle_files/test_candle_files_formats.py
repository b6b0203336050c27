"""File formats: the vendors' real files row by row against the normalised Parquet, and broken files told apart."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from candle_files.files import FORMATS, opened
from candle_files.rows import Aside, Candle, Hints, Refusal, UnusableFile
from svc_market.candles import sift

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRAP = "cryptodatadownload-Coinbase_BTCUSD_1h-2017-mixed-timezones.csv"
SAMPLE = "cryptodatadownload-Coinbase_BTCUSD_1h-2020.csv"
HEADER = "Unix Timestamp,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD"


def rows_of(path: Path, **hints):
    """Rows without headers and blank lines."""
    given = Hints(path.name, hints.get("product_id"), hints.get("granularity"))
    with opened(path, given) as file:
        return [row for row in file.rows() if not isinstance(row, Aside)]


def format_of(path: Path) -> str:
    with opened(path, Hints(path.name)) as file:
        return file.format


def table_of(path: Path, product_id: str, start: datetime, end: datetime) -> dict[datetime, tuple[float, ...]]:
    """The Parquet rows of a product and period, read by column with another reader than the service's."""
    table = pq.read_table(path, filters=[("product_id", "=", product_id), ("start", ">=", start), ("start", "<", end)])
    columns = (table.column(name).to_pylist() for name in ("open", "high", "low", "close", "volume"))
    return dict(zip(table.column("start").to_pylist(), zip(*columns, strict=True), strict=True))


def as_floats(candles) -> dict[datetime, tuple[float, ...]]:
    return {candle.start: tuple(float(value) for value in candle.values) for candle in candles}


@pytest.mark.parametrize(
    ("sample", "name", "product_id", "source", "rows", "good", "repeated", "refused"),
    [
        (SAMPLE, "cryptodatadownload", "BTC-USD", "ONE_HOUR-2017-2020", 4000, 3999, 0, ["NOT_CLOSED"]),
        (TRAP, "cryptodatadownload", "BTC-USD", "ONE_HOUR-2017-2020", 5149, 5144, 5, []),
        ("freqtrade-coinbase-ETH_USD-1h.feather", "feather", "ETH-USD", "ONE_HOUR", 2160, 2160, 0, []),
        ("freqtrade-coinbase-SOL_USD-1h.json", "json", "SOL-USD", "ONE_HOUR", 739, 739, 0, []),
        ("ccxt-coinbase-1INCH_USD_1h.csv", "csv", "1INCH-USD", "ONE_HOUR", 6932, 6932, 0, []),
    ],
)
def test_a_vendors_file_holds_what_the_normalised_file_holds(
    shared, sample, name, product_id, source, rows, good, repeated, refused
):
    path = shared / "data" / "import-samples" / sample
    assert format_of(path) == name
    found = rows_of(path)
    sifted = sift(found, NOW, {})
    assert (len(found), len(sifted.good), len(sifted.again)) == (rows, good, repeated)
    assert [refusal.code for refusal in sifted.refused] == refused
    assert {(candle.product_id, candle.granularity) for candle in sifted.good} == {(product_id, 3600)}
    starts = [candle.start for candle in sifted.good]
    truth = table_of(
        shared / "data" / f"candles-coinbase-{source}.parquet",
        product_id,
        min(starts),
        max(starts) + timedelta(hours=1),
    )
    assert as_floats(sifted.good) == truth


def test_the_trap_is_a_trap_and_its_rows_are_placed_by_the_unix_column(shared):
    """Every row whose Date text contradicts its unix column stands at the time of the unix column."""
    path = shared / "data" / "import-samples" / TRAP
    lines = path.read_bytes().decode().split("\r\n")[2:]
    trapped = {}
    for line in filter(None, lines):
        unix, date, _, *values = line.split(",")
        told = datetime.strptime(date, "%Y-%m-%d %I-%p").replace(tzinfo=UTC)
        start = datetime.fromtimestamp(float(unix), UTC)
        if told != start:
            trapped[line] = (start, tuple(Decimal(value) for value in values[:5]))
    assert len(trapped) == 1208
    placed = {(candle.start, candle.values) for candle in rows_of(path)}
    assert set(trapped.values()) <= placed
    truth = table_of(
        shared / "data" / "candles-coinbase-ONE_HOUR-2017-2020.parquet",
        "BTC-USD",
        datetime(2017, 7, 1, tzinfo=UTC),
        datetime(2018, 2, 1, tzinfo=UTC),
    )
    assert all(truth[start] == tuple(map(float, values)) for start, values in trapped.values())


def test_csv_numbers_keep_their_text(shared):
    path = shared / "data" / "import-samples" / TRAP
    texts = {
        re.sub(r"\.0$", "", line.split(",")[0]): line.split(",")[3:8] for line in path.read_text().splitlines()[2:]
    }
    for candle in rows_of(path):
        assert [str(value) for value in candle.values] == texts[str(int(candle.start.timestamp()))]


def write_parquet(path: Path, **columns) -> Path:
    count = len(next(iter(columns.values()))) if columns else 1
    start = pa.array([datetime(2025, 1, 1, tzinfo=UTC)] * count, pa.timestamp("us", tz="UTC"))
    base = {"product_id": ["BTC-USD"] * count, "granularity": ["ONE_HOUR"] * count, "start": start}
    base |= {name: [1.5] * count for name in ("open", "high", "low", "close", "volume")}
    pq.write_table(pa.table(base | columns), path)
    return path


def test_a_float_becomes_its_shortest_text_and_a_hole_is_no_number(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", close=[0.1, float("nan"), None, 1e-7], granularity=["ONE_HOUR"] * 4)
    rows = rows_of(path)
    assert [type(row) for row in rows] == [Candle, Candle, Refusal, Candle]
    assert (rows[0].close, rows[3].close) == (Decimal("0.1"), Decimal("1e-7"))
    assert [refusal.code for refusal in sift(rows, NOW, {}).refused] == [
        "LOW_ABOVE_BODY",
        "NOT_FINITE",
        "NOT_A_NUMBER",
        "LOW_ABOVE_BODY",
    ]


def test_an_unknown_granularity_is_told_by_its_row(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", granularity=["ONE_HOUR", "FOUR_HOUR", None, "1h"])
    rows = rows_of(path)
    assert [getattr(row, "code", "") for row in rows] == ["", *["GRANULARITY_UNSUPPORTED"] * 2, ""]
    assert "FOUR_HOUR" in rows[1].text


@pytest.mark.parametrize(
    ("name", "content", "field", "rule"),
    [
        ("a.csv", b"", "file_chunk", "EMPTY"),
        ("a.csv", b"one,two\n1,2\n", "file_chunk", "LAYOUT"),
        ("a.csv", b"time,open,high,low,close\n", "file_chunk", "COLUMNS"),
        ("a.parquet", b"one,two\n1,2\n", "file_name", "CONTENT"),
        ("a.csv", b"PAR1" + bytes(100), "file_name", "CONTENT"),
        ("A_USD_1h.csv.gz", b"time,open,high,low,close,volume\n", "file_name", "CONTENT"),
        ("A_USD_1h.zip", b"PAR1" + bytes(100), "file_name", "CONTENT"),
        ("a.csv", b"\x9f\xff\x00\xe1" * 100, "file_chunk", "ENCODING"),
        ("a.xlsx", b"one", "file_name", "FORMAT"),
        ("a", b"datetime,open,high,low,close,volume\n", "file_name", "FORMAT"),
        ("a.parquet", b"PAR1" + bytes(100), "file_chunk", "DAMAGED"),
        ("A_USD-1h.feather", b"ARROW1" + bytes(100), "file_chunk", "DAMAGED"),
        ("A_USD-1h.json", b"[[1,2", "file_chunk", "DAMAGED"),
        ("A_USD-1h.json", b"[" * 100_000, "file_chunk", "DAMAGED"),
        ("a.json", b"[]", "open.product_id", "REQUIRED"),
        ("A_USD.json", b"[]", "open.granularity", "REQUIRED"),
        ("a.csv", b"datetime,open,high,low,close,volume\n", "open.product_id", "REQUIRED"),
        ("A_USD_1h.csv", "datetime,open,high,low,close,volume".encode("utf-16"), "file_chunk", "ENCODING"),
        ("A_USD_1h.csv.gz", b"\x1f\x8b" + bytes(100), "file_chunk", "DAMAGED"),
        ("A_USD_1h.zip", b"PK\x03\x04" + bytes(100), "file_chunk", "DAMAGED"),
        ("a.csv", f"https://www.CryptoDataDownload.com\n{HEADER}\n".encode(), "open.granularity", "REQUIRED"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_do(tmp_path, name, content, field, rule):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnusableFile) as caught:
        rows_of(path)
    assert (caught.value.field, caught.value.rule) == (field, rule)
    if rule == "FORMAT":
        assert all(ending in " ".join(caught.value.descriptions) for known in FORMATS for ending in known.endings)
        assert max(map(len, caught.value.descriptions)) < 256, "longer ones are cut on their way to the caller"


def test_missing_columns_and_zoneless_times_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"product_id": ["A-USD"]}), path)
    with pytest.raises(UnusableFile, match="granularity, start, open"):
        rows_of(path)
    write_parquet(path, start=[datetime(2025, 1, 1)])  # noqa: DTZ001
    with pytest.raises(UnusableFile, match="must be a timestamp with a zone"):
        rows_of(path)


def test_a_damaged_file_gives_no_row_before_it_is_found_out(tmp_path):
    """The last row group is overwritten; the first rows would be readable."""
    path = tmp_path / "a.parquet"
    prices = pa.array([float(n) for n in range(1, 60_001)])
    table = pa.table(
        {
            "product_id": pa.array(["BTC-USD"] * 60_000),
            "granularity": pa.array(["ONE_HOUR"] * 60_000),
            "start": pc.cast(pa.array(range(60_000)), pa.timestamp("us", tz="UTC")),
            **dict.fromkeys(("open", "high", "low", "close", "volume"), prices),
        }
    )
    pq.write_table(table, path, row_group_size=20_000, compression="zstd")
    content = bytearray(path.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(bytes(content))
    with opened(path, Hints("a.parquet")) as file, pytest.raises(UnusableFile):
        next(file.rows())


def test_rows_that_are_no_candles_are_refused_one_by_one(tmp_path):
    ccxt = tmp_path / "A_USD_1h.csv"
    good = "2025-01-01 00:00:00+00:00,1,2,1,2,3"
    bad = ["2025-01-01 01:00:00,1,2,1,2,3", "noon,1,2,1,2,3", "2025-01-01 00:00:00+00:00,1,x,1,2,3", "1", good + ",9"]
    ccxt.write_text("\n".join(["datetime,open,high,low,close,volume", good, *bad]))
    assert [getattr(row, "code", "") for row in rows_of(ccxt)] == [
        "",
        "TIME_WITHOUT_ZONE",
        "TIME_UNREADABLE",
        "NOT_A_NUMBER",
        "DAMAGED",
        "DAMAGED",
    ]
    vendor = tmp_path / "x_1h.csv"
    line = "1510473600.0,2017-11-12 08-AM,BTCUSD,1,2,1,2,{},5"
    records = [
        line.format(1),
        "x," + line.format(1),
        "1e400,d,s,1,2,1,2,3,4",
        "nan,d,s,1,2,1,2,3,4",
        line.format("1" * 99),
    ]
    vendor.write_text("\r\n".join(["from CryptoDataDownload", HEADER, *records]))
    assert [getattr(row, "code", "") for row in rows_of(vendor)] == [
        "",
        "DAMAGED",
        "TIME_UNREADABLE",
        "TIME_UNREADABLE",
        "NOT_A_NUMBER",
    ]
    listed = tmp_path / "A_USD-1h.json"
    listed.write_text(
        json.dumps([[1735689600000, 1, 2, 1, 2, 3], [1], None, [True, 1, 2, 1, 2, 3], ["x", 1, 2, 1, 2, 3]])
    )
    assert [getattr(row, "code", "") for row in rows_of(listed)] == [
        "",
        "DAMAGED",
        "DAMAGED",
        "TIME_UNREADABLE",
        "TIME_UNREADABLE",
    ]


def test_what_the_caller_says_wins_over_the_name_and_never_over_the_content(tmp_path):
    path = tmp_path / "A_USD-1h.json"
    path.write_text("[[1735689600000, 1, 2, 1, 2, 3]]")
    assert rows_of(path, product_id="B-USD", granularity=900)[0].key[:2] == ("B-USD", 900)
    vendor = tmp_path / "x_1h.csv"
    vendor.write_text(f"CryptoDataDownload\n{HEADER}\n")
    with pytest.raises(UnusableFile, match="BTC-USD"):
        rows_of(vendor, product_id="ETH-USD")


def test_feather_of_compressed_batches_is_read_whole(tmp_path):
    path = tmp_path / "A_USD-1h.feather"
    dates = pa.array(
        [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(5000)], pa.timestamp("ms", "UTC")
    )
    values = {name: pa.array([2.25] * 5000) for name in ("open", "high", "low", "close", "volume")}
    feather.write_feather(pa.table({"date": dates, **values}), str(path), compression="zstd", chunksize=700)
    rows = rows_of(path)
    assert len({row.start for row in rows}) == 5000
    assert {row.values for row in rows} == {(Decimal("2.25"),) * 5}
