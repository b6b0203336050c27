"""The caller as a sidecar forwards it: the header `x-forwarded-client-cert` that Envoy adds to.

Each proxy on the way appends one element for the certificate that it saw, and a caller may send elements of its own, so only
the last counts, and only where nobody but the sidecar can have sent it: from the loopback address or a Unix socket.
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
"""

from __future__ import annotations

from collections.abc import Mapping

from meshkit.grpc_types import ServicerContext
from meshkit.hosts import is_loopback
from meshkit.identity import Caller, UnknownCaller
from meshkit.spiffe import NotOfThisMesh, SpiffeNames

HEADER = "x-forwarded-client-cert"
_ADVICE = "call through the mesh, with a sidecar that proves who calls"


class BadHeader(ValueError):
    """The header is not in Envoy's form; the text says what is wrong."""


class ForwardedSource:
    """The identity source of MESH_AUTH=xfcc."""

    def __init__(self, names: SpiffeNames) -> None:
        self._names = names

    def __call__(self, metadata: Mapping[str, str | bytes], context: ServicerContext | None) -> Caller:
        peer = context.peer() if context is not None else ""
        if not _is_sidecar(peer):
            raise UnknownCaller(f"it comes from {peer or 'nowhere'}, which is not the sidecar: {_ADVICE}")
        value = metadata.get(HEADER)
        if not isinstance(value, str):
            raise UnknownCaller(f"no sidecar says who it is (no {HEADER}): {_ADVICE}")
        try:
            return Caller(self._names.name_of(last_uri(value)))
        except (BadHeader, NotOfThisMesh) as error:
            raise UnknownCaller(f"{error} ({HEADER}): {_ADVICE}") from None


def last_uri(header: str) -> str:
    """The one URI of the last element. Raises BadHeader where there is none, or several."""
    pairs = last_element(header)
    uris = [value for key, value in pairs if key.lower() == "uri"]
    if len(uris) != 1:
        raise BadHeader(
            f"its last element has {len(uris) or 'no'} URI{'s' if len(uris) > 1 else ''}, and one is needed"
        )
    return uris[0]


def last_element(header: str) -> list[tuple[str, str]]:
    """Keys and values of the last element; a value may be quoted, and then hold commas, semicolons and escaped quotes.

    Raises BadHeader. The whole header is read: where its last element begins depends on every quote before it.
    """
    element: list[tuple[str, str]] = []
    at = 0
    while True:
        key, equals, _ = header[at:].partition("=")
        if not equals or not key.strip() or any(sign in key for sign in ',;"'):
            raise BadHeader("it is not made of key=value")
        value, at = _value(header, at + len(key) + 1)
        element.append((key.strip(), value))
        if at == len(header):
            return element
        if header[at] == ",":
            element = []
        elif header[at] != ";":
            raise BadHeader("a quoted value is followed by neither a comma nor a semicolon")
        at += 1


def _value(header: str, at: int) -> tuple[str, int]:
    """The value that begins at a position, and where it ends."""
    if not header.startswith('"', at):
        ends = [place for sign in ",;" if (place := header.find(sign, at)) >= 0]
        end = min(ends, default=len(header))
        if '"' in header[at:end]:
            raise BadHeader("a quote stands inside of a value")
        return header[at:end], end
    found: list[str] = []
    at += 1
    while at < len(header):
        sign = header[at]
        if sign == '"':
            return "".join(found), at + 1
        if sign == "\\":
            at += 1
            sign = header[at : at + 1]
        found.append(sign)
        at += 1
    raise BadHeader("a quote is not closed")


def _is_sidecar(peer: str) -> bool:
    """Whether gRPC's name of the other end, such as ipv4:127.0.0.1:4711, is one that only this pod or machine can have."""
    kind, _, address = peer.partition(":")
    if kind == "unix":
        return True
    # The kernel's escape of the colon and of brackets in IPv6, where the core writes it.
    host = address.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]")
    return kind in ("ipv4", "ipv6") and is_loopback(host)
