"""Every command where nothing runs: words, exit codes, and nothing left behind."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli.instance_file import write_instance
from cli.status_facts import detail_of
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from supervisor.instance import hold_instance
from supervisor.state import ServiceState, Status
from tests.cli.conftest import Mesh

NO_ID = "11111111-1111-4111-8111-111111111111"


def test_help_names_every_command(mesh: Mesh) -> None:
    ran = mesh("--help")
    wanted = [
        "up",
        "down",
        "reset",
        "status",
        "config",
        "doctor",
        "import",
        "train",
        "replay",
        "explain",
        "cancel",
        "halt",
        "resume",
        "close",
        "restart",
        "trades",
        "lots",
        "export",
    ]
    assert ran.code == 0 and all(f" {name} " in ran.said for name in wanted)


@pytest.mark.parametrize("command", [("halt",), ("resume",), ("train",), ("explain", NO_ID), ("cancel", NO_ID)])
def test_what_needs_a_mesh_says_that_there_is_none(mesh: Mesh, command: tuple[str, ...]) -> None:
    ran = mesh(*command)
    assert ran.code == 3 and "no mesh was ever started" in ran.said and "mesh up" in ran.said


def test_status_down_and_reset_of_nothing_change_nothing(mesh: Mesh, tmp_path: Path) -> None:
    status = mesh("status", "--json")
    assert status.code == 3 and json.loads(status.out)["running"] is False
    assert (mesh("down").code, mesh("reset", "--yes").code) == (0, 0)
    assert not (tmp_path / "mesh").exists()


def test_reset_spares_a_folder_that_is_not_its_own(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    precious = tmp_path / "mesh" / "model"
    precious.write_text("precious")
    ran = mesh("reset", "--yes")
    assert ran.code == 2 and precious.read_text() == "precious"


def test_reset_without_a_terminal_asks_for_a_yes_on_the_command_line(mesh: Mesh, tmp_path: Path) -> None:
    book = tmp_path / "mesh" / "run" / "book"
    book.parent.mkdir(parents=True)
    book.write_text("precious")
    ran = mesh("reset")
    assert ran.code == 2 and "--yes" in ran.said and "no terminal" in ran.said
    assert book.read_text() == "precious"


def test_config_shows_values_with_their_origin_and_no_secret(mesh: Mesh, tmp_path: Path) -> None:
    variables = {"DB_HOST": "db.example", "DB_PASSWORD": "hunter2", "RISK_PORT": "9123", "RISK_MIN_NOTIONAL": "7"}
    ran = mesh("config", "--json", **variables)
    assert ran.code == 0 and "hunter2" not in ran.said
    risk = json.loads(ran.out)["risk"]["settings"]
    assert risk["RISK_MIN_NOTIONAL"] == {"value": "7", "origin": "environment"}
    assert risk["RISK_PORT"]["value"] == "9123" and risk["VENUE"]["origin"] == "mesh up"
    assert risk["RISK_STOP_Z"]["origin"] == "default"
    assert mesh("config", **variables).said.count("db.example") == 1
    assert not (tmp_path / "mesh").exists()


def test_config_shows_the_simulated_exchange_with_its_token_masked(mesh: Mesh) -> None:
    given = {"SIM_TAKER_FEE": "0.001", "SIM_CONTROL_TOKEN": "hunter2"}
    told = json.loads(mesh("config", "--json", **given).out)["exchange_sim"]["settings"]
    assert told["SIM_TAKER_FEE"] == {"value": "0.001", "origin": "environment"}
    assert told["SIM_MARKET"]["origin"] == "mesh up" and told["SIM_MAKER_FEE"]["origin"] == "default"
    for ran in (mesh("config", **given), mesh("config", "exchange_sim", **given)):
        assert ran.code == 0 and "SIM_TAKER_FEE 0.001 environment" in ran.said and "hunter2" not in ran.said
    assert "SIM_CONTROL_TOKEN" in mesh("config", "exchange_sim", **given).said
    faulty = mesh("config", "exchange_sim", SIM_TAKER_FEE="5")
    assert faulty.code == 2 and "SIM_TAKER_FEE = 5" in faulty.said and "(for exchange_sim)" in faulty.said


@pytest.mark.parametrize("command", [("trades", "--product", "btc"), ("close", "sol")])
def test_status_names_the_products_as_the_advice_says(mesh: Mesh, tmp_path: Path, command: tuple[str, ...]) -> None:
    home = MeshHome.at(tmp_path / "mesh")
    home.prepare()
    write_instance(home, resolve(UpRequest(products="BTC-USD,SOL-USD"), None, {}))
    ran = mesh(*command)
    assert ran.code == 2 and "`mesh status` names" in ran.said
    assert "BTC-USD, SOL-USD" in mesh("status").said


def test_config_refuses_what_a_service_would_refuse(mesh: Mesh) -> None:
    ran = mesh("config", "risk", RISK_STREAM_CREDIT="0")
    assert ran.code == 2 and "RISK_STREAM_CREDIT" in ran.said
    assert mesh("config", "nonsense").code == 2


def test_doctor_finds_the_holder_of_a_port_and_a_dead_database(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = mesh("doctor", RISK_PORT=port, DB_HOST="127.0.0.1", DB_PORT="1")
    assert ran.code == 1
    assert f"{port} (risk) is held by pid {os.getpid()}" in ran.said and "set RISK_PORT" in ran.said
    assert "no connection to 127.0.0.1" in ran.said and "check DB_HOST" in ran.said
    assert "the rules decide meanwhile" not in ran.said


def test_doctor_says_that_a_language_model_is_not_there(mesh: Mesh) -> None:
    ran = mesh("doctor", OLLAMA_HOST="http://127.0.0.1:1")
    assert "Ollama at http://127.0.0.1:1 does not answer" in ran.said


@pytest.mark.parametrize("command", [("up",), ("up", "--detach")])
def test_up_says_that_its_folder_cannot_be_written_and_what_to_do(mesh: Mesh, command: tuple[str, ...]) -> None:
    ran = mesh(*command, MESH_HOME="/proc/mesh")
    assert ran.code == 2 and "✗ /proc/mesh cannot be written: /proc: " in ran.said
    assert "with MESH_HOME" in ran.said and "Traceback" not in ran.said


def test_a_file_in_the_place_of_the_folder_is_said_too(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ran = mesh("up", MESH_HOME=str(tmp_path / "file" / "mesh"))
    assert ran.code == 2 and f"{tmp_path / 'file'}: Not a directory" in ran.said


def test_doctor_fails_its_disk_line_where_nothing_can_be_written(mesh: Mesh, tmp_path: Path) -> None:
    ran = mesh("doctor", MESH_HOME="/proc/mesh")
    assert ran.code == 1 and "fail disk /proc/mesh cannot be written" in ran.said
    assert "ok disk" in mesh("doctor").said
    assert not (tmp_path / "mesh").exists()


def test_up_names_every_port_that_is_taken_and_starts_nothing(mesh: Mesh, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = {"RISK_PORT": str(one.getsockname()[1]), "SIM_PORT": str(two.getsockname()[1])}
        ran = mesh("up", **ports)
    assert ran.code == 2 and all(f"set {name} to another" in ran.said for name in ports)
    assert not (tmp_path / "mesh" / "postgres").exists() and not (tmp_path / "mesh" / "instance.json").exists()


def test_up_names_every_setting_a_service_would_refuse_and_starts_nothing(mesh: Mesh, tmp_path: Path) -> None:
    ran = mesh("up", TAKER_FEE="abc", RISK_MIN_NOTIONAL="x", MARKET_POLL_SECONDS="99")
    assert ran.code == 2 and "3 setting(s)" in ran.said
    assert all(given in ran.said for given in ("TAKER_FEE = abc", "RISK_MIN_NOTIONAL = x", "MARKET_POLL_SECONDS = 99"))
    assert ran.said.count("TAKER_FEE") == 1 and "(for market)" in ran.said
    assert not (tmp_path / "mesh").exists()


def test_a_second_up_says_what_of_its_choices_does_not_run(mesh: Mesh, tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path / "mesh")
    with hold_instance(home):
        write_instance(home, resolve(UpRequest(products="BTC-USD,ETH-USD"), None, {}))
        same = mesh("up", "--market", "simulated", "--products", "btc-usd, ETH-USD", "--speed", "1200")
        other = mesh("up", "--market", "coinbase", "--profile", "Evidence", "--speed", "60", "--products", "BTC-USD")
    assert (same.code, other.code) == (3, 3)
    assert f"already up: pid {os.getpid()}" in same.said and "runs with" not in same.said
    for difference in ("market simulated, not coinbase", "profile exercise, not evidence", "speed 1200.0, not 60.0"):
        assert difference in other.said
    assert "products BTC-USD,ETH-USD, not BTC-USD" in other.said and "mesh down" in other.said


@pytest.mark.parametrize("made", [False, True], ids=["no-folder", "no-manifest"])
def test_a_replay_refuses_a_folder_without_a_model_before_it_starts(
    mesh: Mesh, tmp_path: Path, candle_file: Path, made: bool
) -> None:
    folder = tmp_path / "nope"
    if made:
        folder.mkdir()
    period = ("--products", "BTC-USD", "--from", "2024-01-20", "--to", "2024-01-21")
    ran = mesh("replay", str(candle_file), *period, "--model", str(folder))
    assert ran.code == 2 and "there is no model in it" in ran.said and "Errno" not in ran.said
    assert not (tmp_path / "mesh" / "replays").exists()


def test_a_replay_refuses_settings_before_it_starts(mesh: Mesh, tmp_path: Path, candle_file: Path) -> None:
    period = ("--products", "BTC-USD", "--from", "2024-01-20", "--to", "2024-01-21")
    ran = mesh("replay", str(candle_file), *period, TAKER_FEE="abc")
    assert ran.code == 2 and "TAKER_FEE = abc" in ran.said
    assert not list((tmp_path / "mesh" / "replays").glob("*"))


def test_how_a_unit_ended_is_told_until_it_is_back() -> None:
    ended = ServiceState("risk", Status.BACKOFF, last_exit="killed by SIGKILL", restarts=1)
    assert detail_of(ended) == "killed by SIGKILL"
    assert detail_of(replace(ended, status=Status.PARKED, detail="five deaths")) == "five deaths"
    assert detail_of(replace(ended, status=Status.READY)) == ""
    assert detail_of(replace(ended, status=Status.DONE, last_exit="done")) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "--live"), "real money"),
        (("up", "--market", "coinbase", "--live"), "EXCHANGE_KEY_FILE"),
        (("up", "--market", "nonsense"), "not known"),
        (("import", "nothing.csv"), "no file"),
        (("explain", "nonsense"), "no UUID"),
        (("cancel", "nonsense"), "no UUID"),
        (("replay", "no.parquet", "--products", "BTC-USD", "--from", "2025-01-01", "--to", "2025-01-02"), "no file"),
        (("replay", "no.parquet", "--products", "BTC-USD", "--from", "soon", "--to", "2025-01-02"), "--from"),
        (("replay", "x", "--products", "BTC-USD", "--from", "1", "--to", "2", "--profile", "brave"), "brave"),
        (("nonsense",), "No such command"),
    ],
)
def test_usage_is_answered_with_words_and_code_2(mesh: Mesh, arguments: tuple[str, ...], words: str) -> None:
    ran = mesh(*arguments)
    assert ran.code == 2 and words in ran.said and "Traceback" not in ran.said


def test_what_is_piped_is_not_cut_and_the_usual_options_are_there(mesh: Mesh) -> None:
    assert mesh("--version").said.startswith("mesh ")
    assert mesh("-h").said == mesh("--help").said
    assert "--flatten" in mesh("halt", "-h").said
    program = (
        "from rich.table import Table\n"
        "from cli.console import out\n"
        "table = Table(box=None)\n"
        "table.add_column('detail')\n"
        "table.add_row('x' * 500)\n"
        "out.print(table)\n"
        "out.print('word ' * 100)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "x" * 500 in ran.stdout and len(ran.stdout.splitlines()) == 3, ran.stderr
