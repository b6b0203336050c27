"""The called service: a server of gRPC for asyncio in a process of its own that answers at once.

Run with the port to listen at; ends with its standard input.
"""

import asyncio
import sys
from typing import Any

from envoy_mesh.upstream import Upstream, upstream_at

ANSWER = bytes(1000)


async def _answer(path: str, request: bytes, metadata: Any) -> bytes:
    return ANSWER


async def _serve(port: int) -> None:
    async with upstream_at(port, Upstream(_answer)):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
