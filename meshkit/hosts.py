"""Hosts as people write them, read once: which machine a setting means, and whether it is this one.

What may be written in several ways (case, a final dot, the default port, forms of an address) becomes one form, so that no
rule about hosts can be passed by spelling.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from yarl import URL

HTTPS_PORT = 443
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# What the resolvers of C take for an address: 127.1, 0x7f000001, 2130706433, 0177.0.0.1.
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Host:
    """A DNS name in lower case without a final dot, or an address in its shortest form; `str` is `name[:port]`."""

    name: str
    port: int = HTTPS_PORT

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can be meant."""
        return is_loopback(self.name)

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == HTTPS_PORT else f"{name}:{self.port}"


def parse_host(text: str) -> Host:
    """`host[:port]` without scheme, user or path; the port is that of HTTPS unless given. ValueError says what is wrong."""
    if not text.isascii() or not text.isprintable() or any(sign in text for sign in " /\\@?#%"):
        raise ValueError("must be host[:port] alone: no scheme, user, path, space or escape")
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError("has a [ without its ]")
        return Host(_address(name, ipaddress.IPv6Address), _port(rest))
    name, colon, port = text.partition(":")
    return Host(_name(name.lower()), _port(colon + port))


def is_loopback(address: str) -> bool:
    """True for a name or address that only this machine can reach."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


class SessionProxy(TypedDict, total=False):
    """Arguments of `aiohttp.ClientSession`."""

    proxy: URL


def session_proxy(host: Host) -> SessionProxy:
    """The proxy that HTTPS_PROXY and NO_PROXY name for a host, as arguments of a session; this machine is reached directly.

    Read here because a session that trusts the environment would take passwords of ~/.netrc along.
    """
    # Imported here: most processes have no session, and these two would be most of the start of this module.
    from urllib import request

    from yarl import URL

    proxies = request.getproxies_environment()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or host.is_loopback or _bypassed(host, proxies):
        return {}
    return {"proxy": URL(proxy if "://" in proxy else f"http://{proxy}")}


def _bypassed(host: Host, proxies: dict[str, str]) -> bool:
    from urllib import request

    return bool(request.proxy_bypass_environment(f"{host.name}:{host.port}", proxies))  # type: ignore[attr-defined]


def _name(text: str) -> str:
    labels = text.removesuffix(".").split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is no host name: letters, digits, dots and hyphens")
    if _NUMERIC.fullmatch(labels[-1]):
        return _address(".".join(labels), ipaddress.IPv4Address)
    return ".".join(labels)


def _address(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> str:
    try:
        return kind(text).compressed
    except ValueError:
        raise ValueError("is no address: write four decimal numbers such as 127.0.0.1, or [::1]") from None


def _port(text: str) -> int:
    """What follows the name: nothing, or a colon and a number."""
    if not text:
        return HTTPS_PORT
    number = text[1:]
    if text[0] != ":" or not _PORT.fullmatch(number) or int(number) > 65535:
        raise ValueError("has no port of 1 to 65535 after its colon")
    return int(number)
