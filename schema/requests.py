"""The same request_id gives the stored answer: the one way in which services keep that promise.

An answer is stored in the transaction of its effect. A request_id belongs to the caller who chose it: another caller's is
another request. Used again for something else it is refused.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import RequestIdReused
from meshkit.identity import current_caller
from schema.operations import stored_requests

M = TypeVar("M", bound=Message)
_T = stored_requests.c


@dataclass(frozen=True, slots=True)
class RequestKey:
    """One request of one caller; `body` is a hash of what it asks for."""

    service: str
    caller: str
    request_id: UUID
    method: str
    body: str

    @property
    def is_this(self) -> tuple[object, ...]:
        return (_T.service == self.service, _T.caller == self.caller, _T.request_id == self.request_id)


def request_key(service: str, method: str, request_id: UUID, body: Message | str) -> RequestKey:
    """The request of the caller whose call this is. A message is hashed whole, with its request_id."""
    digest = body if isinstance(body, str) else body_hash(body)
    return RequestKey(service, current_caller().name, request_id, method, digest)


def body_hash(request: Message) -> str:
    """sha256 of a request, as hex digits."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()


async def once(
    connection: AsyncConnection, key: RequestKey, kind: type[M], effect: Callable[[], Awaitable[M]]
) -> tuple[M, bool]:
    """The stored answer and False, or the effect's answer, stored beside it, and True.

    Within the caller's transaction; a second call with the same id waits until that ends. RequestIdReused.
    """
    await connection.execute(select(_lock(key)))
    known = await stored_answer(connection, key, kind)
    if known is not None:
        return known, False
    answer = await effect()
    await store_answer(connection, key, answer)
    return answer, True


async def stored_answer(connection: AsyncConnection, key: RequestKey, kind: type[M]) -> M | None:
    """The answer to a request that was made before, None if it is new. RequestIdReused."""
    found = await _find(connection, key)
    return None if found is None else kind.FromString(found)


async def store_answer(connection: AsyncConnection, key: RequestKey, answer: Message) -> None:
    """Stores an answer in the transaction of its effect; a second one with the same id breaks that transaction."""
    await connection.execute(_insert(key, answer.SerializeToString()))


async def claim(connection: AsyncConnection, key: RequestKey) -> None:
    """For an answer that is kept elsewhere: notes what the request_id stands for. RequestIdReused."""
    noted = await connection.execute(_insert(key, b"").on_conflict_do_nothing())
    if not noted.rowcount:
        await is_known(connection, key)


async def is_known(connection: AsyncConnection, key: RequestKey) -> bool:
    """Whether this request was made before. RequestIdReused."""
    return await _find(connection, key) is not None


def _lock(key: RequestKey) -> Any:
    digest = hashlib.sha256(key.caller.encode() + key.request_id.bytes).digest()
    return func.pg_advisory_xact_lock(int.from_bytes(digest[:8], signed=True))


async def _find(connection: AsyncConnection, key: RequestKey) -> bytes | None:
    query = select(_T.body_sha256, _T.response).where(*key.is_this)  # type: ignore[arg-type]
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != key.body:
        raise RequestIdReused(key.request_id)
    answer: bytes = row.response
    return answer


def _insert(key: RequestKey, answer: bytes) -> Insert:
    return insert(stored_requests).values(
        service=key.service,
        caller=key.caller,
        request_id=key.request_id,
        method=key.method,
        body_sha256=key.body,
        response=answer,
    )
