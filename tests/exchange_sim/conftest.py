"""Real simulator processes with real keys, and the official client pointed at them."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from coinbase.rest import RESTClient
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from supervisor.ports import free_ports

ROOT = Path(__file__).parents[2]
CONTROL_TOKEN = "control-token-for-tests"
PREFIX = "/api/v3/brokerage"


@dataclass(frozen=True)
class Key:
    name: str
    secret: str
    public: str


def _pair(name: str, private: Any) -> Key:
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Key(name, secret, public)


@dataclass
class Simulator:
    """One exchange process over one state folder; it can be killed and started again."""

    folder: Path
    port: int
    env: dict[str, str]
    keys: dict[str, Key]
    process: subprocess.Popen[bytes] | None = None
    sessions: list[requests.Session] = field(default_factory=list)

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "exchange_sim"]
        self.process = subprocess.Popen(command, env=self.env, cwd=ROOT, stdout=log, stderr=log)
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        for session in self.sessions:
            session.close()
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=20)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ca(self) -> str:
        return str(self.folder / "state" / "tls" / "ca.pem")

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env, session.verify = False, self.ca
        self.sessions.append(session)
        return session

    def client(self, key: str = "trader") -> RESTClient:
        chosen = self.keys[key]
        client = RESTClient(api_key=chosen.name, api_secret=chosen.secret, base_url=self.host, timeout=30)
        client.session.trust_env, client.session.verify = False, self.ca
        self.sessions.append(client.session)
        return client

    def control(self, method: str, path: str, body: object = None, token: str = CONTROL_TOKEN) -> requests.Response:
        return self.session().request(
            method,
            f"https://{self.host}/sim/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )

    def advance(self, to: str) -> dict[str, Any]:
        answer = self.control("POST", "advance", {"to": to})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Simulator]]:
    """Starts simulators with the given SIM_ settings; all are stopped at the end."""
    running: list[Simulator] = []

    def start(**settings: object) -> Simulator:
        folder = tmp_path_factory.mktemp("sim")
        keys = {
            "trader": _pair("organizations/test/apiKeys/trader", ec.generate_private_key(ec.SECP256R1())),
            "edwards": _pair("organizations/test/apiKeys/edwards", ed25519.Ed25519PrivateKey.generate()),
            "viewer": _pair("organizations/test/apiKeys/viewer", ec.generate_private_key(ec.SECP256R1())),
        }
        rows = [
            {
                "name": key.name,
                "public_key": key.public,
                "can_view": True,
                "can_trade": label != "viewer",
                "can_transfer": False,
            }
            for label, key in keys.items()
        ]
        (folder / "keys.json").write_text(json.dumps(rows))
        port = free_ports(1)[0]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SIM_")}
        env |= {
            "SIM_PORT": str(port),
            "SIM_STATE_DIR": str(folder / "state"),
            "SIM_KEYS_FILE": str(folder / "keys.json"),
            "SIM_CONTROL_TOKEN": CONTROL_TOKEN,
            "SIM_SPEED": "0",
            "SIM_HISTORY_DAYS": "20",
        }
        env |= {f"SIM_{name.upper()}": str(value) for name, value in settings.items()}
        simulator = Simulator(folder, port, env, keys)
        simulator.start()
        running.append(simulator)
        return simulator

    yield start
    for simulator in running:
        if simulator.process is not None and simulator.process.poll() is None:
            simulator.stop()


@pytest.fixture(scope="session")
def sim(launch: Callable[..., Simulator]) -> Simulator:
    """One exchange whose clock stands still, shared by all tests that do not kill or steer it."""
    return launch()


@pytest.fixture
def new_id() -> Callable[[], str]:
    return lambda: str(uuid.uuid4())
