"""Identities of a mesh for tests: token files as `mesh up` makes them, and the settings that name them."""

from pathlib import Path
from typing import Any

from meshkit.identity import read_token
from meshkit.policy import OPERATOR
from supervisor.identities import IdentityFiles, ensure_identities
from tradekit.services import SERVICES

IDENTITIES = (*(service.name for service in SERVICES), OPERATOR)


def identities(folder: Path) -> IdentityFiles:
    """A token for every identity, in a private folder below `folder`."""
    files = IdentityFiles(folder / "identity")
    ensure_identities(files, IDENTITIES)
    return files


def token_settings(files: IdentityFiles, identity: str) -> dict[str, Any]:
    """Arguments of KitSettings for a service that proves itself as `identity`."""
    return {
        "mesh_auth": "token",
        "mesh_token_file": files.token(identity),
        "mesh_callers_file": files.callers,
    }


def presented(files: IdentityFiles, identity: str) -> tuple[tuple[str, str], ...]:
    """Call metadata by which a plain client shows who it is."""
    return (("authorization", f"Bearer {read_token(files.token(identity))}"),)
