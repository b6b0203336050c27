"""`mesh trades`, `lots` and `export` against a whole mesh that trades: its own ledger, its own simulated exchange."""

import asyncio
import csv
import io
import time
from decimal import Decimal
from pathlib import Path

import pytest
from mesh_runs import RunningMesh

from cli.calls import operator_channel
from supervisor.home import MeshHome
from tradekit import ids, services
from trading.bridge.v1 import bridge_service_pb2 as bridge_pb
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc
from trading.common.v1 import trade_pb2

WAIT_SECONDS = 600.0
# The first test waits for a whole mesh to come up, and for its first trades.
pytestmark = pytest.mark.timeout(1800)


def rows(mesh: RunningMesh, *words: str) -> list[dict[str, str]]:
    ran = mesh.mesh(*words, "--csv", "-")
    assert ran.returncode == 0, ran.stderr
    return list(csv.DictReader(io.StringIO(ran.stdout)))


async def wish(mesh: RunningMesh) -> None:
    """An operator's recommendation of each of two products; those that come too soon after another are refused, with a row."""
    address = f"127.0.0.1:{mesh.ports[services.BRIDGE.name]}"
    async with operator_channel(MeshHome.at(mesh.home), address) as channel:
        for product in ("BTC-USD", "ETH-USD"):
            recommendation = bridge_pb.CreateRecommendationRequest(
                request_id=str(ids.new_request_id()), product_id=product, side=trade_pb2.SIDE_BUY, note="a test"
            )
            await bridge_grpc.BridgeServiceStub(channel).CreateRecommendation(recommendation, timeout=30)


@pytest.fixture(scope="module")
def traded(running_mesh: RunningMesh) -> RunningMesh:
    """The mesh, halted after it bought and sold, so that everything it tells is of one moment. What is bought is an operator's
    wish: it would take long until the model's were."""
    give_up = time.monotonic() + WAIT_SECONDS
    while sum(row["side"] == "BUY" for row in rows(running_mesh, "trades")) < 2:
        assert time.monotonic() < give_up, "the mesh never traded"
        asyncio.run(wish(running_mesh))
        time.sleep(2)
    assert running_mesh.mesh("lots").returncode == 0
    halted = running_mesh.mesh("halt", "--flatten")
    assert halted.returncode == 0, halted.stdout + halted.stderr
    return running_mesh


def test_every_method_agrees_with_ledger_and_exchange(traded: RunningMesh) -> None:
    gains = set()
    for method in ("fifo", "lifo", "hifo", "average"):
        shown = traded.mesh("lots", "--method", method)
        assert shown.returncode == 0 and "agree to the last digit" in shown.stdout, shown.stdout + shown.stderr
        lots = rows(traded, "lots", "--method", method)
        assert {row["state"] for row in lots} == {"sold"}
        gains.add(sum(Decimal(row["gain"]) for row in lots))
    realised = sum(Decimal(row["realised"] or 0) for row in rows(traded, "trades"))
    assert gains == {realised}


def test_average_is_the_profit_of_each_sale_as_the_ledger_booked_it(traded: RunningMesh) -> None:
    booked = {row["fill_id"]: Decimal(row["realised"]) for row in rows(traded, "trades") if row["side"] == "SELL"}
    found: dict[str, Decimal] = {}
    for row in rows(traded, "lots", "--method", "average"):
        found[row["disposed_by"]] = found.get(row["disposed_by"], Decimal(0)) + Decimal(row["gain"])
    assert booked and found == booked


def test_an_export_holds_it_all(traded: RunningMesh, tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        ran = traded.mesh("export", str(tmp_path / kind), "--format", kind)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    fills = list(csv.DictReader((tmp_path / "csv" / "fills.csv").open()))
    ledger = list(csv.DictReader((tmp_path / "csv" / "ledger.csv").open()))
    assert len(fills) == len(rows(traded, "trades"))
    assert {row["currency"]: Decimal(row["balance"]) for row in ledger if row["currency"] != "USD"} == {
        row["product"].removesuffix("-USD"): Decimal(0) for row in fills
    }
