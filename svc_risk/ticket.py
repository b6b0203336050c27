"""The ticket: a signed word of the risk engine that one order of at most this size may be sent until then.

The executor verifies it with the public key alone, so nobody who merely reaches the executor can trade. A JWT
(RFC 7519) signed with Ed25519 (RFC 8037); `kid` is the key's thumbprint (RFC 7638).
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meshkit.errors import Misconfigured
from meshkit.private_file import read_private
from tradekit.decimals import plain
from tradekit.states import Side
from tradekit.units import OrderSize, ProductId

ISSUER = "risk"
AUDIENCE = "executor"
ALGORITHM = "EdDSA"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a ticket allows, of the recommendation with this hash.

    `max_size` is quote currency for BUY, base units for SELL; times are machine time.
    """

    reservation_id: UUID
    recommendation_id: UUID
    terms_hash: str
    product_id: ProductId
    side: Side
    max_size: OrderSize
    attempt: int
    limits_version: str
    issued_at: datetime
    expires_at: datetime


def key_id(public_key: Ed25519PublicKey) -> str:
    """The key's JWK thumbprint."""
    raw = public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    return _base64url(hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest())


class TicketSigner:
    """Signs tickets; the same terms always give the same text."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    def sign(self, terms: Terms) -> str:
        """The ticket as text. Its times are cut to whole seconds, so it never outlives the reservation."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(terms.recommendation_id),
            "jti": str(terms.reservation_id),
            "terms": terms.terms_hash,
            "product": terms.product_id,
            "side": terms.side.value,
            "max_size": plain(terms.max_size),
            "attempt": terms.attempt,
            "limits_version": terms.limits_version,
            "iat": int(terms.issued_at.timestamp()),
            "exp": int(terms.expires_at.timestamp()),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})


def load_signer(file: Path) -> TicketSigner:
    """The signer of a key file. Misconfigured if it is missing, open to others, or not an Ed25519 private key."""
    try:
        key = serialization.load_pem_private_key(read_private(file).encode(), password=None)
    except Misconfigured as error:
        raise Misconfigured(f"TICKET_SIGNING_KEY_FILE {error.message}") from error
    except (ValueError, TypeError) as error:
        raise Misconfigured(f"TICKET_SIGNING_KEY_FILE {file} holds no unencrypted private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"TICKET_SIGNING_KEY_FILE {file} holds no Ed25519 key")
    return TicketSigner(key)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
