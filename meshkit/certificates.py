"""The certificate by which a process proves itself with MESH_AUTH=mtls, and the authority by which it knows the others.

Key and certificate lie in one file, so that they are always of one pair; it is replaced while the process runs. New
connections use what lies there now, old ones stay as they are until their age ends them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from meshkit.errors import Misconfigured
from meshkit.grpc_types import ServicerContext
from meshkit.identity import Caller, UnknownCaller
from meshkit.private_file import read_private
from meshkit.spiffe import NotOfThisMesh, SpiffeNames

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n.+?\n-----END \1-----\n?", re.DOTALL)
_CERTIFICATE = "CERTIFICATE"
_SPIFFE_ID = "peer_spiffe_id"
_ADVICE = "call with a certificate of this mesh; the operator's is MESH_HOME/identity/operator.pem"


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM texts: a private key, its certificate with those between it and the authority, and the authorities trusted."""

    key: bytes
    chain: bytes
    authorities: bytes


class Certificates:
    """One process's files of certificates. `pair` reads them anew when one of them has changed."""

    def __init__(self, own: Path, authorities: Path) -> None:
        """Raises Misconfigured where they cannot be used."""
        self._own = own
        self._authorities = authorities
        self._seen: tuple[object, ...] = ()
        self._pair = self.pair()

    def pair(self) -> Pair:
        """What lies there now. Misconfigured: then the last pair goes on to serve those who have it."""
        seen = self.generation
        if seen != self._seen:
            self._pair = read_pair(self._own, self._authorities)
            self._seen = seen
        return self._pair

    @property
    def generation(self) -> tuple[object, ...]:
        """Changes with the files; a look at their names costs no reading."""
        return (_stamp(self._own), _stamp(self._authorities))

    def server_credentials(self, unreadable: Callable[[str], None]) -> grpc.ServerCredentials:
        """Of a server that lets in only who has a certificate of the authorities. It asks for the files at every handshake;
        `unreadable` hears in a foreign thread of files that cannot be used, and the last good ones stay."""
        given = self._pair

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            try:
                found = self.pair()
            except Misconfigured as error:
                unreadable(error.message)
                return None
            if found is given:
                return None
            given = found
            return _server_configuration(found)

        return grpc.dynamic_ssl_server_credentials(
            _server_configuration(given),
            fetch,  # type: ignore[arg-type]  # the stubs do not know that None stands for "as before"
            require_client_authentication=True,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Of a client; they are those of this moment, so a channel is made anew when the files have changed."""
        pair = self._usable()
        return grpc.ssl_channel_credentials(pair.authorities, pair.key, pair.chain)

    def _usable(self) -> Pair:
        try:
            return self.pair()
        except Misconfigured:
            return self._pair


class CertificateSource:
    """The identity source of MESH_AUTH=mtls: the SPIFFE ID of the caller's certificate."""

    def __init__(self, names: SpiffeNames) -> None:
        self._names = names

    def __call__(self, metadata: Mapping[str, str | bytes], context: ServicerContext | None) -> Caller:
        found = list(context.auth_context().get(_SPIFFE_ID, ())) if context is not None else []
        if len(found) != 1:
            raise UnknownCaller(f"its certificate carries {len(found) or 'no'} SPIFFE ID: {_ADVICE}")
        try:
            return Caller(self._names.name_of(found[0].decode("ascii", "replace")))
        except NotOfThisMesh as error:
            raise UnknownCaller(f"{error}: {_ADVICE}") from None


def read_pair(own: Path, authorities: Path) -> Pair:
    """Key, chain and authorities out of their files. Misconfigured."""
    blocks = [(block[1], block[0].strip() + "\n") for block in _BLOCK.finditer(read_private(own))]
    keys = [text for kind, text in blocks if kind.endswith("PRIVATE KEY")]
    chain = [text for kind, text in blocks if kind == _CERTIFICATE]
    if len(keys) != 1 or not chain or any("ENCRYPTED" in kind for kind, _ in blocks):
        raise Misconfigured(
            f"{own} must hold one private key without a password and its certificate, both as PEM; it holds "
            f"{len(keys)} key(s) and {len(chain)} certificate(s)"
        )
    try:
        text = authorities.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{authorities} cannot be read: {error}") from None
    roots = [block[0].strip() + "\n" for block in _BLOCK.finditer(text) if block[1] == _CERTIFICATE]
    if not roots:
        raise Misconfigured(f"{authorities} holds no certificate of an authority as PEM")
    return Pair(keys[0].encode("ascii"), "".join(chain).encode("ascii"), "".join(roots).encode("ascii"))


def _server_configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], root_certificates=pair.authorities)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)
