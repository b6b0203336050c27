"""The API key, and the JWT that proves its possession for one request.

A token names method, host and path (never the query: with it, page 2 of a list is answered with 401) and lives two
minutes of wall time at most, so each request gets its own. Until it ends, a request that was sent with it may still
arrive: how long that is decides when an order can be known not to exist.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchange_client.coinbase.settings import TOKEN_SECONDS
from meshkit.errors import Misconfigured

ISSUER = "cdp"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's name and private half; `algorithm` follows from the key itself."""

    name: str
    private_key: EllipticCurvePrivateKey | Ed25519PrivateKey
    algorithm: str

    def __repr__(self) -> str:
        return f"ApiKey({self.name!r}, {self.algorithm})"


def load_key(path: Path) -> ApiKey:
    """The key of a JSON file {name, privateKey}; Misconfigured without a word of its content."""

    def unusable(why: str) -> Misconfigured:
        return Misconfigured(f"the API key file {path} is not usable: {why}")

    # The causes may quote the secret, so no message passes theirs on.
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unusable(error.strerror or type(error).__name__) from None
    except ValueError:
        raise unusable("it is no JSON") from None
    try:
        name, secret = str(content.get("name") or content["id"]), str(content["privateKey"])
    except (KeyError, TypeError, AttributeError):
        raise unusable("it is no JSON object with name and privateKey, as Coinbase gives it") from None
    try:
        private_key = _private_key(secret)
    except (ValueError, TypeError):
        raise unusable("its privateKey is neither an EC P-256 nor an Ed25519 key") from None
    algorithm = "ES256" if isinstance(private_key, EllipticCurvePrivateKey) else "EdDSA"
    return ApiKey(name, private_key, algorithm)


def _private_key(secret: str) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
    # Environment files and shells turn the line ends of a PEM into the two characters \ and n.
    text = secret.replace("\\n", "\n").strip()
    if not text.startswith("-----BEGIN"):
        return _raw_ed25519(text)
    key = load_pem_private_key(text.encode(), password=None)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ValueError("neither EC P-256 nor Ed25519")


def _raw_ed25519(text: str) -> Ed25519PrivateKey:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("neither PEM nor base64") from error
    if len(raw) not in (32, 64):  # a seed, or a seed followed by the public key
        raise ValueError("not an Ed25519 seed")
    return Ed25519PrivateKey.from_private_bytes(raw[:32])


class TokenExpired(Exception):
    """The request waited longer than its token may live."""


class Signer:
    """Makes tokens for one key and host; `wall_seconds` is the wall clock."""

    def __init__(
        self, key: ApiKey, host: str, wall_seconds: Callable[[], float], life_seconds: int = TOKEN_SECONDS
    ) -> None:
        self._key = key
        self._host = host
        self._wall_seconds = wall_seconds
        self._life_seconds = life_seconds

    def token(self, method: str, path: str, born: float | None = None) -> str:
        """A fresh token for one request; `path` is without its query.

        With `born`, the wall time at which the request was decided, the token ends a life after that, however long the
        request has waited since. TokenExpired where that moment is over.
        """
        now = int(self._wall_seconds())
        ends = int(now if born is None else min(born, now)) + self._life_seconds
        if ends <= now:
            raise TokenExpired
        return self._signed(now, ends, {"uri": f"{method} {self._host}{path}"})

    def socket_token(self) -> str:
        """A fresh token for one message on a WebSocket, which names no request."""
        now = int(self._wall_seconds())
        return self._signed(now, now + self._life_seconds, {})

    def _signed(self, now: int, ends: int, named: dict[str, str]) -> str:
        claims = {"iss": ISSUER, "sub": self._key.name, "nbf": now, "exp": ends, **named}
        headers = {"kid": self._key.name, "nonce": secrets.token_hex(16)}
        return jwt.encode(claims, self._key.private_key, algorithm=self._key.algorithm, headers=headers)
