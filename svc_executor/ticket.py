"""Verifies the risk engine's ticket, so that nobody who merely reaches the executor can trade.

A ticket is an EdDSA-signed JWT: `iss` risk, `aud` executor, `sub` the recommendation, `jti` the reservation, `terms` the
hash of the whole recommendation, and `product`, `side`, `max_size`. Its expiry is judged by the machine time handed in,
never by this process's clock, and apart from the rest: whoever had a ticket for an order that exists gets its state,
however late they ask again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from meshkit.errors import FailedPrecondition, Misconfigured
from tradekit.decimals import parse_decimal, plain
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.sizes import exceeds, order_size
from tradekit.units import OrderSize

ISSUER = "risk"
AUDIENCE = "executor"
_REQUIRED = ["iss", "aud", "exp", "sub", "jti", "terms", "product", "side", "max_size"]
# Signature, issuer, audience and presence are the library's; times are ours.
_OPTIONS: Any = {"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False}


class TicketRefused(FailedPrecondition):
    """The caller must bring a ticket that fits the order."""

    def __init__(self, why: str) -> None:
        super().__init__("TICKET_REFUSED", f"the ticket {why}; ask the risk engine for a new one")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket that fits its order."""

    reservation_id: UUID
    expires_at: datetime

    def require_alive(self, now: datetime) -> None:
        """TicketRefused once its time is over: it can make no new order any more."""
        if now >= self.expires_at:
            raise TicketRefused(f"expired at {self.expires_at.isoformat()}")


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The key that tickets are checked with."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"TICKET_PUBLIC_KEY_FILE {path} is not a readable public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Misconfigured(f"TICKET_PUBLIC_KEY_FILE {path} is not an Ed25519 key")
    return key


def verify(token: str, key: Ed25519PublicKey, recommendation: Recommendation, size: OrderSize) -> Ticket:
    """The ticket, or TicketRefused: signature, issuer, audience, the recommendation's whole terms, and size."""
    try:
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS)
        expires_at = datetime.fromtimestamp(float(claims["exp"]), UTC)
        reservation_id = UUID(str(claims["jti"]))
        max_size = order_size(recommendation.side, parse_decimal(str(claims["max_size"])))
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, OSError) as error:
        raise TicketRefused(f"is not valid ({type(error).__name__})") from None
    terms = {
        "sub": str(recommendation.recommendation_id),
        "terms": terms_hash(recommendation),
        "product": recommendation.product_id,
        "side": recommendation.side.value,
    }
    for name, wanted in terms.items():
        if claims[name] != wanted:
            raise TicketRefused(f"is for another {name}")
    if exceeds(recommendation.side, size, max_size):
        raise TicketRefused(f"allows {plain(max_size)}, the order is for {plain(size)}")
    return Ticket(reservation_id, expires_at)
