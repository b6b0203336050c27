"""A simulated exchange as a process, and a TLS proxy before it that breaks order requests by plan."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from exchange_client import ExchangeConfig
from exchange_client.coinbase.client import CoinbaseClient
from supervisor.ports import free_ports
from supervisor.python_process import PYTHONPATH

ROOT = Path(__file__).resolve().parents[2]
KEY_NAME = "organizations/tests/apiKeys/executor"
OTHER_KEY_NAME = "organizations/tests/apiKeys/somebody-else"
CONTROL_TOKEN = "tests-only"

# Faults of POST /orders by name: does the exchange get the request, and what does the client get instead of its answer?
BEFORE = ("refuse_500", "refuse_429", "refuse_401", "refuse_502_html", "drop_before", "hang_before")
AFTER = (
    *("accept_500", "accept_502_html", "accept_drop", "accept_truncated", "accept_garbage", "accept_hang"),
    *("accept_400_html", "accept_403_html", "accept_404_html", "accept_429_html", "accept_as_html"),
    *("accept_key_twice", "accept_trailing", "accept_without_ids", "accept_without_success", "accept_other_id"),
)
FAULTS = (*BEFORE, *AFTER, "duplicate")
# What a middlebox or a broken wire makes of the answer to an accepted order.
BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "accept_truncated": lambda answer: answer[: len(answer) // 2],
    "accept_garbage": lambda answer: b"[1, 2",
    "accept_trailing": lambda answer: answer + b"}",
    "accept_key_twice": lambda answer: answer[:-1] + b',"success":false,"error_response":{"error":"INVALID_REQUEST"}}',
    "accept_without_ids": lambda answer: _changed(answer, lambda reply: reply["success_response"].clear()),
    "accept_without_success": lambda answer: _changed(answer, lambda reply: reply.pop("success")),
    "accept_other_id": lambda answer: _changed(
        answer, lambda reply: reply["success_response"].update(client_order_id="another's")
    ),
}


def _changed(answer: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    reply = json.loads(answer)
    change(reply)
    return json.dumps(reply).encode()


def write_keys(folder: Path) -> tuple[Path, Path]:
    """The exchange's list of public keys, and the client's own key file."""
    known = []
    for name, file in ((KEY_NAME, "key.json"), (OTHER_KEY_NAME, "other_key.json")):
        private = generate_private_key(SECP256R1())
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        known.append({"name": name, "public_key": public, "can_view": True, "can_trade": True, "can_transfer": False})
        (folder / file).write_text(json.dumps({"name": name, "privateKey": pem}))
    (folder / "keys.json").write_text(json.dumps(known))
    return folder / "keys.json", folder / "key.json"


@dataclass
class Simulator:
    """A running `python -m exchange_sim`."""

    port: int
    folder: Path
    key_file: Path
    process: subprocess.Popen[bytes]

    @property
    def ca_file(self) -> Path:
        return self.folder / "state" / "tls" / "ca.pem"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def other_key_file(self) -> Path:
        """A second key of the same account: somebody else's, or the owner's hand."""
        return self.folder / "other_key.json"

    async def control(self, path: str, method: str = "POST", /, **body: object) -> dict[str, object]:
        """Steers the exchange, as its operator."""
        headers = {"Authorization": f"Bearer {CONTROL_TOKEN}"}
        trust = ssl.create_default_context(cafile=self.ca_file)
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, f"https://{self.host}/sim/v1/{path}", json=body, headers=headers, ssl=trust
            ) as answer,
        ):
            assert answer.status == 200, await answer.text()
            found: dict[str, object] = await answer.json()
            return found

    async def go_on(self, **span: float) -> None:
        """The market goes on for so long."""
        async with CoinbaseClient(ExchangeConfig(self.host, self.ca_file, self.key_file)) as client:
            now = await client.market_time()
        await self.control("advance", to=(now + timedelta(**span)).isoformat())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def simulator_environment(folder: Path, keys: Path, port: int, **changes: str) -> dict[str, str]:
    """Settings of a simulated exchange with its state in the folder, whose market moves by the control endpoint alone."""
    return {
        "SIM_PORT": str(port),
        "SIM_STATE_DIR": str(folder / "state"),
        "SIM_KEYS_FILE": str(keys),
        "SIM_CONTROL_TOKEN": CONTROL_TOKEN,
        "SIM_SPEED": "0",
        "SIM_HISTORY_DAYS": "3",
        "SIM_PRODUCTS": "BTC-USD,ETH-USD,DOGE-USD,LTC-USD",
        "SIM_OPENING_USD": "10000000",
        "PYTHONPATH": PYTHONPATH,
        **changes,
    }


def start_simulator(folder: Path) -> Simulator:
    keys, key = write_keys(folder)
    port = free_ports(1)[0]
    settings = simulator_environment(folder, keys, port)
    with (folder / "sim.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "exchange_sim"], env={**os.environ, **settings}, stdout=log, stderr=log, cwd=folder
        )
    simulator = Simulator(port, folder, key, process)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return simulator
        except OSError:
            time.sleep(0.05)
    raise RuntimeError((folder / "sim.log").read_text())


@dataclass
class FaultProxy:
    """Forwards everything to the simulator; `plan` holds the fault of each coming order request, then none."""

    simulator: Simulator
    port: int = 0
    plan: deque[str] = field(default_factory=deque)
    reads_fail: int = 0
    # The list of orders by their ids is not given.
    lists_fail: bool = False
    hide_orders: bool = False
    hide_fills: bool = False
    time_fails: bool = False
    # Wallets are asked for and never told, as long as this is not set.
    wallets: asyncio.Event | None = None
    # Changes every order that a read shows.
    shown: Callable[[dict[str, Any]], Any] | None = None
    # How long "late" keeps a request back from the exchange.
    late_seconds: float = 0.0
    late: list[asyncio.Task[tuple[int, bytes]]] = field(default_factory=list)
    sends: list[tuple[bytes, str]] = field(default_factory=list)
    hang_seconds: float = 30.0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        trust = ssl.create_default_context(cafile=self.simulator.ca_file)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls = self.simulator.folder / "state" / "tls"
        serving.load_cert_chain(tls / "server.pem", tls / "server.key")
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=serving)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await asyncio.gather(*self.late, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method == "POST":
            return await self._order(request, body)
        if self.reads_fail and "/orders/" in request.path:
            self.reads_fail -= 1
            return web.Response(status=503, text="<html>busy</html>")
        if self.lists_fail and request.path.endswith("/orders/historical/batch") and "order_ids" in request.query:
            return web.Response(status=503, text="<html>busy</html>")
        if self.time_fails and request.path.endswith("/time"):
            return web.Response(status=503, text="<html>busy</html>")
        if self.wallets is not None and request.path.endswith("/accounts"):
            await self.wallets.wait()
        if self.hide_orders and request.path.endswith("/orders/historical/batch"):
            return web.json_response({"orders": [], "has_next": False, "cursor": ""})
        if self.hide_fills and request.path.endswith("/orders/historical/fills"):
            return web.json_response({"fills": [], "cursor": ""})
        status, answer = await self._forward(request, body)
        if self.shown is not None and "/orders/historical/" in request.path and status == 200:
            answer = _changed(answer, self._show)
        return _answer(status, answer)

    def _show(self, reply: dict[str, Any]) -> None:
        for order in [*reply.get("orders", []), *([reply["order"]] if "order" in reply else [])]:
            assert self.shown is not None
            self.shown(order)

    async def _order(self, request: web.Request, body: bytes) -> web.StreamResponse:
        fault = self.plan.popleft() if self.plan else "none"
        self.sends.append((body, fault))
        self.held.set()
        if fault == "refuse_500":
            return web.json_response({"error": "INTERNAL"}, status=500)
        if fault == "refuse_429":
            return web.json_response({"errors": [{"id": "rate_limit_exceeded"}]}, status=429)
        if fault == "refuse_401":
            return web.Response(status=401, text="Unauthorized\n")
        if fault == "refuse_502_html":
            return web.Response(status=502, text="<html>Bad gateway</html>")
        if fault == "drop_before":
            return _drop(request)
        if fault == "hang_before":
            await asyncio.sleep(self.hang_seconds)
            return _drop(request)
        if fault == "late":
            self.late.append(asyncio.ensure_future(self._forward_late(request, body)))
            return _drop(request)
        refusal = {"success": False, "error_response": {"error": "INSUFFICIENT_FUND"}}
        if fault == "refuse_order":
            return web.json_response(refusal)
        if fault.startswith("refuse_for:"):
            return web.json_response({"success": False, "error_response": {"error": fault.partition(":")[2]}})
        status, answer = await self._forward(request, body)
        if fault == "lie":
            return web.json_response(refusal)
        if fault == "duplicate":
            status, answer = await self._forward(request, body)
        if fault == "accept_500":
            return web.json_response({"error": "INTERNAL"}, status=500)
        if fault.endswith("_html") and fault[7:10].isdigit():
            return web.Response(status=int(fault[7:10]), text="<html>no</html>", content_type="text/html")
        if fault == "accept_as_html":
            return web.Response(status=status, body=answer, content_type="text/html")
        if fault == "accept_drop":
            return _drop(request)
        if fault in BROKEN:
            return _answer(status, BROKEN[fault](answer))
        if fault == "accept_hang":
            await asyncio.sleep(self.hang_seconds)
        return _answer(status, answer)

    async def _forward_late(self, request: web.Request, body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(self.late_seconds)
        return await self._forward(request, body)

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, bytes]:
        headers = {
            name: request.headers[name] for name in ("Authorization", "Content-Type", "Host") if name in request.headers
        }
        url = f"https://{self.simulator.host}{request.raw_path}"
        async with self._session.request(request.method, url, data=body or None, headers=headers) as response:
            return response.status, await response.read()


def _answer(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
