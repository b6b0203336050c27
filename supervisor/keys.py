"""Makes the keys of an instance once and refuses to use any that others could have read or changed.

Private and public halves lie in separate files, so that a service that only verifies is never given what
signs.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from meshkit.private_file import why_not_private

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class UnsafeKey(Exception):
    """A key file cannot be trusted; the text says which one and what to do."""


@dataclass(frozen=True, slots=True)
class KeyFiles:
    exchange_api_key: Path
    """JSON {name, privateKey}, as the exchange hands it out: EC P-256, SEC1 PEM."""
    exchange_private: Path
    exchange_public: Path
    ticket_private: Path
    ticket_public: Path
    model_private: Path
    model_public: Path


def key_files(folder: Path) -> KeyFiles:
    return KeyFiles(
        exchange_api_key=folder / "exchange_api_key.json",
        exchange_private=folder / "exchange_api_private.pem",
        exchange_public=folder / "exchange_api_public.pem",
        ticket_private=folder / "ticket_private.pem",
        ticket_public=folder / "ticket_public.pem",
        model_private=folder / "model_private.pem",
        model_public=folder / "model_public.pem",
    )


def ensure_keys(folder: Path) -> KeyFiles:
    """All key files, made where missing. Raises `UnsafeKey` for wrong rights or halves that do not match."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(folder)
    files = key_files(folder)
    exchange = _ensure_pair(files.exchange_private, files.exchange_public, curve=True)
    _ensure_pair(files.ticket_private, files.ticket_public, curve=False)
    _ensure_pair(files.model_private, files.model_public, curve=False)
    _ensure_api_key(files.exchange_api_key, exchange)
    return files


def require_private(path: Path) -> None:
    """Raises `UnsafeKey` unless the path is ours (or root's), no symbolic link, and closed to everybody
    else.
    """
    why = why_not_private(path, path.lstat())
    if why is not None:
        raise UnsafeKey(why)


def _ensure_pair(private_file: Path, public_file: Path, *, curve: bool) -> PrivateKey:
    if private_file.exists():
        require_private(private_file)
        key = _load(private_file, curve=curve)
    else:
        key = ec.generate_private_key(ec.SECP256R1()) if curve else ed25519.Ed25519PrivateKey.generate()
        public_file.unlink(missing_ok=True)  # the half of a key that is gone
        write_new(private_file, private_pem(key))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not public_file.exists():
        write_new(public_file, public)
    require_private(public_file)
    if public_file.read_bytes() != public:
        raise UnsafeKey(f"{public_file} is not the public half of {private_file}; delete it and start again")
    return key


def _ensure_api_key(file: Path, key: PrivateKey) -> None:
    pem = private_pem(key).decode("ascii")
    if not file.exists():
        name = f"organizations/{uuid.uuid4()}/apiKeys/{uuid.uuid4()}"
        write_new(file, json.dumps({"name": name, "privateKey": pem}, indent=1).encode("ascii"))
    require_private(file)
    try:
        stored = json.loads(file.read_text(encoding="ascii"))
        matches = stored["privateKey"] == pem and bool(stored["name"])
    except (ValueError, KeyError, TypeError):
        matches = False
    if not matches:
        raise UnsafeKey(f"{file} does not hold the key of its folder; delete it and start again")


def _load(file: Path, *, curve: bool) -> PrivateKey:
    expected = "EC P-256" if curve else "Ed25519"
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise UnsafeKey(f"{file} is not a readable private key; delete it to have a new one made") from error
    if curve and isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if not curve and isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise UnsafeKey(f"{file} is not an {expected} key; delete it to have a new one made")


def private_pem(key: PrivateKey) -> bytes:
    curve = isinstance(key, ec.EllipticCurvePrivateKey)
    form = PrivateFormat.TraditionalOpenSSL if curve else PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def write_new(file: Path, content: bytes) -> None:
    """Complete, on disk and 0600 before it has its name."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
