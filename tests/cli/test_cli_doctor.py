"""What `mesh doctor` says of a mistyped database and of a language model that cannot serve."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from supervisor.home import MeshHome
from supervisor.instance import hold_instance, lock_owner
from supervisor.state import MeshState, ServiceState, Status, write_state
from tests.cli.conftest import Mesh


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"DB_SSLMODE": "verify_full"}, "DB_SSLMODE is verify_full: must be disable, prefer, require, verify-ca"),
        ({"DB_PORT": "5432x"}, "DB_PORT is 5432x: must be a number of 1 to 65535"),
        ({"DB_PORT": "99999"}, "DB_PORT is 99999: must be a number of 1 to 65535"),
    ],
)
def test_a_mistyped_database_is_told_with_variable_value_and_rule(
    mesh: Mesh, tmp_path: Any, wrong: dict[str, str], words: str
) -> None:
    home = MeshHome.at(tmp_path / "mesh")
    home.prepare()
    (home.root / "model").mkdir()  # examined with the champion that the database would name
    ran = mesh("doctor", DB_HOST="127.0.0.1", **wrong)
    assert ran.code == 1 and f"fail database {words}" in ran.said and "Traceback" not in ran.said


@contextmanager
def ollama(capabilities: list[str]) -> Iterator[str]:
    """A server that has one model."""
    answers = {
        "/api/version": {"version": "0.9.0"},
        "/api/tags": {"models": [{"model": "toy:1b", "digest": "abc"}]},
        "/api/show": {"capabilities": capabilities},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("model", "capabilities", "words"),
    [
        ("toy:1b", ["completion"], "ok reviewer toy:1b at http"),
        ("toy:1b", ["embedding"], "toy:1b cannot chat; set OLLAMA_MODEL"),
        ("other", ["completion"], "the server has no model other; run: ollama pull other"),
    ],
)
def test_doctor_asks_what_the_service_would_ask(mesh: Mesh, model: str, capabilities: list[str], words: str) -> None:
    with ollama(capabilities) as host:
        assert words in mesh("doctor", OLLAMA_HOST=host, OLLAMA_MODEL=model).said


def test_an_address_that_is_none_ends_in_words(mesh: Mesh) -> None:
    ran = mesh("doctor", OLLAMA_HOST="http://host:x")
    assert "Ollama at http://host:x does not answer" in ran.said and "OLLAMA_HOST = http://host:x" in ran.said


def test_every_fault_is_told_at_once_and_each_once(mesh: Mesh) -> None:
    wrong = {
        "MARKET_PORT": "99999",
        "PRODUCTS": "btc",
        "RISK_MAX_ORDER_NOTIONAL": "abc",
        "RISK_SCORE_SOFT": "2",
        "TAKER_FEE": "2",
        "MESH_LOG_LEVEL": "loud",
        "DRAIN_SECONDS": "-1",
        "SIM_TAKER_FEE": "5",
    }
    for ran, code in ((mesh("doctor", **wrong), 1), (mesh("config", **wrong), 2), (mesh("up", **wrong), 2)):
        assert ran.code == code
        for name, value in wrong.items():
            assert len(re.findall(rf"\b{name} ?= ?{value}\b", ran.said)) == 1, (name, ran.said)
        assert "RISK_SCORE_SOFT = 2: must be at most 1. (for risk)" in ran.said
        assert (
            "DRAIN_SECONDS = -1: must be greater than or equal to 0" in ran.said and "(for every service)" in ran.said
        )
        assert "(for exchange_sim)" in ran.said and "Settings" not in ran.said and "{" not in ran.said


def test_doctor_finds_a_port_that_is_given_twice(mesh: Mesh) -> None:
    ran = mesh("doctor", MARKET_PORT="8022")
    assert ran.code == 1 and "8022 is given to market (MARKET_PORT) and to bridge (BRIDGE_PORT)" in ran.said


def test_doctor_names_a_variable_that_nobody_reads(mesh: Mesh) -> None:
    ran = mesh("doctor", ENTRY_ODER="LIMIT")
    assert "warn configuration ENTRY_ODER is set and nobody reads it; ENTRY_ORDER is the variable" in ran.said


def test_of_a_mesh_that_runs_doctor_finds_the_port_given_twice_and_counts_what_runs(mesh: Mesh, tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path / "mesh")
    home.prepare()
    units = [ServiceState(name, Status.DONE) for name in ("migrations", "model")]
    with hold_instance(home) as run_id:
        me = lock_owner(home)
        assert me is not None
        write_state(home.state_file, MeshState(run_id, me, "", {}, (*units, ServiceState("risk", Status.READY))))
        ran = mesh("doctor", MARKET_PORT="8022")
        apart = mesh("doctor")
    assert (
        ran.code == 1
        and "fail ports port 8022 is given to market (MARKET_PORT) and to bridge (BRIDGE_PORT)" in ran.said
    )
    assert "ok ports in use by this mesh, and each given once" in apart.said
    assert "ok processes 1 up; done: migrations, model" in apart.said
