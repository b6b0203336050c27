"""Makes one random token per identity of an instance, and the file by which services know their callers.

A service is handed its own token and the digests of all; so none can act as another, and none as the operator.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshkit.errors import Misconfigured
from meshkit.identity import digest, read_token
from supervisor.keys import UnsafeKey, require_private, write_new

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where the tokens of an instance lie."""

    folder: Path

    @property
    def callers(self) -> Path:
        """SHA-256 of each token → identity."""
        return self.folder / "callers.json"

    def token(self, identity: str) -> Path:
        """The token of one identity."""
        return self.folder / f"{identity}.token"


def ensure_identities(files: IdentityFiles, identities: Sequence[str]) -> None:
    """All tokens, made where missing, and the callers' file made anew from them.

    Raises `UnsafeKey` for a file or folder that others could have read or changed.
    """
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(files.folder)
    known = {digest(_ensure_token(files.token(identity))): identity for identity in identities}
    write_new(files.callers, json.dumps(known, indent=1).encode("ascii"))


def _ensure_token(path: Path) -> str:
    if not path.is_symlink() and not path.exists():
        write_new(path, secrets.token_urlsafe(_TOKEN_BYTES).encode("ascii") + b"\n")
    try:
        return read_token(path)
    except Misconfigured as error:
        raise UnsafeKey(error.message) from None
