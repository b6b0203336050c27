"""Opaque page tokens.

A token is the position of the last row shown plus a fingerprint of the query it belongs to; a token that this code
never gave, or that belongs to another filter, is refused instead of giving a page of something else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping

MAX_TOKEN_LENGTH = 1024


class BadToken(ValueError):
    """The page token was not given by this server for this query."""


def encode(position: Mapping[str, str | int], scope: str = "") -> str:
    """Token for the page after `position`; `scope` describes the filter and order of the query."""
    body = json.dumps({"p": dict(position), "s": _fingerprint(scope)}, sort_keys=True, separators=(",", ":"))
    token = base64.urlsafe_b64encode(body.encode()).rstrip(b"=").decode()
    if len(token) > MAX_TOKEN_LENGTH:
        raise ValueError("the position is too large for a page token")
    return token


def decode(token: str, scope: str = "") -> dict[str, str | int]:
    """The position inside a token; BadToken if it is not one of ours for this scope."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise BadToken("page token is too long")
    try:
        body = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        json.dumps(body, ensure_ascii=False).encode()  # half of a surrogate pair is JSON, and no text for the database
    except (binascii.Error, ValueError) as error:
        raise BadToken("page token is not readable") from error
    if not isinstance(body, dict) or body.keys() != {"p", "s"} or not isinstance(body["p"], dict):
        raise BadToken("page token has another form")
    if body["s"] != _fingerprint(scope):
        raise BadToken("page token belongs to another query")
    for value in body["p"].values():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadToken("page token holds an unexpected value")
    return dict(body["p"])


def _fingerprint(scope: str) -> str:
    return hashlib.sha256(scope.encode()).hexdigest()[:12]
