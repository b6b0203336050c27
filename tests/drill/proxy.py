"""A TLS proxy between the mesh and the simulated exchange that breaks what passes by a plan, and remembers all of it.

Clients sign for the proxy's own host and port; the exchange checks the token against the Host header, which is passed on.
The proxy's certificate is by an authority of its own, which only the drilled processes trust.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

import aiohttp
from aiohttp import web

from exchange_sim.tls import TlsFiles, server_context
from tests.drill.faults import NO_FAULTS, PASS, Answer, Delivery, Fault, FaultPlan
from tests.drill.history import Send

ORDERS = "/api/v3/brokerage/orders"
_PUBLIC = ("/api/v3/brokerage/market/", "/api/v3/brokerage/time")
_PASSED_ON = ("Authorization", "Content-Type", "Host", "Cache-Control")
_UPSTREAM_SECONDS = 20.0
_DRIP_SECONDS = 0.02
_HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>edge</body></html>"


@dataclass(slots=True)
class Passage:
    """One request as it passed. Times: `arrived` and `delivered` are monotonic seconds, `arrived_wall` is epoch seconds."""

    number: int
    method: str
    path: str
    arrived: float
    arrived_wall: float
    fault: str
    body: str = ""
    client_order_id: str = ""
    side: str = ""
    delivered: list[float] = field(default_factory=list)
    upstream_status: list[int] = field(default_factory=list)
    reply: str = ""
    # Whether the client had gone before there was anything for it.
    client_left: bool = False

    def as_json(self) -> str:
        """One line of the recorded history."""
        return json.dumps(asdict(self), separators=(",", ":"))


class Moment(Enum):
    """Where a request is on its way."""

    # The exchange has not got it.
    ARRIVED = auto()
    # The exchange has answered, if it ever will; the client has nothing yet.
    DELIVERED = auto()


class Gate(Protocol):
    """Who looks at every request beside the plan, and may hold it for as long as it likes."""

    def fault_of(self, passage: Passage) -> Fault | None:
        """The fault of this request; None leaves it to the plan."""

    async def at(self, passage: Passage, moment: Moment) -> None:
        """The request has come so far, and goes on when this returns."""


# Carries one WebSocket: the request, a session for the way to the exchange, and the address there.
CarrySocket = Callable[[web.Request, aiohttp.ClientSession, str], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """What the proxy must know of its client: how long it waits for an answer, and how long its tokens live; seconds."""

    answer: float
    token: float


class FaultProxy:
    """Listens on a port of this machine and forwards to `upstream`, a host:port whose certificate is signed by `trust`."""

    def __init__(
        self,
        port: int,
        tls: TlsFiles,
        upstream: str,
        trust: Path,
        timeouts: Timeouts,
        carry_socket: CarrySocket | None = None,
    ) -> None:
        self.port = port
        self._tls = tls
        self._upstream = upstream
        self._trust = trust
        self._timeouts = timeouts
        self._carry_socket = carry_socket
        self._plan: FaultPlan = NO_FAULTS
        self._gate: Gate | None = None
        self._counts = {"send": 0, "read": 0}
        self._late: set[asyncio.Task[None]] = set()
        self.passages: list[Passage] = []

    async def start(self) -> None:
        """Returns when it listens. The exchange's certificate is read at the first request."""
        self._session: aiohttp.ClientSession | None = None
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=server_context(self._tls)).start()

    async def stop(self) -> None:
        """Ends with everything that is still on its way."""
        for task in self._late:
            task.cancel()
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def begin(self, plan: FaultPlan, gate: Gate | None = None) -> None:
        """From now on requests meet the faults of this plan, counted from its beginning, and pass this gate."""
        self._plan, self._gate, self._counts = plan, gate, {"send": 0, "read": 0}

    async def quiet(self) -> None:
        """No further faults; returns when what was held back has been delivered."""
        self._plan, self._gate = NO_FAULTS, None
        while self._late:
            await asyncio.wait(set(self._late))

    # ---- one request -------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._carry_socket is not None and request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._carry_socket(request, self._client(), f"wss://{self._upstream}{request.raw_path}")
        arrived, wall = time.monotonic(), time.time()
        body = await request.read()
        passage = Passage(len(self.passages), request.method, request.path, arrived, wall, PASS.name)
        if request.method == "POST":
            passage.body = body.decode("utf-8", "replace")
            terms = _terms(body)
            passage.client_order_id, passage.side = str(terms.get("client_order_id", "")), str(terms.get("side", ""))
        self.passages.append(passage)
        gate = self._gate
        given = gate.fault_of(passage) if gate is not None else None
        fault = given or self._fault_of(passage)
        passage.fault = fault.name
        if gate is not None:
            await gate.at(passage, Moment.ARRIVED)
        status, reply = await self._delivered(request, body, fault, passage)
        passage.reply = f"{status} {reply[:600].decode('utf-8', 'replace')}"
        if gate is not None:
            await gate.at(passage, Moment.DELIVERED)
        passage.client_left = request.transport is None
        try:
            return await self._answer(request, fault, status, reply)
        except ConnectionError:
            return _closed(request)  # the client has gone meanwhile

    def _fault_of(self, passage: Passage) -> Fault:
        if passage.path.startswith(_PUBLIC):
            return PASS
        kind = "send" if passage.method == "POST" and passage.path == ORDERS else "read"
        self._counts[kind] += 1
        of = self._plan.of_send if kind == "send" else self._plan.of_read
        return of(self._counts[kind])

    async def _delivered(self, request: web.Request, body: bytes, fault: Fault, passage: Passage) -> tuple[int, bytes]:
        """Gives the exchange what the fault lets it have; its answer, or (0, b"") where it gave none in time."""
        match fault.delivery:
            case Delivery.NEVER:
                return 0, b""
            case Delivery.LATE | Delivery.STALE:
                self._hold_back(request, body, passage, self._delay(fault.delivery))
                return 0, b""
            case Delivery.TWICE:
                await self._forward(request, body, passage)
        return await self._forward(request, body, passage)

    def _delay(self, delivery: Delivery) -> float:
        """Seconds: a late request comes after its client has gone, while its token lives; a stale one after that.

        Where the plan has time for stale requests, a late one takes most of the token's life; otherwise it hurries.
        """
        timeouts = self._timeouts
        if delivery is Delivery.STALE:
            return timeouts.token + 0.3
        if self._plan.stale:
            return timeouts.token * 0.75
        return min(timeouts.answer * 1.8, (timeouts.answer + timeouts.token) / 2)

    def _hold_back(self, request: web.Request, body: bytes, passage: Passage, delay: float) -> None:
        async def deliver() -> None:
            await asyncio.sleep(max(0.0, passage.arrived + delay - time.monotonic()))
            status, reply = await self._forward(request, body, passage)
            passage.reply = f"{status} {reply[:600].decode('utf-8', 'replace')}"

        task = asyncio.create_task(deliver())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _forward(self, request: web.Request, body: bytes, passage: Passage) -> tuple[int, bytes]:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = f"https://{self._upstream}{request.raw_path}"
        passage.delivered.append(time.monotonic())
        try:
            async with self._client().request(request.method, url, data=body or None, headers=headers) as response:
                reply = await response.read()
                passage.upstream_status.append(response.status)
                return response.status, reply
        except (aiohttp.ClientError, TimeoutError, OSError):
            passage.upstream_status.append(0)
            return 0, b""

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context(cafile=self._trust)
            timeout = aiohttp.ClientTimeout(total=_UPSTREAM_SECONDS)
            connector = aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=2.0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session

    # ---- what the client gets ----------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request, fault: Fault, status: int, reply: bytes) -> web.StreamResponse:
        match fault.answer:
            case Answer.HTML:
                words = _HTML.format(f"{fault.status} edge")
                return web.Response(status=fault.status, text=words, content_type="text/html")
            case Answer.RESET:
                return _closed(request, reset=True)
            case Answer.SILENCE:
                await asyncio.sleep(self._timeouts.answer * 2)
                return _closed(request)
        if fault.answer is Answer.CLOSED or status == 0:
            return _closed(request)
        if fault.change is not None:
            reply = fault.change(reply)
        if fault.answer is Answer.CUT:
            return await _part(request, status, reply)
        if fault.answer is Answer.DRIP:
            return await _drip(request, status, reply)
        return web.Response(status=status, body=reply, content_type="application/json")


def sends_of(passages: Iterable[Passage]) -> Iterator[Send]:
    """The order requests among what passed."""
    for one in passages:
        if one.path == ORDERS and one.method == "POST":
            yield Send(one.arrived, one.client_order_id, one.side, one.body, one.fault)


def _terms(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _closed(request: web.Request, reset: bool = False) -> web.Response:
    """Ends the client's connection without an answer; by RST if asked."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if reset and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _started(request: web.Request, status: int, length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    response.content_type = "application/json"
    response.content_length = length
    await response.prepare(request)
    return response


async def _part(request: web.Request, status: int, reply: bytes) -> web.StreamResponse:
    """Half of what the header promises, then the end."""
    response = await _started(request, status, len(reply))
    await _unless_gone(response.write(reply[: len(reply) // 2]))
    _closed(request)
    return response


async def _drip(request: web.Request, status: int, reply: bytes) -> web.StreamResponse:
    """Never silent for long, and seldom at its end before the client's time is up."""
    response = await _started(request, status, len(reply))
    for position in range(len(reply)):
        if not await _unless_gone(response.write(reply[position : position + 1])):
            break
        await asyncio.sleep(_DRIP_SECONDS)
    return response


async def _unless_gone(write: object) -> bool:
    """Whether the client was still there."""
    try:
        await write  # type: ignore[misc]
    except (ConnectionError, aiohttp.ClientError):
        return False
    return True
