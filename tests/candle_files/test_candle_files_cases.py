"""Files on which a reader can go wrong without a word: each made here, and the shared ones where they are there."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candle_files.account import lost
from candle_files.checks import fault
from candle_files.numbers import number, time_of
from candle_files.rows import Candle, RowFault, UnusableFile
from candle_files.series import Candles, load

FIRST = datetime(2024, 3, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOISY = 2.6140000000000003e-05
HEADER = "timestamp,open,high,low,close,volume"


def row(hour: int, unit: int = 1000) -> str:
    return f"{int((FIRST + hour * HOUR).timestamp()) * unit},1,2,0.5,1,1"


def table(**columns: Any) -> pa.Table:
    start = pa.array([FIRST, FIRST + HOUR], pa.timestamp("us", "UTC"))
    base = {"product_id": ["BTC-USD"] * 2, "granularity": ["ONE_HOUR"] * 2, "start": start}
    return pa.table({**base, **{name: [1.5, 1.5] for name in ("open", "high", "low", "close", "volume")}, **columns})


def parquet(make: Callable[[], pa.Table]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(make(), path)


def noisy(path: Path) -> None:
    columns = {"date": pa.array([FIRST, FIRST + HOUR], pa.timestamp("ms", "UTC"))}
    columns |= {name: [2.614e-05, NOISY] for name in ("open", "high", "low", "close")} | {"volume": [1.0, 1.0]}
    feather.write_feather(pa.table(columns), str(path))


def lines(*rows: str) -> Callable[[Path], None]:
    return lambda path: path.write_text("\n".join((HEADER, *rows, ""))) and None


SHARED = "import/{}".format
# The name of a case: the shared file of its kind, and how a small twin of it is made.
CASES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "float noise": (SHARED("float-noise_ABC_BTC-1h.feather"), noisy),
    "epoch seconds": (SHARED("epoch-seconds_AAC_USD-1h.csv"), lines("1710000000,1,2,0.5,1,1")),
    "stray quote": (SHARED("stray-quote_AAB_USD-1h.csv"), lines(row(0), '"' + row(1), row(2), row(3))),
    "column twice": (
        SHARED("column-twice.parquet"),
        parquet(lambda: table().append_column("close", pa.array([1.5, 1.5]))),
    ),
    "granularity is a list": (
        SHARED("granularity-is-a-list.parquet"),
        parquet(lambda: table(granularity=pa.array([["ONE_HOUR"]] * 2))),
    ),
    "start is a number": ("replay/int64-start.parquet", parquet(lambda: table(start=[1_691_827_200_000] * 2))),
    "start has no zone": (
        "replay/naive-start.parquet",
        parquet(lambda: table(start=pa.array([datetime(2024, 3, 9)] * 2, pa.timestamp("us")))),  # noqa: DTZ001
    ),
}


@pytest.fixture(params=["made here", "shared"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    def find(name: str) -> Path:
        shared, make = CASES[name]
        if request.param == "shared":
            path: Path = request.getfixturevalue("shared") / "cases" / shared
            if not path.is_file():
                pytest.skip(f"{shared} is not among the shared files")
            return path
        path = tmp_path / Path(shared).name
        make(path)
        return path

    return find


def values(found: Candles) -> set[Decimal]:
    [series] = found.series.values()
    return {series.open[at] for at in range(len(series.starts))}


def test_the_noise_of_floats_is_taken_off(case: Callable[[str], Path]) -> None:
    found = load(case("float noise"))
    assert values(found) == {Decimal("0.00002614")} and found.account.refused == 0


def test_seconds_are_seconds(case: Callable[[str], Path]) -> None:
    [series] = load(case("epoch seconds")).series.values()
    assert series.starts == [1_710_000_000]


def test_a_stray_quotation_mark_costs_its_own_line(case: Callable[[str], Path]) -> None:
    path = case("stray quote")
    account = load(path).account
    assert (account.stored, account.headers, dict(account.refusals)) == (3, 1, {"DAMAGED": 1})
    assert account.lines == len(path.read_text().splitlines())
    assert "stray quotation mark" in account.examples["DAMAGED"]


@pytest.mark.parametrize(
    ("name", "rule", "told"),
    [
        ("column twice", "COLUMN_REPEATED", "the column close is there 2 times"),
        ("granularity is a list", "COLUMN_TYPE", "column granularity is list"),
        ("start is a number", "COLUMN_TYPE", "column start is int64; must be a timestamp with a zone"),
        ("start has no zone", "TIME_ZONE", r"column start is timestamp\[us\]; must be a timestamp with a zone"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(case: Callable[[str], Path], name: str, rule: str, told: str) -> None:
    with pytest.raises(UnusableFile, match=told) as caught:
        load(case(name))
    assert (caught.value.field, caught.value.rule) == ("file_chunk", rule)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["x"]] * 2),
        pa.array([{"a": 1}] * 2),
        pa.array([True, False]),
        pa.nulls(2),
        pa.array([b"\xff"] * 2),
        pa.array([FIRST] * 2),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("name", ["product_id", "granularity", "start", "open", "volume"])
def test_no_type_of_a_column_is_a_defect(tmp_path: Path, name: str, column: pa.Array) -> None:
    path = tmp_path / "a.parquet"
    if name == "start" and pa.types.is_timestamp(column.type):
        column = column.cast(pa.date32())
    pq.write_table(table(**{name: column}), path)
    with pytest.raises(UnusableFile, match=f"column {name} is "):
        load(path)


def test_numbers_of_every_kind_of_column_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    kinds = {
        "open": pa.array([0.1, 0.1], pa.float32()),
        "high": pa.array(["0.2", "0.2"]),
        "low": pa.array([Decimal("0.05")] * 2),
        "close": pa.array([0.1, 0.1]).dictionary_encode(),
        "volume": pa.array([7, 7], pa.int32()),
        "product_id": pa.array(["BTC-USD"] * 2).dictionary_encode(),
    }
    pq.write_table(table(**kinds), path)
    series = load(path, ["BTC-USD"]).series["BTC-USD"]
    assert [column[0] for column in series.columns] == list(map(Decimal, ("0.1", "0.2", "0.05", "0.1", "7")))


MESSES = st.one_of(
    st.integers(0, 40).map(row),
    st.integers(0, 40).map(lambda hour: '"' + row(hour)),
    st.integers(0, 40).map(lambda hour: row(hour) + ",9"),
    st.sampled_from(["", " ", ",,,,,", HEADER, "1,2", "x,1,2,0.5,1,1", "1710000000,,,,,", "é" * 5000, "a\0b", '""""']),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=60),
)


@given(st.lists(MESSES, max_size=25))
def test_every_line_is_in_exactly_one_count(tmp_path_factory: pytest.TempPathFactory, messes: list[str]) -> None:
    path = tmp_path_factory.mktemp("messes") / "BTC_USD-1h.csv"
    text = "\n".join((HEADER, row(99), *messes, row(100), ""))
    path.write_bytes(text.encode())
    account = load(path).account
    assert account.lines == text.count("\n")
    assert account.stored >= 2, "the lines after a bad one are read"


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000, 1_000_000_000])
@given(start=st.integers(1_230_940_800, 4_102_444_799))
def test_the_unit_of_a_time_is_told_by_its_size(unit: int, start: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    assert (
        time_of(start * unit, 3600)
        == time_of(str(start * unit), 3600)
        == time_of(f"{start * unit}.0", 3600)
        == expected
    )


@pytest.mark.parametrize(
    "text", ["0", "1000", "1230767999", "-1", "1e400", "nan", "1710000000.0000001", "", "99999999999"]
)
def test_a_time_that_is_none_since_2009_is_unreadable(text: str) -> None:
    with pytest.raises(RowFault) as caught:
        time_of(text, 3600)
    assert caught.value.code == "TIME_UNREADABLE"


def test_nothing_before_2009_is_good_however_it_comes() -> None:
    ones = [Decimal(1)] * 5
    times = ((datetime(1970, 1, 1, tzinfo=UTC), "BEFORE_2009"), (datetime(2009, 1, 3, tzinfo=UTC), None))
    for start, code in times:
        assert (
            fault(Candle("BTC-USD", 3600, start, *ones), FIRST)
            == fault(Candle("BTC-USD", 3600, start, *ones), None)
            == code
        )


@given(st.integers(1, 10**15 - 1), st.integers(-12, 3))
def test_a_float_gives_back_the_fifteen_digits_that_were_put_in(digits: int, exponent: int) -> None:
    exact = Decimal(digits).scaleb(exponent - 12)
    assert number(float(exact)) == number(repr(float(exact))) == exact


def test_only_what_a_float_wrote_is_rounded() -> None:
    assert number("0.30000000000000004") == number(0.1 + 0.2) == Decimal("0.3")
    exact = "12345678901234.123456789"
    assert number(exact) == Decimal(exact)
    for word in ("1_000", "١٢", "0x1", "1,5", "--1", ""):
        with pytest.raises(RowFault):
            number(word)


@pytest.mark.parametrize(
    ("refusals", "good", "considerable"),
    [
        ({}, 0, False),
        ({"DAMAGED": 1}, 9, False),
        ({"DAMAGED": 2}, 9, True),
        ({"DAMAGED": 42}, 6, True),
        ({"NO_VALUES": 50, "NOT_CLOSED": 1}, 50, False),
        ({"NO_VALUES": 50}, 0, True),
        ({"DAMAGED": 50}, 50, True),
    ],
)
def test_what_counts_as_a_considerable_loss(refusals: dict[str, int], good: int, considerable: bool) -> None:
    assert bool(lost(refusals, good)) is considerable
