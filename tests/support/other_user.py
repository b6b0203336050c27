"""Another user of the machine, as a process: gives up its rights, then tries every given way in.

Run as `python other_user.py`; reads one JSON object from standard input, writes what each attempt met as JSON.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import grpc

from meshkit.errors import from_rpc_error

NOBODY = 65534


def become_nobody() -> None:
    """Gives up root for good: groups, group, user. What is imported later may be out of reach."""
    "host.example".encode("idna")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def files(paths: list[str]) -> dict[str, str]:
    """What reading, and writing, each path or listing each folder meets."""
    found = {}
    for name in paths:
        path = Path(name)
        try:
            content = sorted(os.listdir(path)) if path.is_dir() else path.read_bytes()[:10]
            found[name] = f"read: {content!r}"
        except OSError as error:
            found[name] = type(error).__name__
        try:
            if path.is_dir():
                (path / "of-another-user").touch()
            else:
                path.open("ab").close()
            found[name] += " written"
        except OSError as error:
            found[name] += f" {type(error).__name__}"
    return found


async def call(address: str, path: str, body: str, metadata: list[list[str]]) -> str:
    """Status and reason of one unary call by a plain client; `body` is the request's bytes in hexadecimal."""
    async with grpc.aio.insecure_channel(address) as channel:
        made = channel.unary_unary(path)
        try:
            await made(bytes.fromhex(body), timeout=10, metadata=tuple((key, value) for key, value in metadata))
        except grpc.aio.AioRpcError as error:
            found = from_rpc_error(error)
            return f"{found.code.name} {found.reason}"
    return "OK"


async def database(arguments: dict[str, Any]) -> str:
    """What connecting to the database meets."""
    try:
        await (await asyncpg.connect(**arguments, timeout=5)).close()
    except (OSError, asyncpg.PostgresError) as error:
        return type(error).__name__
    return "connected"


async def http(method: str, url: str, body: Any) -> int:
    """Status of one HTTP request."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
        session.request(method, url, json=body) as answer,
    ):
        return answer.status


async def attempts(wanted: dict[str, Any]) -> dict[str, Any]:
    """Everything that was asked for."""
    return {
        "uid": os.getuid(),
        "files": files(wanted["files"]),
        "calls": [await call(**one) for one in wanted["calls"]],
        "database": await database(wanted["database"]),
        "http": [await http(*one) for one in wanted["http"]],
    }


if __name__ == "__main__":
    told = json.load(sys.stdin)
    become_nobody()
    sys.stdout.write(json.dumps(asyncio.run(attempts(told))))
