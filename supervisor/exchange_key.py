"""A key for the simulated exchange in the file that Coinbase hands out, and what the exchange is told of it."""

import base64
import json
import uuid
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from supervisor.keys import PrivateKey, UnsafeKey, private_pem, require_private, write_new


def ensure_exchange_key(file: Path, *, curve: bool) -> dict[str, Any]:
    """What the exchange keeps of the key in `file`, which is made where it is missing.

    `curve`: an EC P-256 key, `{name, privateKey}` with a PEM as for ES256; else Ed25519, `{id, privateKey}` with the 64 bytes of
    seed and public half in base64. Raises UnsafeKey for a file that others can read, or that holds no such key.
    """
    if not file.exists():
        write_new(file, json.dumps(_made(curve=curve), indent=1).encode("ascii"))
    require_private(file)
    try:
        stored = json.loads(file.read_text(encoding="ascii"))
        name = str(stored["name" if curve else "id"])
        key = _loaded(str(stored["privateKey"]), curve=curve)
    except (ValueError, KeyError, TypeError) as error:
        kind = "EC P-256" if curve else "Ed25519"
        raise UnsafeKey(
            f"{file} holds no {kind} key as Coinbase writes it; delete it to have a new one made"
        ) from error
    return {
        "name": name,
        "public_key": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii"),
        "can_view": True,
        "can_trade": True,
        "can_transfer": False,
    }


def _made(*, curve: bool) -> dict[str, str]:
    if curve:
        name = f"organizations/{uuid.uuid4()}/apiKeys/{uuid.uuid4()}"
        return {"name": name, "privateKey": private_pem(ec.generate_private_key(ec.SECP256R1())).decode("ascii")}
    key = ed25519.Ed25519PrivateKey.generate()
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, serialization.NoEncryption())
    both = seed + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"id": str(uuid.uuid4()), "privateKey": base64.b64encode(both).decode("ascii")}


def _loaded(secret: str, *, curve: bool) -> PrivateKey:
    if not curve:
        return ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret, validate=True)[:32])
    key = serialization.load_pem_private_key(secret.encode("ascii"), password=None)
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)):
        raise ValueError("another kind of key")
    return key
