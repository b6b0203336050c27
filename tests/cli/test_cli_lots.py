"""`mesh trades`, `lots` and `export` against an executor's answers: rows, files, the three-way match, and what is refused."""

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli import account_reading, console
from tests.cli.conftest import Mesh, Ran
from tests.cli.executor_answers import Answers, serving
from tests.tradekit.lot_cases import BTC, ETH, a_fill
from tradekit.account_history import Held
from tradekit.states import Side
from tradekit.units import BaseSize, QuoteSize
from tradekit.wire import amount_message, timestamp_message
from trading.executor.v1 import ledger_pb2

FILES = ["cointracking.csv", "fills.csv", "koinly.csv", "ledger.csv", "lots.csv", "trades.csv"]


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fee(text: str) -> QuoteSize:
    return QuoteSize(Decimal(text))


# Two of the fills are one order; a third of a BTC is sold in each year.
FILLS = [
    a_fill(0, BTC, Side.BUY, Decimal("0.1"), Decimal(20_000), fee=fee("12"), time=day("2024-03-01T10:00")),
    a_fill(
        1, BTC, Side.BUY, Decimal("0.2"), Decimal(30_000), fee=fee("36"), time=day("2024-06-01T10:00"), order_id="o1"
    ),
    a_fill(
        2, BTC, Side.BUY, Decimal("0.1"), Decimal(31_000), fee=fee("18.6"), time=day("2024-06-01T10:01"), order_id="o1"
    ),
    a_fill(3, BTC, Side.SELL, Decimal("0.1"), Decimal(40_000), fee=fee("24"), time=day("2024-12-31T23:59")),
    a_fill(4, ETH, Side.BUY, Decimal(1), Decimal(2_000), fee=fee("12"), time=day("2025-01-01T00:00")),
    a_fill(5, BTC, Side.SELL, Decimal("0.15"), Decimal(50_000), fee=fee("45"), time=day("2025-02-01T10:00")),
]


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts an executor with some answers beside the command."""
    monkeypatch.setattr(account_reading, "_PAUSE_SECONDS", 0.01)

    @contextmanager
    def start(**more: Any) -> Iterator[Answers]:
        answers = Answers(**{"fills": FILLS} | more)
        with serving(tmp_path / "mesh", answers):
            yield answers

    return start


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_trades_are_shown_with_what_a_sale_realised(mesh: Mesh, account: Any) -> None:
    with account():
        ran = mesh("trades")
        only = mesh("trades", "--product", "eth-usd")
        of_2024 = mesh("trades", "--from", "2024-06-01", "--to", "2024-12-31", "--csv", "-")
    assert ran.code == 0 and len(ran.out.splitlines()) == 7
    # Bought for 11,166.60 in all, so 0.1 of 0.4 cost 2,791.65.
    assert "2024-12-31 23:59:00 BTC-USD SELL 0.1 40000 4,000.00 24.00 1,184.35 USD" in ran.said
    assert only.out.count("ETH-USD") == 1 and "BTC" not in only.out
    rows = rows_of(of_2024.out)
    assert [row["fill_id"] for row in rows] == ["f0001", "f0002", "f0003"]
    assert rows[2]["realised"] == "1184.35" and rows[0]["realised"] == ""
    assert rows[0]["time"] == "2024-06-01T10:00:00Z"


@pytest.mark.parametrize(
    ("method", "gains"),
    [
        # 0.1 for 2,012; then 0.15 of the 0.2 that cost 6,036.
        ("fifo", {"f0003": "1964", "f0005": "2928"}),
        # 0.1 for 3,118.6; then 0.15 of the 0.2 that cost 6,036.
        ("lifo", {"f0003": "857.4", "f0005": "2928"}),
        ("hifo", {"f0003": "857.4", "f0005": "2928"}),
        ("average", {"f0003": "1184.35", "f0005": "3267.525"}),
    ],
)
def test_lots_of_every_method(mesh: Mesh, account: Any, method: str, gains: dict[str, str]) -> None:
    with account():
        ran = mesh("lots", "--method", method.upper(), "--csv", "-")
    rows = rows_of(ran.out.partition("sold  ")[0])
    found: dict[str, Decimal] = {}
    for row in rows:
        if row["state"] == "sold":
            found[row["disposed_by"]] = found.get(row["disposed_by"], Decimal(0)) + Decimal(row["gain"])
    assert ran.code == 0 and found == {name: Decimal(gain) for name, gain in gains.items()}
    opened = [row for row in rows if row["state"] == "open"]
    assert sum(Decimal(row["size"]) for row in opened if row["product"] == "BTC-USD") == Decimal("0.15")
    assert {row["method"] for row in rows} == {method}


def test_lots_of_a_year_with_totals_and_the_match(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    path = tmp_path / "lots.csv"
    with account():
        shown = mesh("lots", "--year", "2024")
        written = mesh("lots", "--year", "2025", "--csv", str(path))
    assert "sold BTC-USD 2024-03-01 10:00:00 2024-12-31 23:59:00 305 0.1 2,012.00 3,976.00 1,964.00 USD" in shown.said
    assert "sold 1 lot(s): proceeds 3,976.00, cost 2,012.00, gain 1,964.00 USD" in shown.said
    assert "open now 3 lot(s): cost 6,639.60 USD" in shown.said
    assert "fills, ledger and exchange agree to the last digit" in shown.said
    assert (shown.code, written.code) == (0, 0)
    assert [row["state"] for row in rows_of(path.read_text())] == ["sold", "open", "open", "open"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_difference_is_named_and_is_exit_code_1(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    with account(exchange_has_more={"BTC": Decimal("-1e-18")}):
        lots = mesh("lots", "--csv", "-")
        export = mesh("export", str(tmp_path / "out"))
    for ran in (lots, export):
        assert ran.code == 1 and "ledger show" in ran.said
        assert "differs BTC: 0.15 by fills, 0.15 by the ledger, 0.149999999999999999 by the exchange" in ran.said
    # A CSV on standard output is nothing but that.
    assert all(line.count(",") == 14 for line in lots.out.splitlines()) and len(lots.out.splitlines()) == 6


def test_an_account_that_never_holds_still_is_no_difference(mesh: Mesh, account: Any) -> None:
    with account(changing=True):
        ran = mesh("lots")
    assert ran.code == 1 and "changed while it was read" in ran.said


def test_coins_that_were_sold_without_having_come_in_are_refused_by_name(mesh: Mesh, account: Any) -> None:
    with account(fills=FILLS[1:]):
        assert mesh("lots").code == 0
    with account(fills=[FILLS[0], FILLS[5]]):
        ran = mesh("lots")
        trades = mesh("trades")
    assert ran.code == 1 and "SELL f0005 of BTC-USD takes out 0.15, but only 0.1 came in before it" in ran.said
    assert trades.code == 0 and "7,500.00" in trades.out


def adopted() -> dict[str, Any]:
    row = ledger_pb2.LedgerAdjustment(
        adjustment_id="11111111-1111-4111-8111-111111111111",
        kind=ledger_pb2.ADJUSTMENT_KIND_ADOPTION,
        currency="SOL",
        amount=amount_message(Decimal(5)),
        cost=amount_message(Decimal(700)),
        note="=HYPERLINK(1)",
        caller="operator",
        create_time=timestamp_message(day("2024-02-01T00:00")),
    )
    held = {"SOL-USD": Held(BaseSize(Decimal(5)), QuoteSize(Decimal(700)))}
    return {"adjustments": [row], "adopted": held, "unadopted": {"DOGE": Decimal(9)}}


def test_an_order_that_settled_late_is_no_difference(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    """Of BTC a BUY was found after a later sale. Of ETH all was booked as it happened, and the first order changed last."""
    fills = [
        a_fill(0, BTC, Side.BUY, Decimal(1), Decimal(10)),
        a_fill(1, BTC, Side.BUY, Decimal(1), Decimal(20), booking_sequence=90),
        a_fill(2, BTC, Side.SELL, Decimal(1), Decimal(30)),
        a_fill(3, ETH, Side.BUY, Decimal(1), Decimal(10)),
        a_fill(4, ETH, Side.SELL, Decimal("0.5"), Decimal(30)),
        a_fill(5, ETH, Side.BUY, Decimal(1), Decimal(20)),
    ]
    with account(fills=fills, settled={"o1": day("2025-03-01T00:00"), "o3": day("2025-03-01T00:01")}):
        shown = mesh("lots")
        traded = mesh("trades", "--csv", "-")
    assert shown.code == 0 and "agree to the last digit" in shown.said and "in another order" in shown.said
    realised = {row["fill_id"]: row["realised"] for row in rows_of(traded.out) if row["realised"]}
    # The BTC that was sold was the only one that the ledger had.
    assert realised == {"f0002": "20", "f0004": "10"}


def test_export_writes_everything_as_csv(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    folder = tmp_path / "taxes"
    with account(**adopted()):
        ran = mesh("export", str(folder))
    assert ran.code == 0, ran.said
    assert sorted(os.listdir(folder)) == FILES
    read = {name: rows_of((folder / name).read_text()) for name in FILES}
    assert len(read["fills.csv"]) == 6 and len(read["trades.csv"]) == 5
    order = next(row for row in read["trades.csv"] if row["order_id"] == "o1")
    assert (order["size"], order["value"], order["fee"], order["fills"]) == ("0.3", "9100", "54.6", "2")
    # The balance after the last movement of each currency is what the account has.
    balances = {row["currency"]: row["balance"] for row in read["ledger.csv"]}
    assert balances == {"USD": "8252.4", "BTC": "0.15", "ETH": "1", "SOL": "5"}
    assert next(row for row in read["ledger.csv"] if row["kind"] == "ADOPTION")["note"] == "'=HYPERLINK(1)"
    lot = next(row for row in read["lots.csv"] if row["product"] == "SOL-USD")
    assert (lot["state"], lot["acquired_as"], lot["cost"]) == ("open", "ADOPTION", "700")


def test_koinly_and_cointracking_get_their_columns(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    with account(**adopted()):
        mesh("export", str(tmp_path / "taxes"))
    koinly = (tmp_path / "taxes" / "koinly.csv").read_text().splitlines()
    assert koinly[0] == (
        "Date,Sent Amount,Sent Currency,Received Amount,Received Currency,Fee Amount,Fee Currency,"
        "Net Worth Amount,Net Worth Currency,Label,Description,TxHash"
    )
    assert koinly[1].startswith("2024-01-01 00:00:00 UTC,,,10000,USD,,,10000,USD,,")
    assert koinly[2].startswith("2024-02-01 00:00:00 UTC,,,5,SOL,,,700,USD,,")
    assert koinly[3] == "2024-03-01 10:00:00 UTC,2000,USD,0.1,BTC,12,USD,2000,USD,,Coinbase: order o0,f0000"
    assert koinly[6] == "2024-12-31 23:59:00 UTC,0.1,BTC,4000,USD,24,USD,4000,USD,,Coinbase: order o3,f0003"
    cointracking = (tmp_path / "taxes" / "cointracking.csv").read_text().splitlines()
    assert cointracking[0] == (
        '"Type","Buy Amount","Buy Currency","Sell Amount","Sell Currency","Fee","Fee Currency",'
        '"Exchange","Trade-Group","Comment","Date","Tx-ID"'
    )
    assert cointracking[1].startswith('"Deposit","10000","USD","","","","","Coinbase",')
    # The fee is inside of what was paid, and out of what was received.
    assert cointracking[3] == (
        '"Trade","0.1","BTC","2012","USD","12","USD","Coinbase","mesh","order o0","01.03.2024 10:00:00","f0000"'
    )
    assert cointracking[6].startswith('"Trade","3976","USD","0.1","BTC","24","USD",')


def test_export_as_parquet_keeps_types_and_digits(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    with account():
        ran = mesh("export", str(tmp_path / "out"), "--format", "parquet", "--method", "average")
    assert ran.code == 0
    lots = pq.read_table(tmp_path / "out" / "lots.parquet")
    assert lots.schema.field("gain").type == pa.decimal128(38, 18)
    assert lots.schema.field("acquired").type == pa.timestamp("us", "UTC")
    gains = [row["gain"] for row in lots.to_pylist() if row["disposed_by"] == "f0003"]
    assert gains == [Decimal("1184.35")]
    assert (tmp_path / "out" / "koinly.csv").exists() and not (tmp_path / "out" / "lots.csv").exists()


def test_a_file_is_not_written_over_without_force(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    (tmp_path / "lots.csv").write_text("precious")
    with account():
        kept = mesh("lots", "--csv", str(tmp_path / "lots.csv"))
        refused = mesh("export", str(tmp_path))
        assert (tmp_path / "lots.csv").read_text() == "precious" and not (tmp_path / "fills.csv").exists()
        forced = mesh("lots", "--csv", str(tmp_path / "lots.csv"), "--force")
        everything = mesh("export", str(tmp_path), "--force")
    assert kept.code == 2 and "is there already" in kept.said and "--force" in kept.said
    assert refused.code == 2 and "lots.csv" in refused.said
    assert (forced.code, everything.code) == (0, 0) and "precious" not in (tmp_path / "lots.csv").read_text()


def test_a_write_that_fails_leaves_nothing_behind(
    mesh: Mesh, account: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli import whole_files

    written = whole_files.write_draft

    def fails(path: Path, data: bytes) -> None:
        if "koinly" in path.name:
            raise OSError(28, "No space left on device", str(path))
        written(path, data)

    monkeypatch.setattr(whole_files, "write_draft", fails)
    with account():
        ran = mesh("export", str(tmp_path / "out"))
    assert ran.code == 2 and "No space left on device; nothing was written" in ran.said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lots", "--method", "guess"), "--method is 'guess'; it must be one of fifo, lifo, hifo, average"),
        (("export", "{out}", "--method", "guess"), "--method is 'guess'"),
        (("lots", "--year", "25"), "--year is '25'; it must be a year of four digits"),
        (("lots", "--year", "soon"), "--year is 'soon'"),
        (("lots", "--year", "0000"), "--year is '0000'"),
        (("trades", "--from", "2025-02-01", "--to", "2025-01-31"), "--from is '2025-02-01'; it must lie before --to"),
        (("trades", "--from", "yesterday"), "--from is 'yesterday'; it must be a day such as"),
        (("trades", "--product", "bitcoin"), "--product is 'bitcoin'; it must look like BTC-USD"),
        (("trades", "--product", "XRP-USD"), "it must be a product of this mesh: BTC-USD, ETH-USD"),
        (("trades", "--force"), "add --csv FILE"),
        (("export", "{out}", "--format", "xlsx"), "--format is 'xlsx'; it must be csv or parquet"),
        (("export", "{out}/a/b"), "lies in a folder that is not there"),
        (("export", "{file}"), "is a file; must be a folder"),
        (("export", "/proc/mesh"), "/proc/mesh"),
        (("lots", "--csv", "/proc/lots.csv"), "/proc/lots.csv"),
        (("lots", "--csv", "{out}/a/lots.csv"), "lies in a folder that is not there"),
        (("trades", "--csv", "{folder}"), "is a folder; must be a file"),
        (("trades", "--csv", "/dev/null", "--force"), "/dev/null is no ordinary file"),
    ],
)
def test_bad_input_is_named_with_what_to_do(
    mesh: Mesh, account: Any, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "file").write_text("precious")
    places = {"out": tmp_path / "out", "file": tmp_path / "file", "folder": tmp_path}
    with account():
        ran: Ran = mesh(*(word.format(**places) for word in arguments))
    assert ran.code == 2 and words in ran.said and "→" in ran.said and "Traceback" not in ran.said
    assert "nothing was written" in ran.said or "--force" in arguments
    assert sorted(os.listdir(tmp_path)) == ["file", "mesh"] and (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("command", [("trades",), ("lots",), ("export", "out")])
def test_without_a_mesh_it_says_so(mesh: Mesh, command: tuple[str, ...]) -> None:
    ran = mesh(*command)
    assert ran.code == 3 and "no mesh was ever started" in ran.said


def test_before_the_exchange_was_asked_nobody_says_that_it_agrees(mesh: Mesh, account: Any) -> None:
    with account(reconciled=False):
        ran = mesh("lots")
    assert ran.code == 1 and "not compared with the exchange yet" in ran.said and "differs" not in ran.said


def test_a_narrow_terminal_cuts_no_number(mesh: Mesh, account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "width", 60)
    with account():
        ran = mesh("lots")
    assert ran.code == 0 and "…" not in ran.out


def test_an_account_without_trades(mesh: Mesh, account: Any, tmp_path: Path) -> None:
    with account(fills=[]):
        assert "no trades yet" in mesh("trades").said
        ran = mesh("lots")
        assert mesh("export", str(tmp_path / "out"), "--format", "parquet").code == 0
    assert ran.code == 0 and "agree to the last digit" in ran.said
    assert pq.read_table(tmp_path / "out" / "fills.parquet").num_rows == 0
