"""`mesh import`: what it refuses before it asks, and what its exit code makes of the market service's answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from cli.instance_file import write_instance
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from tests.cli.conftest import Mesh
from trading.market.v1 import market_service_pb2 as pb
from trading.market.v1 import market_service_pb2_grpc as rpc


class Market(rpc.MarketServiceServicer):
    """Takes any import and answers as it was told."""

    answer = pb.ImportCandlesResponse(received=1, stored=1, lines=1)
    received = b""
    opened = pb.ImportOpen()

    def ImportCandles(self, requests: Iterator[pb.ImportCandlesRequest], context: Any) -> pb.ImportCandlesResponse:
        self.opened = next(requests).open
        self.received = b"".join(request.file_chunk for request in requests)
        return self.answer


@pytest.fixture
def market() -> Iterator[tuple[Market, int]]:
    server, servicer = grpc.server(ThreadPoolExecutor(2)), Market()
    rpc.add_MarketServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, port
    server.stop(None).wait()


def started(folder: Path, market: str, port: int) -> Path:
    """A ledger that `mesh up` began, and a file to import into them."""
    home = MeshHome.at(folder / "mesh")
    home.prepare()
    write_instance(home, resolve(UpRequest(market=market), None, {"MARKET_PORT": str(port)}))
    file = folder / "candles.csv"
    file.write_bytes(b"some rows")
    return file


def test_what_is_said_on_the_command_line_opens_the_import(
    mesh: Mesh, tmp_path: Path, market: tuple[Market, int]
) -> None:
    servicer, port = market
    file = started(tmp_path, "simulated", port)
    assert mesh("import", str(file), "--only", "btc-usd, ETH-USD", "--into-simulated").code == 0
    assert servicer.received == b"some rows" and servicer.opened.into_simulated
    assert list(servicer.opened.only_product_ids) == ["BTC-USD", "ETH-USD"]
    assert mesh("import", str(file)).code == 0
    assert not servicer.opened.into_simulated


@pytest.mark.parametrize(
    ("received", "skipped", "refused", "code"),
    [(0, 0, 0, 1), (7, 7, 0, 1), (10, 0, 1, 0), (10, 0, 2, 1), (10, 0, 10, 1), (10, 9, 1, 1), (20, 8, 1, 0)],
)
def test_a_file_of_which_more_than_a_tenth_is_lost_is_a_failure(
    mesh: Mesh, tmp_path: Path, market: tuple[Market, int], received: int, skipped: int, refused: int, code: int
) -> None:
    servicer, port = market
    stored = received - skipped - refused
    servicer.answer = pb.ImportCandlesResponse(
        received=received,
        stored=stored,
        skipped=skipped,
        refused=refused,
        refusals=[pb.RefusalCount(code="DAMAGED", count=refused)] if refused else [],
        lines=received + 3,
        headers=2,
        blanks=1,
    )
    ran = mesh("import", str(started(tmp_path, "coinbase", port)))
    assert ran.code == code
    assert ("rows were refused" in ran.said) == bool(code and refused)
    assert ("was used" in ran.said) == bool(code and not refused)
    told = [int(ran.said.split(f" {word} ")[1].split()[0]) for word in ("stored", "unchanged", "left out", "refused")]
    assert sum(told) + 3 == int(ran.said.split(" lines ")[1].split()[0]), "every line is in one count"


def test_the_running_bar_and_bars_without_trades_are_no_loss(
    mesh: Mesh, tmp_path: Path, market: tuple[Market, int]
) -> None:
    servicer, port = market
    file = started(tmp_path, "coinbase", port)
    harmless = [pb.RefusalCount(code="NOT_CLOSED", count=1), pb.RefusalCount(code="NO_VALUES", count=40)]
    servicer.answer = pb.ImportCandlesResponse(received=51, stored=10, refused=41, refusals=harmless)
    assert mesh("import", str(file)).code == 0
    servicer.answer = pb.ImportCandlesResponse(received=41, refused=41, refusals=harmless)
    assert mesh("import", str(file)).code == 1


def test_a_length_is_understood_as_people_write_it(mesh: Mesh, tmp_path: Path, market: tuple[Market, int]) -> None:
    servicer, port = market
    file = started(tmp_path, "coinbase", port)
    assert mesh("import", str(file), "--granularity", "1h").code == 0
    assert servicer.opened.granularity == 3600
    ran = mesh("import", str(file), "--granularity", "4h")
    assert ran.code == 2 and "--granularity is 4h" in ran.said and "1h (ONE_HOUR)" in ran.said


def test_a_folder_is_called_a_folder(mesh: Mesh, tmp_path: Path) -> None:
    ran = mesh("import", str(tmp_path))
    assert ran.code == 2 and "is a folder" in ran.said
