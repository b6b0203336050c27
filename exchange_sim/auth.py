"""Who may call: API keys, and the one-request JWT that proves possession of one.

A token is bound to method, host and path by its `uri` or `uris` claim, to the WebSocket by having neither, and lives two
minutes. It is judged by the exchange's own clock, which GET /time tells, and by the wall clock as well, because most clients
stamp by their own: which of the two a client took, its token must be alive by that one. Where the market follows the wall clock
they are the same.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

# What the official client sends, and what it sent before, as several others still do.
_ISSUERS = ("cdp", "coinbase-cloud")
_LONGEST_LIFE_SECONDS = 122  # 120, and the client reads its clock twice
_LEEWAY_SECONDS = 5


class Refused(Exception):
    """The caller is not proven: 401. The text names the claim for the log, not for the caller."""


class UnusableKeys(Exception):
    """The key file is wrong; the operator must mend it."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    name: str
    public_key: EllipticCurvePublicKey | Ed25519PublicKey
    algorithm: str
    can_view: bool
    can_trade: bool
    can_transfer: bool


def load_keys(path: Path | None) -> dict[str, ApiKey]:
    """Keys by name from a JSON list; no file means nobody may call private paths."""
    if path is None:
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        keys = [_key(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableKeys(f"{path}: {error}") from error
    return {key.name: key for key in keys}


def _key(row: Mapping[str, Any]) -> ApiKey:
    public = load_pem_public_key(row["public_key"].encode())
    if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1):
        return _scoped(row, public, "ES256")
    if isinstance(public, Ed25519PublicKey):
        return _scoped(row, public, "EdDSA")
    raise ValueError(f"key {row['name']} is neither P-256 nor Ed25519")


def _scoped(row: Mapping[str, Any], public: EllipticCurvePublicKey | Ed25519PublicKey, algorithm: str) -> ApiKey:
    scopes = {scope: row[scope] for scope in ("can_view", "can_trade", "can_transfer")}
    if not all(isinstance(value, bool) for value in scopes.values()):
        raise ValueError(f"key {row['name']}: scopes must be true or false")
    return ApiKey(str(row["name"]), public, algorithm, **scopes)


def authenticate(keys: Mapping[str, ApiKey], authorization: str | None, uri: str, clocks: Iterable[float]) -> ApiKey:
    """The key that signed this request, or Refused. Of `clocks`, in seconds, one must lie in the token's life."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused("no bearer token")
    return prove(keys, token, uri, clocks)


def prove(keys: Mapping[str, ApiKey], token: str, uri: str | None, clocks: Iterable[float]) -> ApiKey:
    """The key that signed this token for the request `uri`, or for a message of the WebSocket when that is None."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, RecursionError) as error:  # a header may be nested deeper than Python can read
        raise Refused("not a token") from error
    kid = header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise Refused("unknown kid")
    if header.get("alg") != key.algorithm:
        raise Refused("alg is not the key's")
    try:
        claims = jwt.decode(token, key.public_key, algorithms=[key.algorithm], options=_SIGNATURE_ONLY)
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise Refused("bad signature") from error
    _check_claims(claims, key.name, uri, clocks)
    return key


# The claims are checked below, by this exchange's own rules.
_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _check_claims(claims: Mapping[str, Any], name: str, uri: str | None, clocks: Iterable[float]) -> None:
    if claims.get("sub") != name:
        raise Refused("sub is not kid")
    if claims.get("iss") not in _ISSUERS:
        raise Refused("wrong iss")
    begins, ends = _instant(claims.get("nbf")), _instant(claims.get("exp"))
    if ends - begins > _LONGEST_LIFE_SECONDS:
        raise Refused("lives too long")
    begun = [now for now in clocks if begins <= now + _LEEWAY_SECONDS]
    if not begun:
        raise Refused("not valid yet")
    if all(now >= ends for now in begun):
        raise Refused("expired")
    if not _is_for(claims, uri):
        raise Refused("made for another request")


def _is_for(claims: Mapping[str, Any], uri: str | None) -> bool:
    """`uri` names one request, `uris` is how newer keys name theirs; a token of the WebSocket has neither."""
    one, several = claims.get("uri"), claims.get("uris")
    if uri is None:
        return one is None and several is None
    return uri == one or (isinstance(several, list) and uri in several)


def _instant(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Refused("nbf and exp must be numbers")
    return value
