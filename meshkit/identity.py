"""Who is calling, and how this process shows who it is: what MESH_AUTH stands for.

`off`: every caller is the operator, which is why it is refused on an address others can reach and with real money.
`token`: every identity of the instance has a random token in a private file. A caller presents its own as call
metadata; a server knows only the SHA-256 of each, so that no service can act as another.
`mtls`: the SPIFFE ID of the certificate that a caller proves itself with.
`xfcc`: the same ID as the sidecar in front of this process forwards it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from meshkit.errors import Misconfigured
from meshkit.grpc_types import ServicerContext
from meshkit.policy import OPERATOR
from meshkit.private_file import read_private

if TYPE_CHECKING:
    # Commands present a token without any settings; the library behind them is large.
    from meshkit.certificates import Certificates
    from meshkit.settings import KitSettings

AUTHORIZATION = "authorization"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43,}")
_ADVICE = (
    f"send the metadata `{AUTHORIZATION}: Bearer TOKEN`; the operator's TOKEN is in MESH_HOME/identity/operator.token, "
    "which only the user that runs the mesh can read"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A known caller: a service name or `operator`."""

    name: str


class UnknownCaller(Exception):
    """The caller cannot be known; the text says why and what it has to do."""


class IdentitySource(Protocol):
    """Finds the caller of an RPC from its metadata and its gRPC context."""

    def __call__(self, metadata: Mapping[str, str | bytes], context: ServicerContext | None) -> Caller | None:
        """The caller; None, or UnknownCaller with the reason, if it cannot be known."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How a process knows its callers, and how it shows who it is with its own calls: by metadata, by its certificates, or by
    nothing, where a sidecar does it."""

    source: IdentitySource
    presented: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    certificates: Certificates | None = None
    behind_sidecar: bool = False
    page: IdentitySource | None = None
    """Who calls over plain HTTP on this machine, where no certificate is shown; None: as `source` says."""


def everyone_is_operator(metadata: Mapping[str, str | bytes], context: ServicerContext | None) -> Caller:
    """The identity source of MESH_AUTH=off."""
    return Caller(OPERATOR)


class TokenSource:
    """The identity source of MESH_AUTH=token; `callers` maps the SHA-256 of each token to its identity."""

    def __init__(self, callers: Mapping[str, str]) -> None:
        self._callers = tuple((known, Caller(name)) for known, name in callers.items())

    def __call__(self, metadata: Mapping[str, str | bytes], context: ServicerContext | None) -> Caller:
        given = metadata.get(AUTHORIZATION)
        if given is None:
            raise UnknownCaller(f"it presents no token: {_ADVICE}")
        scheme, _, token = given.partition(" ") if isinstance(given, str) else ("", "", "")
        if scheme.lower() != "bearer":
            raise UnknownCaller(f"what it presents is no bearer token: {_ADVICE}")
        presented, found = digest(token), None
        # All are compared, each in constant time: how long it takes says nothing of what is known.
        for known, caller in self._callers:
            if hmac.compare_digest(known, presented):
                found = caller
        if found is None:
            raise UnknownCaller(f"its token is none of this mesh: {_ADVICE}")
        return found


def digest(token: str) -> str:
    """SHA-256 of a token in hexadecimal; all that a server is given of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The call metadata that presents a token."""
    return ((AUTHORIZATION, f"Bearer {token}"),)


def read_token(path: Path) -> str:
    """The token in a private file. Misconfigured."""
    token = read_private(path).strip()
    if _TOKEN.fullmatch(token) is None:
        raise Misconfigured(f"{path} holds no token; delete it and start again to have a new one made")
    return token


def read_callers(path: Path) -> dict[str, str]:
    """SHA-256 of each token → identity, from the JSON object in a private file. Misconfigured."""
    try:
        found = json.loads(read_private(path))
        entries = {str(known): str(name) for known, name in found.items()}
    except (ValueError, AttributeError):
        entries = {}
    if not entries or not all(_DIGEST.fullmatch(known) and name for known, name in entries.items()):
        raise Misconfigured(f"{path} does not map the SHA-256 of tokens to identities; the next start makes it anew")
    return entries


def identity_of(settings: KitSettings) -> Identity:
    """What the settings say; reads the files they name. Misconfigured."""
    match settings.mesh_auth:
        case "off":
            return Identity(everyone_is_operator)
        case "token":
            token = read_token(_named(settings.mesh_token_file, "MESH_TOKEN_FILE"))
            callers = read_callers(_named(settings.mesh_callers_file, "MESH_CALLERS_FILE"))
            return Identity(TokenSource(callers), bearer(token))
        # Imported where they are wanted: they import this module.
        case "mtls":
            from meshkit.certificates import Certificates, CertificateSource

            own = _named(settings.mesh_certificate_file, "MESH_CERTIFICATE_FILE")
            found = Certificates(own, _named(settings.mesh_ca_file, "MESH_CA_FILE"))
            page = TokenSource(read_callers(settings.mesh_callers_file)) if settings.mesh_callers_file else None
            return Identity(CertificateSource(settings.spiffe_names), certificates=found, page=page)
        case "xfcc":
            from meshkit.forwarded import ForwardedSource

            return Identity(ForwardedSource(settings.spiffe_names), behind_sidecar=True)


def _named(path: Path | None, variable: str) -> Path:
    if path is None:
        raise Misconfigured(f"MESH_AUTH needs {variable}")
    return path


_CALLER: ContextVar[Caller | None] = ContextVar("meshkit_caller", default=None)


def current_caller() -> Caller:
    """The caller of the RPC this code runs in; LookupError outside of one."""
    caller = _CALLER.get()
    if caller is None:
        raise LookupError("no RPC is being served here")
    return caller


def set_caller(caller: Caller) -> None:
    """Remembers the caller for the rest of this RPC; each RPC has a context of its own."""
    _CALLER.set(caller)


def caller_or_none() -> str | None:
    """Name of the caller for logs, None where it is not known."""
    caller = _CALLER.get()
    return None if caller is None else caller.name
