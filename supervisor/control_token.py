"""The bearer token of the paths that steer a simulated exchange.

It is what SIM_CONTROL_TOKEN says; where that is not set, it is made once and kept in a private file beside the keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from supervisor.keys import require_private, write_new

VARIABLE = "SIM_CONTROL_TOKEN"
_BYTES = 24


def control_token_file(keys: Path) -> Path:
    """Where a token lies that was made, in the folder of the keys."""
    return keys / "control_token"


def control_token(keys: Path, environment: Mapping[str, str]) -> str:
    """The token in force; empty, which lets nobody steer, where none is given and none was made."""
    file = control_token_file(keys)
    try:
        return environment.get(VARIABLE) or file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def ensure_control_token(keys: Path, environment: Mapping[str, str]) -> str:
    """The token in force, made where there is none. Raises `UnsafeKey` for a file that others could have read."""
    file = control_token_file(keys)
    if not environment.get(VARIABLE):
        if not file.exists():
            write_new(file, secrets.token_urlsafe(_BYTES).encode("ascii"))
        require_private(file)
    return control_token(keys, environment)
