"""The same request_id gives the stored answer: the one way in which services keep that promise.

An answer is stored in the transaction of its effect. A request_id belongs to the caller who chose it: another caller's is
another request. Used again for something else it is refused.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import BigInteger, Text, and_, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.dedicated import Connection
from meshkit.errors import RequestIdReused
from meshkit.identity import current_caller
from schema.base import Id
from schema.operations import stored_requests

M = TypeVar("M", bound=Message)
Identity = tuple[str, str, UUID]
_T = stored_requests.c
_TEXTS = ARRAY(Text)
_BEGIN = text(
    "SELECT service, caller, request_id, body_sha256, response"
    " FROM begin_requests(:services, :callers, :request_ids, :locks)"
).bindparams(
    bindparam("services", type_=_TEXTS),
    bindparam("callers", type_=_TEXTS),
    bindparam("request_ids", type_=ARRAY(Id)),
    bindparam("locks", type_=ARRAY(BigInteger)),
)
_STORE = text(
    "INSERT INTO stored_requests (service, caller, request_id, method, body_sha256, response)"
    " SELECT * FROM unnest(:services, :callers, :request_ids, :methods, :bodies, :responses)"
).bindparams(
    bindparam("services", type_=_TEXTS),
    bindparam("callers", type_=_TEXTS),
    bindparam("request_ids", type_=ARRAY(Id)),
    bindparam("methods", type_=_TEXTS),
    bindparam("bodies", type_=_TEXTS),
    bindparam("responses", type_=ARRAY(BYTEA)),
)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """One request of one caller; `body` is a hash of what it asks for."""

    service: str
    caller: str
    request_id: UUID
    method: str
    body: str

    @property
    def identity(self) -> Identity:
        """What must not stand for two bodies."""
        return self.service, self.caller, self.request_id

    @property
    def lock(self) -> int:
        """Key of the lock that makes a second call with this request_id wait."""
        digest = hashlib.sha256(self.caller.encode() + self.request_id.bytes).digest()
        return int.from_bytes(digest[:8], signed=True)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a request_id stands for, and the bytes of the answer."""

    body: str
    response: bytes

    def to(self, key: RequestKey) -> bytes:
        """The answer, if the request asks for the same; RequestIdReused."""
        if self.body != key.body:
            raise RequestIdReused(key.request_id)
        return self.response


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
    earlier = await begin_requests(connection, [key])
    if key.identity in earlier:
        return kind.FromString(earlier[key.identity].to(key)), False
    answer = await effect()
    await store_answer(connection, key, answer)
    return answer, True


async def stored_answer(connection: AsyncConnection, key: RequestKey, kind: type[M]) -> M | None:
    """The answer to a request that was made before, None if it is new. RequestIdReused."""
    this = and_(_T.service == key.service, _T.caller == key.caller, _T.request_id == key.request_id)
    row = (await connection.execute(select(_T.body_sha256, _T.response).where(this))).one_or_none()
    return None if row is None else kind.FromString(StoredAnswer(*row).to(key))


async def store_answer(connection: AsyncConnection, key: RequestKey, answer: Message) -> None:
    """Stores an answer in the transaction of its effect; a second one with the same id breaks that transaction."""
    await store_answers(connection, {key: answer})


async def begin_requests(connection: Connection, keys: Sequence[RequestKey]) -> dict[Identity, StoredAnswer]:
    """Of many requests in one statement: what is stored of them. Until the transaction ends nobody else stores their answers.

    The caller compares the bodies, so that one request_id that was used again refuses no other request.
    """
    given = {
        "services": [key.service for key in keys],
        "callers": [key.caller for key in keys],
        "request_ids": [key.request_id for key in keys],
        "locks": [key.lock for key in keys],
    }
    found = await connection.execute(_BEGIN, given)
    return {(row.service, row.caller, row.request_id): StoredAnswer(row.body_sha256, row.response) for row in found}


async def store_answers(connection: Connection, answers: Mapping[RequestKey, Message]) -> None:
    """`store_answer` of many requests in one statement."""
    given = {
        "services": [key.service for key in answers],
        "callers": [key.caller for key in answers],
        "request_ids": [key.request_id for key in answers],
        "methods": [key.method for key in answers],
        "bodies": [key.body for key in answers],
        "responses": [answer.SerializeToString() for answer in answers.values()],
    }
    await connection.execute(_STORE, given)
