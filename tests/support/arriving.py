"""Reads all that a stream brings: once its end has arrived, `call.read()` of a plain channel of grpc.aio gives up what came
before the end and was not read yet."""

from typing import Any

import grpc


class Arriving:
    """A call whose messages are read to the last one; everything else is the call's own."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._messages = aiter(call)

    async def read(self) -> Any:
        """The next message, EOF after the last."""
        return await anext(self._messages, grpc.aio.EOF)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)
