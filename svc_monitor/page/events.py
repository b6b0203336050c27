"""Pushes what changed to every open page, at most twice a second, by server-sent events.

Nothing is queued: a client that reads slowly is sent the newest state when it is ready, so its memory here is a few
numbers whatever it does; one that does not read is let go. The number of clients is bounded, in all and by address.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

from aiohttp import web

from svc_monitor.page.snapshot import Snapshots, document
from svc_monitor.pulse import Pulse

PUSH_SECONDS = 0.5
CLIENTS = 128
CLIENTS_OF_ONE_ADDRESS = 32
_WRITE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Section:
    """A section's text, and the round in which it last changed."""

    text: str
    changed: int


class Broadcast:
    """One look per round for all clients; each gets what changed since its own last round."""

    def __init__(self, snapshots: Snapshots, draining: asyncio.Event) -> None:
        self._snapshots = snapshots
        self._draining = draining
        self._pulse = Pulse()
        self._round = 0
        self._sections: dict[str, Section] = {}
        self._clients: Counter[str] = Counter()

    @property
    def clients(self) -> int:
        """Open pages."""
        return self._clients.total()

    async def run(self) -> None:
        """Looks for changes while somebody watches, for ever."""
        while True:
            if self.clients:
                self._sample()
            await asyncio.sleep(PUSH_SECONDS)

    def _sample(self) -> None:
        self._round += 1
        for name, text in self._snapshots.sections().items():
            known = self._sections.get(name)
            if known is None or known.text != text:
                self._sections[name] = Section(text, self._round)
        self._pulse.beat()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The answer to one client; it ends when the client goes, or the process."""
        address = request.remote or ""
        if self._clients[address] >= CLIENTS_OF_ONE_ADDRESS or self.clients >= CLIENTS:
            text = f"{self._clients[address]} pages are open already from this address, {self.clients} in all"
            raise web.HTTPServiceUnavailable(text=text, headers={"Retry-After": "10"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        self._clients[address] += 1
        sent = 0
        try:
            self._sample()
            while not self._draining.is_set():
                newest = self._pulse.count
                sent = await self._send(response, sent)
                await self._pulse.after(newest, PUSH_SECONDS * 4)
        except (ConnectionError, TimeoutError):
            pass  # the page is closed, or its reader has stopped reading
        finally:
            self._clients[address] -= 1
        return response

    async def _send(self, response: web.StreamResponse, sent: int) -> int:
        """Sends what changed after round `sent`; gives the round that the client now has."""
        newest = self._round
        news = {name: section.text for name, section in self._sections.items() if section.changed > sent}
        if news:
            async with asyncio.timeout(_WRITE_SECONDS):
                await response.write(f"data: {document(self._snapshots.now(), news)}\n\n".encode())
        return newest
