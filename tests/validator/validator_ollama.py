"""A stand-in for an Ollama server on a real socket: the four endpoints, and every way of answering badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

MODEL = "tiny:1b"
GOOD = '{"verdict":"APPROVE","reason":"OK"}'
BAD = '{"verdict":"REJECT","reason":"TREND"}'


@dataclass
class StandIn:
    """What the server does next: `judge` answers like a sound model, another `how` misbehaves when it is asked."""

    how: str = "judge"
    digest: str = "sha256:aaaa"
    delay: float = 0.0
    show: Any = field(default_factory=lambda: {"capabilities": ["completion"], "details": {}, "model_info": {}})
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""

    @property
    def questions(self) -> list[Any]:
        return [body for _, path, body in self.requests if path == "/api/chat" and body["messages"]]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                method, path, body = await self._request(reader)
                self.requests.append((method, path, body))
                if not await self._answer(writer, path, body):
                    break
        writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[str, str, Any]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        lines = head.lower().splitlines()
        length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
        raw = await reader.readexactly(length)
        return method, path, json.loads(raw) if raw else None

    async def _answer(self, writer: asyncio.StreamWriter, path: str, body: Any) -> bool:
        if path == "/api/version":
            return await _send(writer, 200, {"version": "0.33.3"})
        if path == "/api/tags":
            models = [] if self.how == "missing" else [{"name": MODEL, "model": MODEL, "digest": self.digest}]
            return await _send(writer, 200, {"models": models})
        if path == "/api/show":
            return await _send(writer, 200, self.show)
        if not body["messages"]:
            return await _send(writer, 200, chat("", done_reason="load"))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            return await self._chat(writer, body)
        finally:
            self.at_once -= 1

    async def _chat(self, writer: asyncio.StreamWriter, body: Any) -> bool:
        text = body["messages"][1]["content"]
        sound = BAD if "Return over 24 bars: -" in text or "probability of fall: -" in text else GOOD
        if self.how == "judge":
            return await _send(writer, 200, chat(sound))
        if self.how == "silent":
            await asyncio.sleep(30)
        if self.how == "drip":
            return await _drip(writer)
        if self.how == "hang_up":
            return False
        if self.how.startswith("status:"):
            return await _send(writer, int(self.how[7:]), {"error": "as told"})
        if self.how.startswith("redirect:"):
            return await _send_bytes(writer, 307, b"", f"text/plain\r\nlocation: {self.how[9:]}/api/chat")
        if self.how.startswith("body:"):
            return await _send_bytes(writer, 200, self.how[5:].encode())
        if self.how.startswith("status_html:"):
            return await _send_bytes(writer, int(self.how[12:]), b"<html>gateway</html>", "text/html")
        if self.how == "cut":
            return await _send(writer, 200, chat('{"verdict":"APPROVE","rea', done_reason="length"))
        if self.how == "cut_but_whole":
            return await _send(writer, 200, chat(GOOD, done_reason="length"))
        if self.how == "not_done":
            return await _send(writer, 200, {**chat(GOOD), "done": False})
        if self.how == "short_prompt":
            return await _send(writer, 200, {**chat(GOOD), "prompt_eval_count": 30})
        assert self.how.startswith("say:"), self.how
        return await _send(writer, 200, chat(self.how[4:]))


def chat(content: str, done_reason: str = "stop") -> dict[str, Any]:
    return {
        "model": MODEL,
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": content},
        "done": True,
        "done_reason": done_reason,
        "total_duration": 812_000_000,
        "load_duration": 31_000_000,
        "prompt_eval_count": 306,
        "prompt_eval_duration": 410_000_000,
        "eval_count": 14,
        "eval_duration": 350_000_000,
    }


async def _send(writer: asyncio.StreamWriter, status: int, body: Any) -> bool:
    return await _send_bytes(writer, status, json.dumps(body).encode())


async def _send_bytes(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = "application/json") -> bool:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True


async def _drip(writer: asyncio.StreamWriter) -> bool:
    """A complete approval, one byte at a time: no gap between bytes is long, the whole takes for ever."""
    body = json.dumps(chat(GOOD)).encode()
    writer.write(f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode())
    for byte in body:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)
    return True


@contextlib.asynccontextmanager
async def stand_in(**state: Any) -> AsyncIterator[StandIn]:
    """A running stand-in; `url` is its address."""
    server = StandIn(**state)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
