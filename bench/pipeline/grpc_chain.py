"""The hops of a recommendation without what happens at them: create unary, a stream, a stream, unary, as gRPC processes.

`python -m bench.pipeline.grpc_chain front|stream|end PORT [NEXT PORTS]` is one of the four. A message is some hundred bytes
that nobody reads; the answer to each hop is the message. What this chain takes is what gRPC for asyncio takes alone.
"""

import asyncio
import itertools
import struct
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import repeat
from typing import Any

import grpc

from bench.pipeline.bursts import burst_and_alone

SERVICE = "bench.Chain"
PAYLOAD = bytes(400)
_NUMBER = struct.Struct(">Q")


class Stream:
    """A bidirectional stream on which many calls are unanswered at once, told apart by a number before the message."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call: Any = channel.stream_stream(f"/{SERVICE}/Stream")(wait_for_ready=True)
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._turn = asyncio.Lock()
        self._reading = asyncio.ensure_future(self._read())

    async def ask(self, message: bytes) -> bytes:
        """The answer to one message."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        async with self._turn:
            await self._call.write(_NUMBER.pack(number) + message)
        async with asyncio.timeout(60):
            found: bytes = await answer
            return found

    async def _read(self) -> None:
        while (frame := await self._call.read()) is not grpc.aio.EOF:
            self._waiting.pop(_NUMBER.unpack_from(frame)[0]).set_result(frame[_NUMBER.size :])


class Front:
    """Takes a message from the client, sends it over two streams and to the end, and answers."""

    def __init__(self, first: str, second: str, end: str) -> None:
        self._streams = [Stream(grpc.aio.insecure_channel(address)) for address in (first, second)]
        self._end: Any = grpc.aio.insecure_channel(end).unary_unary(f"/{SERVICE}/Create")

    async def create(self, message: bytes, context: Any) -> bytes:
        for stream in self._streams:
            message = await stream.ask(message)
        answer: bytes = await self._end(message, timeout=60)
        return answer


async def _same(message: bytes, context: Any) -> bytes:
    return message


async def _echo(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message


async def serve(kind: str, port: int, following: list[str]) -> None:
    """One process of the chain, until it is stopped."""
    server = grpc.aio.server()
    handlers: dict[str, Callable[[], Any]] = {
        "front": lambda: grpc.unary_unary_rpc_method_handler(Front(*following).create),
        "stream": lambda: grpc.stream_stream_rpc_method_handler(_echo),
        "end": lambda: grpc.unary_unary_rpc_method_handler(_same),
    }
    method = "Stream" if kind == "stream" else "Create"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {method: handlers[kind]()}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


async def measured(address: str, items: int, at_once: int) -> tuple[float, list[float]]:
    """Messages per second of a burst, and the seconds of as many alone one after the other, at most 200."""
    async with grpc.aio.insecure_channel(address) as channel:
        create: Any = channel.unary_unary(f"/{SERVICE}/Create")
        for _ in range(20):  # the connections and both streams are made
            await create(PAYLOAD, timeout=30)
        return await burst_and_alone(
            partial(create, timeout=60), repeat(PAYLOAD, items), at_once, repeat(PAYLOAD, min(items, 200))
        )


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
