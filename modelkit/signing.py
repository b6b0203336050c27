"""Who may say which model is served: an Ed25519 signature over the manifest, or its sha256 pinned in
configuration.

Key and pin come from configuration, never from the folder of the artifact: whoever can write there could
bring both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key


@dataclass(frozen=True, slots=True)
class Trust:
    """What configuration trusts; each part that is set must hold, and one of them has to be set."""

    public_key: Ed25519PublicKey | None = None
    manifest_sha256: str | None = None


def private_key_from_pem(pem: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the signing key is not an Ed25519 private key")
    return key


def public_key_from_pem(pem: bytes) -> Ed25519PublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the model key is not an Ed25519 public key")
    return key


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """One line of base64, the content of the signature file."""
    return base64.b64encode(key.sign(manifest)) + b"\n"


def signature_holds(manifest: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(base64.b64decode(signature.strip(), validate=True), manifest)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def pin_holds(manifest: bytes, pinned_sha256: str) -> bool:
    found = hashlib.sha256(manifest).hexdigest()
    return hmac.compare_digest(found.encode(), pinned_sha256.strip().lower().encode())
