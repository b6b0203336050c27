"""A candle file that is to be replayed: its contents and gaps are reported before any process starts."""

from pathlib import Path

import pytest

from cli.instance_plan import plan_of
from cli.plan import MeshPlan
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from supervisor.keys import ensure_keys
from tests.cli.conftest import Mesh

START = 1_704_067_200


def csv(path: Path, *products: str, bars: int = 50, bad: int = 0) -> Path:
    rows = [f"{name},1h,{START + n * 3600},7,7,7,7,7" for name in products for n in range(bars)]
    rows += [f"{products[0]},1h,{START + (bars + n) * 3600},7,6,7,7,7" for n in range(bad)]
    path.write_text("\n".join(["product_id,granularity,start,open,high,low,close,volume", *rows, ""]))
    return path


def replay(mesh: Mesh, file: Path, products: str) -> tuple[int, str]:
    ran = mesh("replay", str(file), "--products", products, "--from", "2024-01-01", "--to", "2024-01-02")
    return ran.code, ran.said


def test_a_replay_without_the_market_factor_says_what_is_needed(mesh: Mesh, tmp_path: Path) -> None:
    code, said = replay(mesh, csv(tmp_path / "a.csv", "ETH-USD"), "ETH-USD")
    assert code == 2 and "has no BTC-USD, the market factor" in said
    code, said = replay(mesh, csv(tmp_path / "a.csv", "BTC-USD", "ETH-USD"), "SOL-USD")
    assert code == 2 and "has no SOL-USD" in said and "it has BTC-USD, ETH-USD" in said
    ran = mesh("up", "--market", f"replay:{csv(tmp_path / 'b.csv', 'ETH-USD')}")
    assert ran.code == 2 and "has no BTC-USD, the market factor" in ran.said


@pytest.mark.parametrize("command", ["replay", "up"])
def test_a_file_of_which_a_considerable_part_is_lost_is_refused_with_the_reasons(
    mesh: Mesh, tmp_path: Path, command: str
) -> None:
    file = csv(tmp_path / "a.csv", "BTC-USD", bad=20)
    if command == "replay":
        code, said = replay(mesh, file, "BTC-USD")
    else:
        ran = mesh("up", "--market", f"replay:{file}")
        code, said = ran.code, ran.said
    assert code == 2 and "20 of 70 rows were refused" in said and "HIGH_BELOW_BODY 20, first: BTC-USD,3600,2024" in said


def test_every_line_is_told_before_the_replay_begins(mesh: Mesh, tmp_path: Path) -> None:
    """The first bar has nothing before it, so this replay is refused; what the file holds was told by then."""
    file = tmp_path / "BTCUSD 4h.csv"
    file.write_text("time,open,high,low,close,volume\n")
    code, said = replay(mesh, file, "BTC-USD")
    assert code == 2 and "the file's name says 4h" in said and "1h (ONE_HOUR)" in said
    code, said = replay(mesh, csv(tmp_path / "a.csv", "BTC-USD"), "BTC-USD")
    assert code == 2 and "--from and --to must lie inside" in said


def plan(tmp_path: Path, **asked: str) -> MeshPlan:
    home = MeshHome.at(tmp_path / "home")
    home.prepare()
    return plan_of(home, resolve(UpRequest(**asked), None, {}), ensure_keys(home.keys), {"PATH": "/bin"})


def test_the_simulated_exchange_lists_the_market_factor_of_what_is_traded(tmp_path: Path) -> None:
    file = csv(tmp_path / "a.csv", "BTC-USD", "ETH-USD")
    for market in (f"replay:{file}", "simulated"):
        found = plan(tmp_path, market=market, products="ETH-USD")
        assert found.products == ("ETH-USD",)
        assert found.simulator_environment()["SIM_PRODUCTS"] == "ETH-USD,BTC-USD"
    assert plan(tmp_path, market="coinbase", products="ETH-USD").simulator_environment()["SIM_PRODUCTS"] == "ETH-USD"
