"""The feed's way through the proxy: frames go on as they come, but for those that the gate does something to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Protocol

import aiohttp
from aiohttp import WSMsgType, web

_CLOSE_SECONDS = 0.5


class FrameFault(StrEnum):
    """What becomes of a frame of the exchange's WebSocket; the values are the report's words."""

    PASS = "pass"
    LEFT_OUT = "message left out"
    REPEATED = "message repeated"
    CUT_SHORT = "message cut short"
    # After the next one.
    SWAPPED = "messages swapped"
    # The connection ends instead.
    DROPPED = "feed dropped"
    # Nothing comes any more, and the connection stays.
    SILENT = "feed silent"
    # It ends, and so does every further one as long as the gate says so.
    REFUSED = "feed refused"


class FrameGate(Protocol):
    """Who looks at every frame, and may hold it for as long as it likes."""

    async def frame(self, text: str) -> FrameFault:
        """What becomes of it."""

    def refuses_feeds(self) -> bool:
        """Whether a connection that is asked for now is not to be had."""


class FeedWay:
    """One connection, from its handshake to its end. `gate` gives whoever looks at the frames by now: it lives longer than a
    run."""

    def __init__(self, gate: Callable[[], FrameGate | None]) -> None:
        self._gate = gate
        self._silent = False
        self._held: str | None = None

    async def carry(self, request: web.Request, session: aiohttp.ClientSession, url: str) -> web.StreamResponse:
        """Both ways until one of the two ends."""
        gate = self._gate()
        if gate is not None and gate.refuses_feeds():
            return web.Response(status=503)
        client = web.WebSocketResponse(compress=False, timeout=_CLOSE_SECONDS)
        try:
            async with session.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS)) as upstream:
                await client.prepare(request)
                there = asyncio.create_task(self._to_the_exchange(client, upstream))
                back = asyncio.create_task(self._from_the_exchange(upstream, client))
                try:
                    await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (there, back):
                        task.cancel()
                    await asyncio.gather(there, back, return_exceptions=True)
        except (aiohttp.ClientError, OSError, TimeoutError):
            if not client.prepared:
                return web.Response(status=502)
        with suppress(ConnectionError, RuntimeError):
            await client.close()
        return client

    async def _to_the_exchange(
        self, client: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse[bool]
    ) -> None:
        async for message in client:
            if message.type is WSMsgType.TEXT:
                await upstream.send_str(message.data)

    async def _from_the_exchange(
        self, upstream: aiohttp.ClientWebSocketResponse[bool], client: web.WebSocketResponse
    ) -> None:
        async for message in upstream:
            if message.type is not WSMsgType.TEXT or self._silent:
                continue
            gate = self._gate()
            fault = await gate.frame(message.data) if gate is not None else FrameFault.PASS
            if fault in (FrameFault.DROPPED, FrameFault.REFUSED):
                return
            for text in self._instead_of(message.data, fault):
                await client.send_str(text)

    def _instead_of(self, text: str, fault: FrameFault) -> list[str]:
        """What the client gets at the moment at which this frame came."""
        match fault:
            case FrameFault.LEFT_OUT:
                return []
            case FrameFault.SILENT:
                self._silent = True
                return []
            case FrameFault.REPEATED:
                return [text, text]
            case FrameFault.CUT_SHORT:
                return [text[: len(text) // 2]]
            case FrameFault.SWAPPED if self._held is None:
                self._held = text
                return []
        held, self._held = self._held, None
        return [text] if held is None else [text, held]
